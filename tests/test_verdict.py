"""What a server made of its files, from its answers and what the files say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgsupervisor.daemon.verdict import judge, settings
from pgsupervisor.postgres.configtree import Assignment
from pgsupervisor.postgres.probe import Inspection, Mistake, Running, Written
from pgsupervisor.supervision.configuration import Change, Report, Setting
from pgsupervisor.supervision.configuration import Mistake as Told

CONF = "/srv/postgresql.conf"
WORK_MEM = Running("work_mem", "4MB", "4MB", "4096", "kB", "integer", "configuration file", pending=False)
EIGHT = replace(WORK_MEM, value="8MB", raw="8192")
BUFFERS = Running("shared_buffers", "128MB", "128MB", "16384", "8kB", "integer", "default", pending=False)


def answers(*running: Running, written: tuple[Written, ...] = (), mistakes: tuple[Mistake, ...] = ()) -> Inspection:
    """Return what a server answers."""
    return Inspection({each.name: each for each in running}, written, mistakes)


def row(name: str, value: str, *, applied: bool = True, error: str | None = None) -> Written:
    """Return a line of postgresql.conf as the server reads it."""
    return Written(CONF, 1, name, value, applied, error)


@pytest.mark.parametrize(
    ("before", "after", "running", "change"),
    [
        ({"work_mem": "4MB"}, {"work_mem": "8MB"}, EIGHT, Change("work_mem", "4MB", "8MB")),
        ({}, {"work_mem": "8MB"}, EIGHT, Change("work_mem", "4MB", "8MB")),
        ({"work_mem": "8MB"}, {}, WORK_MEM, Change("work_mem", "8MB", "4MB")),
        ({"work_mem": "8MB"}, {}, replace(WORK_MEM, default=""), Change("work_mem", "8MB", "4MB")),
        ({"work_mem": "8MB"}, {}, replace(WORK_MEM, value="64MB", source="user"), Change("work_mem", "8MB", "4MB")),
        ({}, {"my_app.motto": "x"}, WORK_MEM, Change("my_app.motto", "(unset)", "x")),
    ],
)
def test_applied(before: dict[str, str], after: dict[str, str], running: Running, change: Change) -> None:
    """What is set, changed or taken out is told with both values, and is in force from then on."""
    told = judge((CONF,), before, after, answers(running))
    assert told == (Report((CONF,), (change,)), after)


@pytest.mark.parametrize("after", [{"work_mem": "4MB"}, {"work_mem": "4096kB"}, {}])
def test_nothing_changed(after: dict[str, str]) -> None:
    """What is as before, or means the same, is not mentioned."""
    assert judge((), {"work_mem": "4MB"}, after, answers(WORK_MEM)) == (Report(), after)


def test_pending() -> None:
    """What waits for a restart is told with both values, and is not in force."""
    waiting = replace(BUFFERS, pending=True)
    told = judge((CONF,), {}, {"shared_buffers": "1GB"}, answers(waiting))
    assert told == (Report((CONF,), pending=(Change("shared_buffers", "128MB", "1GB"),)), {})
    out = judge((), {"shared_buffers": "1GB"}, {}, answers(replace(waiting, value="1GB")))
    assert out == (Report(pending=(Change("shared_buffers", "1GB", "128MB"),)), {"shared_buffers": "1GB"})


def test_one_value_is_refused() -> None:
    """A value that is refused is no change; the old one stays in force, and the others count."""
    mistake = Mistake("settings", CONF, 3, "invalid value", "work_mem")
    after = {"work_mem": "4XB", "port": "5433"}
    written = (row("work_mem", "4XB", applied=False, error="x"), row("port", "5433"))
    told = judge((CONF,), {"work_mem": "4MB"}, after, answers(WORK_MEM, written=written, mistakes=(mistake,)))
    expected = Report(
        (CONF,), (Change("port", "(unset)", "5433"),), mistakes=(Told(CONF, 3, "invalid value", "work_mem"),)
    )
    assert told == (expected, {"work_mem": "4MB", "port": "5433"})


def test_the_file_is_refused() -> None:
    """With a line that cannot be read, nothing is applied, and all of it still is a change when that is mended."""
    mistake = Mistake("settings", CONF, 2, "syntax error")
    broken = answers(WORK_MEM, written=(row("work_mem", "8MB", applied=False),), mistakes=(mistake,))
    report, in_force = judge((CONF,), {"work_mem": "4MB"}, {"work_mem": "8MB"}, broken)
    assert (report, in_force) == (Report((CONF,), mistakes=(Told(CONF, 2, "syntax error"),)), {"work_mem": "4MB"})
    report, _ = judge((CONF,), in_force, {"work_mem": "8MB"}, answers(EIGHT, written=(row("work_mem", "8MB"),)))
    assert report.changes == (Change("work_mem", "4MB", "8MB"),)


def test_rules_that_are_refused() -> None:
    """A mistake in pg_hba.conf keeps no setting from being applied."""
    mistake = Mistake("hba", "/srv/pg_hba.conf", 9, "invalid authentication method")
    report, in_force = judge((), {}, {"work_mem": "8MB"}, answers(EIGHT, mistakes=(mistake,)))
    assert (report.changes, report.verdict) == ((Change("work_mem", "4MB", "8MB"),), "rejected")
    assert in_force == {"work_mem": "8MB"}


def test_overruled() -> None:
    """What the command line sets is not changed by a file."""
    running = replace(WORK_MEM, value="9MB", source="command line")
    told = judge((CONF,), {}, {"work_mem": "8MB"}, answers(running))
    assert told == (Report((CONF,), overruled=("work_mem",)), {"work_mem": "8MB"})
    assert judge((CONF,), {"work_mem": "8MB"}, {}, answers(running)) == (Report((CONF,)), {})
    marked = replace(BUFFERS, pending=True, source="command line")
    told = judge((CONF,), {}, {"shared_buffers": "1GB"}, answers(marked))
    assert told == (Report((CONF,), overruled=("shared_buffers",)), {"shared_buffers": "1GB"})


def test_secrets() -> None:
    """That a password was changed is told, but not what it is, wherever it stands."""
    secrets = {
        "archive_command": "PGPASSWORD=x send %p",
        "primary_conninfo": "host=a",
        "restore_command": "curl https://alice:x@a/%f -o %p",
        "vault.token": "x",
    }
    report, _ = judge((), {}, secrets, answers())
    assert report.changes == tuple(Change(name, "(not shown)", "(not shown)") for name in secrets)


@pytest.mark.parametrize(
    ("written", "running", "differs"),
    [
        ("4MB", WORK_MEM, False),
        ("4096", WORK_MEM, False),
        ("8MB", WORK_MEM, True),
        (None, replace(WORK_MEM, source="default"), False),
        (None, WORK_MEM, True),
        (None, replace(WORK_MEM, source="command line"), False),
        ("4MB", replace(WORK_MEM, pending=True), True),
        ("4MB", None, True),
        ("8MB", replace(WORK_MEM, source="user"), False),
    ],
)
def test_settings(written: str | None, running: Running | None, *, differs: bool) -> None:
    """A setting differs if the server goes by another value than the files give it, or waits for a restart."""
    assignments = {} if written is None else {"work_mem": Assignment("work_mem", written, CONF, 7)}
    place = (None, None) if written is None else (CONF, 7)
    expected = Setting(
        "work_mem",
        written,
        None if running is None else running.value,
        *place,
        None if running is None else running.source,
        pending=running is not None and running.pending,
        differs=differs,
    )
    assert settings(assignments, answers(*[each for each in [running] if each])) == (expected,)


def test_settings_of_a_server_that_does_not_run() -> None:
    """Where nobody could be asked, the files are all there is, and nothing differs."""
    assignments = {"work_mem": Assignment("work_mem", "4MB", CONF, 7)}
    expected = Setting("work_mem", "4MB", None, CONF, 7, None, pending=False, differs=False)
    assert settings(assignments, None) == (expected,)
