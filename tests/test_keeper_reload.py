"""How a keeper has its server reload, and learns what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes import live, settle
from keepers import World, kept

from pgsupervisor.supervision.configuration import Change, Report
from pgsupervisor.supervision.life import Kill, Reload, Reloaded, Restart, Start, State, Stop

APPLIED = Report(changes=(Change("work_mem", "4MB", "8MB"),))
PENDING = Report(pending=(Change("shared_buffers", "128MB", "1GB"),))


def test_a_reload_is_told_with_what_came_of_it() -> None:
    """Each change of the files leads to one reload; both its begin and its report are told to everybody."""

    async def play(world: World) -> None:
        world.postmaster.reports = [APPLIED, PENDING]
        world.keeper.post(Start())
        await settle()
        world.changes.clear()
        world.postmaster.change_files()
        await settle()
        assert (await world.keeper.order(Reload())).life.reloading
        await settle()

    world = kept(play)
    assert world.postmaster.calls == ["find", "spawn", "reload", "reload", "release"]
    assert [(type(event).__name__, after.reloading, after.report) for _, _, event, after in world.changes] == [
        ("FilesChanged", True, None),
        ("Reloaded", False, APPLIED),
        ("Reload", True, APPLIED),
        ("Reloaded", False, PENDING),
    ]


def test_the_same_report_again_is_told_again() -> None:
    """Whoever reloads twice hears twice, also if nothing is new."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        for _ in range(2):
            world.keeper.post(Reload())
            await settle()

    told = [event for _, _, event, _ in kept(play).changes if isinstance(event, Reloaded)]
    assert told == [Reloaded(101, Report())] * 2


def test_orders_do_not_wait_for_a_reload() -> None:
    """A server that takes its time to answer can be stopped meanwhile; what it says then is not listened to."""

    async def play(world: World) -> None:
        world.postmaster.reload_time = 5.0
        world.keeper.post(Start())
        await settle()
        world.keeper.post(Reload())
        await settle()
        assert world.keeper.life.reloading
        world.keeper.post(Stop())
        await settle()
        stopped = world.keeper.life
        assert (stopped.state, stopped.reloading) == (State.STOPPED, False)
        await asyncio.sleep(6)
        assert world.keeper.life is stopped

    kept(play)


def test_files_that_change_during_a_reload() -> None:
    """Ten changes while the server is asked are one more reload."""

    async def play(world: World) -> None:
        world.postmaster.reload_time = 5.0
        world.keeper.post(Start())
        await settle()
        for _ in range(10):
            world.postmaster.change_files()
        await asyncio.sleep(20)

    assert kept(play).postmaster.calls == ["find", "spawn", "reload", "reload", "release"]


def test_a_new_server_is_asked_though_the_last_one_has_not_answered() -> None:
    """A reload that hangs with a server that has ended is given up as soon as the next server is to reload."""

    async def play(world: World) -> None:
        world.postmaster.reload_time = 1000.0
        world.keeper.post(Start())
        await settle()
        world.keeper.post(Reload())
        await settle()
        world.keeper.post(Restart())
        await settle()
        world.postmaster.reload_time = 1.0
        world.keeper.post(Reload())
        await settle()
        assert [task for task in asyncio.all_tasks() if task.get_name() == "reload shop"] == [world.keeper._reloading]
        await asyncio.sleep(2)
        assert (world.keeper.life.pid, world.keeper.life.reloading, world.keeper.life.report) == (102, False, Report())

    kept(play)


def test_an_answer_counts_for_the_server_that_was_asked() -> None:
    """What the last server made of its files is not said of the next, also if that is told to reload just then."""

    async def play(world: World) -> None:
        answer = asyncio.get_running_loop().create_future()

        async def answer_late() -> Report:
            return await answer

        world.keeper.post(Start())
        await settle()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.postmaster, "reload", answer_late)
            world.keeper.post(Reload())
            await settle()
        world.keeper.post(Restart())
        await settle()
        world.postmaster.reports = [APPLIED]
        answer.set_result(PENDING)
        world.keeper.post(Reload())
        await settle()
        assert world.keeper.life.pid == 102

    reports = [after.report for _, _, _, after in kept(play).changes if after.report is not None]
    assert reports == [APPLIED]


def test_a_mistake_in_a_reload_is_told_and_ends_it() -> None:
    """A cluster never reloads for ever because of a mistake of ours, nor is that taken for success."""
    mistake = ValueError("ours")

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        before = world.keeper.life
        world.postmaster.trouble["reload"] = mistake
        world.keeper.post(Reload())
        await settle()
        report = Report(unverified="a mistake in pgsupervisor: ValueError('ours')")
        assert world.keeper.life == replace(before, report=report)
        assert world.mistakes == [("shop", mistake)]
        world.mistakes.clear()

    kept(play)


def test_a_fatal_cluster_comes_up_when_its_files_are_mended() -> None:
    """Nobody has to order anything: the change of the files is enough."""
    mistake = ValueError("ours")

    async def play(world: World) -> None:
        world.postmaster.trouble["spawn"] = mistake
        world.keeper.post(Start())
        await world.until(State.FATAL)
        del world.postmaster.trouble["spawn"]
        world.mistakes.clear()
        world.postmaster.change_files()
        await settle()
        assert world.keeper.life.state is State.RUNNING

    assert kept(play).postmaster.calls == ["find", "spawn", "spawn", "release"]


def test_a_start_that_fails_while_its_files_change_gives_its_place_at_the_gate_back() -> None:
    """It is tried again at once, in its turn: no server keeps two places, and none waits for its own."""

    async def play(world: World) -> None:
        world.postmaster.gets_ready = False
        world.keeper.post(Start())
        await settle()
        world.postmaster.change_files()
        await settle()
        world.postmaster.end("fell", hopeless=True)
        await settle()
        assert (world.keeper.life.state, world.keeper.life.pid) == (State.STARTING, 102)
        world.postmaster.get_ready()
        await settle()

    assert kept(play).postmaster.calls == ["find", "spawn", "SIGHUP", "spawn", "release"]


def test_what_is_down_is_not_told_to_reload() -> None:
    """Files that change while the server is down are read by its next start."""

    async def play(world: World) -> None:
        world.postmaster.change_files()
        world.keeper.post(Start())
        await settle()
        world.keeper.post(Kill())
        world.postmaster.change_files()
        world.keeper.post(Start())
        await settle()
        assert world.keeper.life.state is State.RUNNING

    assert kept(play).postmaster.calls == ["find", "spawn", "SIGKILL", "spawn", "release"]


def test_a_keeper_that_ends_asks_nothing_more() -> None:
    """No task of a keeper outlives it."""

    async def world() -> None:
        made = World()
        made.postmaster.reload_time = 1000.0
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        for event in (Start(), Reload()):
            made.keeper.post(event)
        await settle()
        assert made.keeper.life.reloading
        task.cancel()
        await asyncio.wait({task})
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    live(world)
