"""What the supervisor does about configurations: restarts that would fail, and settings that are changed by order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes import FakePostmaster, only, settle, spec
from supervisors import A, B, World, done, reloaded, supervised

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.supervision.configuration import Change, Mistake, Prospects, Report
from pgsupervisor.supervision.kept import Assignments
from pgsupervisor.supervision.life import Reload, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome

PATH = "/srv/a/postgresql.conf"
APPLIED = Report((PATH,), changes=(Change("work_mem", "4MB", "8MB"),))
WHY = 'invalid value for parameter "work_mem": "4XB"'
REFUSED = Report((PATH,), mistakes=(Mistake(PATH, 3, WHY, "work_mem"),))
OTHERWISE_WRONG = Report((PATH,), mistakes=(Mistake(PATH, 9, "syntax error"), Mistake(PATH, 10, "unknown", "wrok_mem")))

OBJECTIONS = ('/srv/a/pg_hba.conf:12: invalid authentication method "trsut"', "port 5432 is in use")
SURVIVES = Prospects((), ("pg_ident.conf:3: no",), unchecked="no psql")
NOT_RESTARTED = (
    'not restarted, as it would not start again: /srv/a/pg_hba.conf:12: invalid authentication method "trsut"; '
    "port 5432 is in use; mend that, or use --force"
)


def _objects(made: FakePostmaster) -> None:
    made.outlook = Prospects(OBJECTIONS) if made.name == "a" else SURVIVES


def _told(report: Report) -> Outcome:
    """Return the outcome of a change that the server refused with this report."""
    return replace(reloaded("a", report), message=f"refused, and put back as it was: {WHY}")


async def _configure(world: World, changes: Assignments) -> Outcome:
    return await world.supervisor.configure(world.kept("a")[0], changes, world.report)


def test_a_restart_that_would_fail_is_refused() -> None:
    """A server that would not start again runs on, untouched, and the reasons are told.

    What it would survive, and what nobody could look at, is no such reason: its neighbour is restarted.
    """

    async def play(world: World) -> None:
        world.host.forget()
        before = world.kept("a")[0].life
        assert await world.give(Restart()) == [
            Outcome("a", ok=False, state=State.RUNNING, message=NOT_RESTARTED),
            done("b", State.RUNNING),
        ]
        assert world.kept("a")[0].life is before

    world = supervised(play, A, B, prepare=_objects)
    assert world.host.made["a"].calls == ["prospects", "release"]
    assert world.host.made["b"].calls == ["prospects", "SIGINT", "spawn", "release"]


def test_force_restarts_all_the_same() -> None:
    """With force nobody is asked."""

    async def play(world: World) -> None:
        world.host.forget()
        assert await world.give(Restart(force=True)) == [done("a", State.RUNNING)]

    assert supervised(play, A, prepare=_objects).host.made["a"].calls == ["SIGINT", "spawn", "release"]


def test_there_is_nothing_to_lose_where_no_server_is() -> None:
    """A restart of what is down is a start; what is wrong with it, the start says itself."""

    async def play(world: World) -> None:
        assert await world.give(Restart()) == [done("a", State.RUNNING)]

    world = supervised(play, spec("a", autostart=False), prepare=_objects)
    assert world.host.made["a"].calls == ["find", "spawn", "release"]


def test_nobody_asks_before_a_start_a_stop_or_after_a_crash() -> None:
    """A lint holds nothing back but a restart that was ordered."""

    async def play(world: World) -> None:
        assert await world.give(Start()) == [done("a", State.RUNNING)]
        world.host.made["a"].end("fell")
        await asyncio.sleep(2)
        assert world.states == {"a": State.RUNNING}
        assert await world.give(Stop()) == [done("a", State.STOPPED)]

    world = supervised(play, A, prepare=_objects)
    assert world.host.made["a"].calls == ["find", "spawn", "spawn", "SIGINT", "release"]


def test_a_reload_waits_for_what_the_server_made_of_it() -> None:
    """The outcome is the report of a reload that began after the order, not of one that was under way."""

    def slow(made: FakePostmaster) -> None:
        made.reload_time = 5.0
        made.reports = [Report(), APPLIED]

    async def play(world: World) -> None:
        world.host.made["a"].change_files()
        await settle()
        assert await world.give(Reload()) == [reloaded("a", APPLIED)]

    assert only(supervised(play, A, prepare=slow).host.history, "reload") == ["a reload"] * 2


def test_a_reload_of_a_server_that_ends_meanwhile() -> None:
    """Nobody waits for the answer of a server that is gone."""

    def slow(made: FakePostmaster) -> None:
        made.reload_time = 5.0

    async def play(world: World) -> None:
        reloading = asyncio.create_task(world.give(Reload()))
        await settle()
        world.host.made["a"].end("fell")
        await settle()
        down = Outcome("a", ok=False, state=State.BACKOFF, message="not running; nothing to reload")
        assert await reloading == [down]

    supervised(play, A, prepare=slow)


def test_a_reload_while_the_server_starts() -> None:
    """The server is told at once, as it may wait for just that, and asked when it is ready; nobody waits so long."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = False
        made.reports = [APPLIED]

    async def play(world: World) -> None:
        told = "told to reload; it is asked what it made of that as soon as it is ready"
        assert await world.give(Reload()) == [done("a", State.STARTING, told)]
        world.host.made["a"].get_ready()
        await settle()
        assert world.kept("a")[0].life.report == APPLIED

    world = supervised(play, A, prepare=slow)
    assert world.host.made["a"].calls == ["find", "spawn", "SIGHUP", "reload", "release"]


def test_configure() -> None:
    """What is set is written, then the server is told, and the outcome is what it made of it."""

    async def play(world: World) -> None:
        world.host.forget()
        made = world.host.made["a"]
        made.file = {"port": "5433", "jit": "off"}
        made.reports = [APPLIED]
        assert await _configure(world, {"work_mem": "8MB", "jit": None}) == reloaded("a", APPLIED)
        assert made.file == {"port": "5433", "work_mem": "8MB"}
        assert made.calls == ["write", "reload"]
        assert world.reports == [("a", State.RUNNING)] * 2

    supervised(play, A)


@pytest.mark.parametrize("name", ["work_mem", "Work_Mem"])
def test_what_the_server_refuses_is_put_back(name: str) -> None:
    """The file is as it was, the server goes by it again, and the outcome says why, in the server's words."""

    async def play(world: World) -> None:
        world.host.forget()
        made = world.host.made["a"]
        made.file = {name: "4MB"}
        made.reports = [REFUSED, Report((PATH,))]
        assert await _configure(world, {name: "4XB", "jit": "on"}) == _told(REFUSED)
        assert made.file == {name: "4MB"}
        assert made.calls == ["write", "reload", "undo", "reload"]
        assert world.kept("a")[0].life.report == Report((PATH,))

    supervised(play, A)


def test_what_was_wrong_besides_is_not_put_back() -> None:
    """A mistake that is not in what was set is told, and no reason to take the change back."""

    async def play(world: World) -> None:
        world.host.forget()
        made = world.host.made["a"]
        made.reports = [OTHERWISE_WRONG]
        assert await _configure(world, {"work_mem": "8MB"}) == reloaded("a", OTHERWISE_WRONG)
        assert made.file == {"work_mem": "8MB"}
        assert made.calls == ["write", "reload"]

    supervised(play, A)


def test_what_cannot_be_written_is_an_error() -> None:
    """Then the server is told nothing."""
    error = ConfigurationError(PATH, 0, "set by postgresql.auto.conf")

    async def play(world: World) -> None:
        world.host.forget()
        world.host.made["a"].trouble["write"] = error
        with pytest.raises(ConfigurationError) as caught:
            await _configure(world, {"work_mem": "8MB"})
        assert caught.value is error
        assert world.host.made["a"].calls == ["write"]

    supervised(play, A)


def test_what_cannot_be_put_back_is_an_error() -> None:
    """Somebody else may have changed the file meanwhile; nobody is told that it is as it was."""
    error = ConfigurationError(PATH, 0, "somebody else has changed it")

    async def play(world: World) -> None:
        made = world.host.made["a"]
        made.reports = [REFUSED]
        made.trouble["undo"] = error
        with pytest.raises(ConfigurationError) as caught:
            await _configure(world, {"work_mem": "4XB"})
        assert caught.value is error

    supervised(play, A)


def test_configure_a_server_that_is_down() -> None:
    """It is written, and read by the next start."""

    async def play(world: World) -> None:
        written = "written; a server that starts reads it"
        assert await _configure(world, {"work_mem": "8MB"}) == done("a", State.STOPPED, written)
        assert world.host.made["a"].file == {"work_mem": "8MB"}
        assert world.states == {"a": State.STOPPED}

    world = supervised(play, spec("a", autostart=False))
    assert world.host.made["a"].calls == ["find", "write", "release"]


def test_configure_a_server_that_starts() -> None:
    """Nobody waits for a recovery; the server is told at once, and asked when it is ready."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def play(world: World) -> None:
        written = "written; a server that starts reads it"
        assert await _configure(world, {"work_mem": "8MB"}) == done("a", State.STARTING, written)
        world.host.made["a"].get_ready()
        await settle()

    world = supervised(play, A, prepare=slow)
    assert world.host.made["a"].calls == ["find", "spawn", "write", "SIGHUP", "reload", "release"]


def test_a_wait_that_is_cancelled_leaves_nothing_refused_behind() -> None:
    """A client that hangs up ends its wait; what the server then refuses is put back all the same."""

    async def play(world: World) -> None:
        made = world.host.made["a"]
        made.reload_time = 5.0
        made.reports = [REFUSED, Report((PATH,))]
        waiting = asyncio.create_task(_configure(world, {"work_mem": "4XB"}))
        await settle()
        assert made.file == {"work_mem": "4XB"}
        waiting.cancel()
        await asyncio.sleep(20)
        assert made.file == {}
        assert world.kept("a")[0].life.report == Report((PATH,))

    supervised(play, A)


def test_a_failure_that_nobody_waits_for_is_told() -> None:
    """What is refused and cannot be put back stays in the file; if who ordered it is gone, it is told to us."""
    error = ConfigurationError(PATH, 0, "somebody else has changed it")

    async def play(world: World) -> None:
        made = world.host.made["a"]
        made.reload_time = 5.0
        made.reports = [REFUSED]
        made.trouble["undo"] = error
        waiting = asyncio.create_task(_configure(world, {"work_mem": "4XB"}))
        await settle()
        waiting.cancel()
        await asyncio.sleep(20)
        assert world.mistakes == [("a", error)]

    supervised(play, A)


def test_two_who_configure_one_cluster_take_turns() -> None:
    """Nobody's file is put back over what another has written meanwhile."""

    async def play(world: World) -> None:
        world.host.forget()
        made = world.host.made["a"]
        made.reload_time = 1.0
        made.reports = [REFUSED, Report((PATH,)), APPLIED]
        refused, applied = await asyncio.gather(
            _configure(world, {"work_mem": "4XB"}), _configure(world, {"work_mem": "8MB"})
        )
        assert (refused, applied) == (_told(REFUSED), reloaded("a", APPLIED))
        assert made.file == {"work_mem": "8MB"}
        assert made.calls == ["write", "reload", "undo", "reload", "write", "reload"]

    supervised(play, A)


def test_an_older_report_is_no_answer() -> None:
    """What a server made of its files before the change does not count where it cannot be asked any more."""

    async def play(world: World) -> None:
        made = world.host.made["a"]
        made.reports = [REFUSED]
        await world.give(Reload())
        made.reload_time = 1000.0
        waiting = asyncio.create_task(_configure(world, {"work_mem": "8MB"}))
        await settle()
        assert world.kept("a")[0].life.report == REFUSED
        await world.supervisor.end(leave=True)
        assert await waiting == Outcome("a", ok=False, state=State.RUNNING, message="no longer supervised")
        assert made.file == {"work_mem": "8MB"}

    supervised(play, A)
