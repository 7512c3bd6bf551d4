"""What the control server answers about configurations: reports, settings, changes, and what is wrong."""

from __future__ import annotations

import pytest
from another_client import another_client, without_nulls
from control import Door, play
from fakes import FakePostmaster, spec

from pgsupervisor.control import protocol
from pgsupervisor.errors import ConfigurationError, InstallationError
from pgsupervisor.supervision.configuration import Change, Mistake, Prospects, Report, Setting

CONF = "/etc/a/postgresql.conf"

REPORT = Report(
    files=(CONF,),
    changes=(Change("work_mem", "4MB", "8MB"),),
    pending=(Change("shared_buffers", "128MB", "1GB"),),
    mistakes=(Mistake("/etc/a/pg_hba.conf", 12, 'invalid authentication method "trsut"', None),),
    overruled=("port",),
)
REPORTED = {
    "verdict": "rejected",
    "files": [CONF],
    "changes": [{"name": "work_mem", "was": "4MB", "now": "8MB"}],
    "pending": [{"name": "shared_buffers", "was": "128MB", "now": "1GB"}],
    "mistakes": [{"path": "/etc/a/pg_hba.conf", "line": 12, "why": 'invalid authentication method "trsut"'}],
    "overruled": ["port"],
    "unverified": None,
}
STANDING = 'pg_hba.conf:12 invalid authentication method "trsut"; pending restart: shared_buffers 128MB → 1GB'


def setting(name: str, written: str | None = None, running: str | None = None, **known: object) -> Setting:
    facts: dict[str, object] = {"path": None, "line": None, "source": None, "pending": False, "differs": False}
    if written is not None:
        facts |= {"path": CONF, "line": 3}
    return Setting(name, written, running, **(facts | known))  # type: ignore[arg-type]  # a test names what differs


WORK_MEM = setting("work_mem", "8MB", "8MB", source="configuration file")
DATESTYLE = setting("DateStyle", None, "ISO, MDY", source="default")
PORT = setting("port", None, "5433", source="command line", differs=True)


def told(each: Setting) -> dict[str, object]:
    """Return a setting as the interface has it."""
    return {name: getattr(each, name) for name in Setting.__slots__}


async def running(door: Door) -> FakePostmaster:
    """Wait until `a` runs, and return its postmaster."""
    await door.until("a", "RUNNING")
    return door.postmaster("a")


# what came of a reload


def test_a_reload_is_answered_by_what_came_of_it() -> None:
    """The outcome says it in words and as a value, and is no success if the server refused something."""

    async def scene(door: Door) -> None:
        (await running(door)).reports = [REPORT]
        one = await door.visit()
        reply = await one.call("Reload", {"names": ["a"]})
        outcome = {"name": "a", "ok": False, "state": "RUNNING", "message": REPORT.text, "report": REPORTED}
        assert reply == {"parameters": {"outcomes": [outcome]}}

    play(scene)


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (Report(), "applied"),
        (Report(pending=(Change("port", "1", "2"),)), "pending_restart"),
        (Report(unverified="no psql"), "unverified"),
    ],
)
def test_verdicts_are_those_of_the_interface(report: Report, verdict: str) -> None:
    """Every verdict but a refusal is a success."""

    async def scene(door: Door) -> None:
        (await running(door)).reports = [report]
        one = await door.visit()
        reply = await one.call("Reload", {"names": ["a"]})
        (outcome,) = reply["parameters"]["outcomes"]
        assert (outcome["ok"], outcome["report"]["verdict"]) == (True, verdict)
        assert outcome["report"]["unverified"] == (report.unverified or None)
        assert f"{verdict}, " in protocol.interface_description("io.pgsupervisor").replace(")", ", ")

    play(scene)


def test_what_stands_of_a_reload_stays_in_the_status() -> None:
    """Status and Monitor show what an administrator has still to see to, until it is mended."""

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.reports = [REPORT, Report()]
        one = await door.visit()
        watching = await door.visit()
        watching.ask("Monitor", {"names": ["a"]}, more=True)
        assert _shown(await watching.hear()) == ("", None)
        postmaster.change_files()
        while (shown := _shown(await watching.hear())) == ("", None):
            pass
        assert shown == _shown(await one.call("GetStatus", {"names": ["a"]})) == (STANDING, REPORTED)
        await one.call("Reload", {"names": ["a"]})
        reason, report = _shown(await one.call("GetStatus", {"names": ["a"]}))
        assert (reason, report["verdict"]) == ("", "applied")

    play(scene)


def test_how_the_files_are_watched_is_told() -> None:
    """What keeps files from being watched as usual is told as it is, beside everything else."""
    polled = "configuration files are polled: no inotify on NFS"

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.polled = polled
        one = await door.visit()
        status = await one.call("GetStatus", {"names": ["a"]})
        (cluster,) = status["parameters"]["clusters"]
        assert (cluster["polled"], cluster["reason"]) == (polled, polled)
        postmaster.reports = [REPORT]
        await one.call("Reload", {"names": ["a"]})
        reason, _ = _shown(await one.call("GetStatus", {"names": ["a"]}))
        assert reason == f"{STANDING}; {polled}"

    play(scene)


def _shown(reply: dict[str, object]) -> tuple[str, dict[str, object] | None]:
    (cluster,) = reply["parameters"]["clusters"]
    return cluster["reason"], cluster["report"]


# restart


def test_a_restart_that_would_be_the_end_needs_force() -> None:
    """A server that would not start again is not stopped, and it is said why; with force it is."""

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.outlook = Prospects(("pg_hba.conf:12: no",), ("pg_ident.conf:1: no",))
        one = await door.visit()
        reply = await one.call("Restart", {"names": ["a"]})
        why = "not restarted, as it would not start again: pg_hba.conf:12: no; mend that, or use --force"
        assert reply["parameters"] == {"outcomes": [{"name": "a", "ok": False, "state": "RUNNING", "message": why}]}
        assert postmaster.calls.count("spawn") == 1
        reply = await one.call("Restart", {"names": ["a"], "force": True})
        assert reply["parameters"] == {"outcomes": [{"name": "a", "ok": True, "state": "RUNNING", "message": ""}]}
        assert postmaster.calls.count("spawn") == 2

    play(scene)


# settings


@pytest.mark.parametrize(
    ("stand", "keys", "found"),
    [
        ((WORK_MEM, DATESTYLE, PORT), [], [WORK_MEM, PORT]),
        ((WORK_MEM, DATESTYLE, PORT), ["datestyle", "WORK_MEM"], [DATESTYLE, WORK_MEM]),
        ((setting("work_mem", "8MB"),), ["work_mem", "nonsense"], [setting("work_mem", "8MB"), setting("nonsense")]),
    ],
    ids=["what a file sets or what differs", "what is asked for, in that order", "no server knows better"],
)
def test_where_settings_stand(stand: tuple[Setting, ...], keys: list[str], found: list[Setting]) -> None:
    """GetConfiguration tells every field of the interface's Setting."""

    async def scene(door: Door) -> None:
        (await running(door)).stand = stand
        one = await door.visit()
        reply = await one.call("GetConfiguration", {"name": "a", "keys": keys})
        assert reply == {"parameters": {"settings": [told(each) for each in found]}}

    play(scene)


def test_a_setting_that_the_server_does_not_know() -> None:
    """A name that neither a file sets nor the server knows is an error; one that is a typo in a file is shown."""
    typo = setting("wrk_mem", "8MB", differs=True)

    async def scene(door: Door) -> None:
        (await running(door)).stand = (DATESTYLE, typo)
        one = await door.visit()
        reply = await one.call("GetConfiguration", {"name": "a", "keys": ["wrk_mem"]})
        assert reply == {"parameters": {"settings": [told(typo)]}}
        reply = await one.call("GetConfiguration", {"name": "a", "keys": ["datestyle", "Work_Mem"]})
        assert reply == {"error": protocol.UNKNOWN_SETTING, "parameters": {"name": "Work_Mem"}}

    play(scene)


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (FileNotFoundError(2, "No such file or directory", CONF), f"{CONF}: No such file or directory"),
        (InstallationError("no PostgreSQL at /pg"), "no PostgreSQL at /pg"),
    ],
)
def test_settings_that_cannot_be_told(trouble: Exception, why: str) -> None:
    """What keeps us from looking is answered, and is no mistake of ours."""

    async def scene(door: Door) -> None:
        (await running(door)).trouble["settings"] = trouble
        one = await door.visit()
        reply = await one.call("GetConfiguration", {"name": "a", "keys": []})
        assert reply == {"error": protocol.CONFIGURATION_NOT_READABLE, "parameters": {"why": why}}

    play(scene)


def test_settings_are_changed() -> None:
    """SetConfiguration writes all changes at once, tells of the reload that follows, and what came of it."""
    changes = [{"name": "work_mem", "value": "8MB"}, {"name": "port"}, {"name": "search_path", "value": ""}]

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.file = {"port": "5433"}
        postmaster.reports = [Report(changes=(Change("work_mem", "4MB", "8MB"),))]
        one = await door.visit()
        one.ask("SetConfiguration", {"name": "a", "changes": changes}, more=True)
        first = await one.hear()
        assert first == {"parameters": {"progress": {"name": "a", "state": "RUNNING", "reason": ""}}, "continues": True}
        while (reply := await one.hear()).get("continues"):
            pass
        (outcome,) = reply["parameters"]["outcomes"]
        assert outcome.pop("report")["changes"] == [{"name": "work_mem", "was": "4MB", "now": "8MB"}]
        assert outcome == {"name": "a", "ok": True, "state": "RUNNING", "message": "applied: work_mem 4MB → 8MB"}
        assert postmaster.file == {"work_mem": "8MB", "search_path": ""}
        assert (postmaster.calls.count("write"), postmaster.calls.count("reload")) == (1, 1)

    play(scene)


def test_what_the_server_refuses_is_put_back() -> None:
    """A value that the server refuses is no success, and gone again; the answer has the server's words."""
    refused = Report(mistakes=(Mistake(CONF, 3, "invalid value", "work_mem"),))

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.file = {"work_mem": "4MB"}
        postmaster.reports = [refused, Report()]
        one = await door.visit()
        reply = await one.call("SetConfiguration", {"name": "a", "changes": [{"name": "work_mem", "value": "much"}]})
        (outcome,) = reply["parameters"]["outcomes"]
        del outcome["report"]
        message = "refused, and put back as it was: invalid value"
        assert outcome == {"name": "a", "ok": False, "state": "RUNNING", "message": message}
        assert postmaster.file == {"work_mem": "4MB"}

    play(scene)


@pytest.mark.parametrize(
    ("trouble", "facts"),
    [
        (ConfigurationError(CONF, 7, "set here"), {"path": CONF, "line": 7, "why": "set here"}),
        (PermissionError(13, "Permission denied", CONF), {"path": CONF, "line": 0, "why": "Permission denied"}),
        (ValueError("a newline"), {"path": "", "line": 0, "why": "a newline"}),
        (InstallationError("no PostgreSQL at /pg"), {"path": "", "line": 0, "why": "no PostgreSQL at /pg"}),
    ],
)
def test_a_change_that_cannot_be_written(trouble: Exception, facts: dict[str, object]) -> None:
    """Whatever keeps a change from being written is answered with where and why, and nothing is reloaded."""

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.trouble["write"] = trouble
        one = await door.visit()
        reply = await one.call("SetConfiguration", {"name": "a", "changes": [{"name": "work_mem", "value": "1"}]})
        assert reply == {"error": protocol.CONFIGURATION_REFUSED, "parameters": facts}
        assert "reload" not in postmaster.calls

    play(scene)


def test_a_change_of_one_who_hangs_up() -> None:
    """A change is an order: what the server refuses is put back though nobody waits for it any more."""
    refused = Report(mistakes=(Mistake(CONF, 3, "invalid value", "work_mem"),))

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.file = {"work_mem": "4MB"}
        postmaster.reports = [refused, Report()]
        postmaster.reload_time = 0.2
        one = await door.visit()
        with door.events.listen() as changes:
            one.ask("SetConfiguration", {"name": "a", "changes": [{"name": "work_mem", "value": "much"}]})
            while "reload" not in postmaster.calls:
                await changes.next()
            one.hang_up()
            await door.until_alone()
            while postmaster.calls.count("reload") < 2:
                await changes.next()
        assert postmaster.file == {"work_mem": "4MB"}

    play(scene)


def test_what_would_keep_the_next_start_from_succeeding() -> None:
    """CheckConfiguration tells all that is wrong, and what could not be looked at, and restarts nothing."""
    told: list[tuple[Prospects, dict[str, object]]] = [
        (Prospects(), {"problems": [], "unchecked": None}),
        (Prospects(("one",), ("two",), "three"), {"problems": ["one", "two"], "unchecked": "three"}),
    ]

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        one = await door.visit()
        for outlook, parameters in told:
            postmaster.outlook = outlook
            assert await one.call("CheckConfiguration", {"name": "a"}) == {"parameters": parameters}
        assert postmaster.asked == [spec("a"), spec("a")]
        assert postmaster.calls.count("spawn") == 1

    play(scene)


def test_another_varlink_client_reads_it_all() -> None:
    """The client of the Varlink project gets each value whole, so the interface names and types every field."""
    parameters = {"name": "a", "changes": [{"name": "work_mem", "value": "8MB"}, {"name": "port"}]}

    async def scene(door: Door) -> None:
        postmaster = await running(door)
        postmaster.stand = (WORK_MEM, PORT)
        postmaster.reports = [REPORT]
        settings = without_nulls({"settings": [told(WORK_MEM), told(PORT)]})
        assert await another_client(door, "GetConfiguration", {"name": "a", "keys": []}) == settings
        outcome = {"name": "a", "ok": False, "state": "RUNNING", "message": REPORT.text, "report": REPORTED}
        outcomes = without_nulls({"outcomes": [outcome]})
        assert await another_client(door, "SetConfiguration", parameters) == outcomes
        postmaster.polled = "no inotify on NFS"
        one = await door.visit()
        ours = (await one.call("GetStatus", {"names": ["a"]}))["parameters"]["clusters"][0]
        theirs = (await another_client(door, "GetStatus", {"names": ["a"]}))["clusters"][0]
        del ours["since"], theirs["since"]
        assert theirs == without_nulls(ours)
        postmaster.outlook = Prospects(unchecked="pg_hba.conf")
        prospects = {"problems": [], "unchecked": "pg_hba.conf"}
        assert await another_client(door, "CheckConfiguration", {"name": "a"}) == prospects

    play(scene)
