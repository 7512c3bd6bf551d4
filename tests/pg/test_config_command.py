"""`pgsupctl config`: settings are looked at, changed and put back, and the server has the last word."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemons import Site
from fake_programs import write_program
from servers import add_clock, append, linked_installation, mended, reloads, sql

from pgsupervisor.postgres import Cluster, Installation


def config(site: Site, *arguments: str) -> tuple[int, str]:
    """Run `pgsupctl config shop`, and return its exit status and all that it says."""
    finished = site.pgsupctl("config", "shop", *arguments)
    return finished.returncode, finished.stdout + finished.stderr


def test_set_and_unset(site: Site, installation: Installation) -> None:
    """A setting that is set is in the file, in force and reported; unset, the default is in force again."""
    data = site.add("shop", installation)
    daemon = site.run()
    path = data / "postgresql.conf"
    assert config(site, "set", "work_mem=7MB") == (0, "shop: RUNNING  applied: work_mem 4MB → 7MB\n")
    lines = path.read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.startswith("work_mem")]
    assert config(site, "get", "work_mem") == (0, f"work_mem\t7MB\t7MB\t{path}:{number}\t\n")
    assert config(site, "unset", "work_mem") == (0, "shop: RUNNING  applied: work_mem 7MB → 4MB\n")
    assert sql(site.cluster("shop"), "show work_mem") == "4MB"
    assert len(daemon.logged(event="reloaded")) == 2


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("work_mem=4XB", 'invalid value for parameter "work_mem": "4XB"'),
        ("wrok_mem=4MB", 'unrecognized configuration parameter "wrok_mem"'),
        ("shared_buffers=1kB", "shared_buffers"),
    ],
)
def test_what_is_refused(site: Site, installation: Installation, assignment: str, why: str) -> None:
    """A value that PostgreSQL refuses never gets into the file, and its message is told; no server sees any of it."""
    data = site.add("shop", installation, reload_delay="1ms")
    add_clock(site)
    site.run()
    before = (data / "postgresql.conf").read_bytes()
    status, said = config(site, "set", assignment, "maintenance_work_mem=70MB")
    assert (status, why in said, (data / "postgresql.conf").read_bytes()) == (1, True, before), said
    assert (reloads(site), site.status("shop")["reason"]) == (0, "")


def test_what_is_refused_while_it_does_not_run(site: Site, installation: Installation) -> None:
    """A stopped cluster's settings are judged too, and count when it is started."""
    data = site.add("shop", installation)
    site.run()
    site.order("Stop", "shop")
    before = (data / "postgresql.conf").read_bytes()
    assert (config(site, "set", "work_mem=4XB")[0], (data / "postgresql.conf").read_bytes()) == (1, before)
    assert config(site, "set", "work_mem=7MB") == (0, "shop: STOPPED  written; a server that starts reads it\n")
    site.order("Start", "shop")
    assert sql(site.cluster("shop"), "show work_mem") == "7MB"


def test_mending(site: Site, installation: Installation) -> None:
    """A file with a mistake in it can be mended by `set`, which is refused nothing for what was wrong before."""
    data = site.add("shop", installation, watch=False)
    site.run()
    with (data / "postgresql.conf").open("a") as file:
        file.write("work_mem = 4XB\n")
    assert site.pgsupctl("reload", "shop").returncode == 1
    assert config(site, "set", "work_mem=5MB") == (0, "shop: RUNNING  applied: work_mem 4MB → 5MB\n")
    assert site.status("shop")["reason"] == ""


def test_beside_another_mistake(site: Site, installation: Installation) -> None:
    """What was wrong in the file before neither lets a bad value in nor keeps a good one out."""
    data = site.add("shop", installation, reload_delay="1ms")
    add_clock(site)
    site.run()
    path = data / "postgresql.conf"
    good = path.read_text()
    append(path, "wrok_mem = 1\n")
    before = (path.read_text(), reloads(site))
    status, said = config(site, "set", "work_mem=4XB")
    assert (status, 'invalid value for parameter "work_mem": "4XB"' in said) == (1, True), said
    assert (path.read_text(), reloads(site)) == before
    status, said = config(site, "set", "work_mem=5MB")
    assert (status, "wrok_mem" in said, site.cluster("shop").settings["work_mem"]) == (1, True, "5MB"), said
    path.write_text(good + "work_mem = 5MB\n")
    mended(site)
    assert sql(site.cluster("shop"), "show work_mem") == "5MB"


@pytest.mark.parametrize(("value", "taken"), [("4XB", None), ("7MB", "7MB")])
def test_a_save_meanwhile(
    site: Site, installation: Installation, monkeypatch: pytest.MonkeyPatch, value: str, taken: str | None
) -> None:
    """What an administrator saves while PostgreSQL judges a change is in the file afterwards, come of that what may."""
    data = site.add("shop", installation)
    patched = linked_installation(site, installation, monkeypatch)
    site.declare("shop", data, patched, watch=False)
    path, armed, postgres = data / "postgresql.conf", site.directory / "armed", Path(patched.bindir, "postgres")
    save = f"rm {armed} && echo 'maintenance_work_mem = 70MB' >>{path}"
    write_program(site.directory / "postgres", f'test -e {armed} && {save}\nexec {postgres.resolve()} "$@"')
    (site.directory / "postgres").rename(postgres)
    site.run()
    armed.touch()
    found = config(site, "set", f"work_mem={value}")
    assert (armed.exists(), found[0]) == (False, int(taken is None)), found
    settings = Cluster(installation, data).settings
    assert (settings.get("maintenance_work_mem"), settings.get("work_mem")) == ("70MB", taken)


def test_alter_system_wins(site: Site, installation: Installation) -> None:
    """What ALTER SYSTEM has set cannot be set in postgresql.conf, and that is said, with the way out."""
    site.add("shop", installation)
    site.run()
    sql(site.cluster("shop"), "alter system set work_mem = '9MB'")
    status, said = config(site, "set", "work_mem=5MB")
    assert (status, "ALTER SYSTEM RESET work_mem" in said) == (1, True), said


def test_diff(site: Site, installation: Installation) -> None:
    """What waits for a restart, what was not reloaded, what the inventory overrules: that differs, and nothing else."""
    data = site.add("shop", installation, watch=False, settings={"maintenance_work_mem": "32MB"})
    site.run()
    assert config(site, "diff")[0] == 0
    with (data / "postgresql.conf").open("a") as file:
        file.write("work_mem = 8192kB\nmaintenance_work_mem = 64MB\nmax_connections = 17\n")
    site.pgsupctl("reload", "shop")
    with (data / "postgresql.conf").open("a") as file:
        file.write("log_min_duration_statement = 1s\n")
    status, said = config(site, "diff")
    names = [line.split()[0] for line in said.splitlines()]
    assert (status, names) == (
        1,
        ["log_min_duration_statement", "maintenance_work_mem", "max_connections"],
    ), said


def test_check(site: Site, installation: Installation) -> None:
    """`check` says what would keep the next start from succeeding, with the server still running."""
    data = site.add("shop", installation, watch=False)
    site.run()
    assert config(site, "check") == (0, "ok\n")
    rules, maps = data / "pg_hba.conf", data / "pg_ident.conf"
    good = rules.read_text()
    number = append(rules, "host all all 10.0.0.0/8 trsut\n")
    status, said = config(site, "check")
    assert (status, said) == (1, f'{data}/pg_hba.conf:{number}: invalid authentication method "trsut"\n')
    rules.write_text(good)
    good = maps.read_text()
    number = append(maps, "map alice\n")
    status, said = config(site, "check")
    assert (status, said) == (1, f"{maps}:{number}: missing entry at end of line\n")
    maps.write_text(good)
    rules.write_text("local all all reject\n")
    site.pgsupctl("reload", "shop")
    status, said = config(site, "check")
    (ok, unchecked) = said.splitlines()
    assert (status, ok, "not checked" in unchecked, "rejects connection" in unchecked) == (0, "ok", True, True), said
