"""How a keeper starts its server: found before, called off, in its turn."""

from __future__ import annotations

import asyncio

import pytest
from fakes import live, now, settle
from keepers import World, kept

from pgsupervisor.supervision.life import (
    Exited,
    Kill,
    Order,
    Restart,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
)


@pytest.mark.parametrize(("order", "state"), [(Stop(), State.STOPPED), (Kill(), State.STOPPED)])
def test_a_start_is_called_off_at_the_gate(order: Order, state: State) -> None:
    """A start that still waits for its turn ends at once when it is not wanted any more, and spawns nothing."""

    async def play(world: World) -> None:
        await world.gate.enter(0)
        world.keeper.post(Start())
        await settle()
        world.keeper.post(order)
        await settle()
        assert world.keeper.life.state is state
        world.gate.leave()
        await asyncio.wait_for(world.gate.enter(99), 1)

    assert kept(play).postmaster.calls == ["find", "release"]


def test_start_and_stop_in_one_breath() -> None:
    """A start that has not even come to the gate is called off too, though the gate is shut for long."""

    async def play(world: World) -> None:
        await world.gate.enter(0)
        world.keeper.post(Start())
        world.keeper.post(Stop())
        await settle()
        assert world.keeper.life.state is State.STOPPED

    assert kept(play).postmaster.calls == ["find", "release"]


def test_restart_at_the_gate() -> None:
    """A restart before the start had its turn queues once again, and spawns once."""

    async def play(world: World) -> None:
        await world.gate.enter(0)
        for order in (Start(), Restart(), Stop(), Start(), Restart()):
            world.keeper.post(order)
        await settle()
        world.keeper.post(Restart())
        await settle()
        assert world.keeper.life.state is State.STARTING
        world.gate.leave()
        await settle()
        assert world.keeper.life.state is State.RUNNING
        world.keeper.post(Stop())
        await settle()
        assert world.keeper.life.state is State.STOPPED

    assert kept(play).postmaster.calls == ["find", "spawn", "SIGINT", "release"]


def test_a_late_spawned_is_stopped() -> None:
    """A server that comes up after the stop was ordered gets the signal then."""

    async def play(world: World) -> None:
        world.postmaster.spawn_time = 5.0
        world.keeper.post(Start())
        await settle()
        world.keeper.post(Stop())
        await settle()
        assert (world.keeper.life.state, world.postmaster.calls) == (State.STOPPING, ["find", "spawn", "SIGINT"])
        assert await world.until(State.STOPPED) == pytest.approx(5.0, abs=0.01)

    assert kept(play).postmaster.calls == ["find", "spawn", "SIGINT", "SIGINT", "release"]


@pytest.mark.parametrize("order", [Stop(), Restart()])
def test_somebody_else_starts_what_is_called_off(order: Order) -> None:
    """A server that somebody else started when ours was called off is taken into care, and ours is not started."""

    async def play(world: World) -> None:
        await world.gate.enter(0)
        world.keeper.post(Start())
        await settle()
        world.keeper.post(order)
        world.keeper.post(Spawned(7))
        await settle()
        assert (world.keeper.life.state, world.keeper.life.pid) == (State.STARTING, 7)
        world.gate.leave()

    assert kept(play).postmaster.calls == ["find", "release"]


@pytest.mark.parametrize("order", [Stop(), Restart()])
def test_what_is_called_off_is_told_before_all_else(order: Order) -> None:
    """What is told of somebody else's server, and of what it left behind, is not taken for what became of our start."""

    async def play(world: World) -> None:
        await world.gate.enter(0)
        world.keeper.post(Start())
        await settle()
        for event in (order, Spawned(7), Exited("fell", clean=False, hopeless=False, jitter=1.0, orphans=1)):
            world.keeper.post(event)
        await settle()
        assert (world.keeper.life.state, world.keeper.life.orphans) == (State.BACKOFF, 1)
        world.gate.leave()

    assert kept(play).postmaster.calls == ["find", "release"]


def test_an_order_before_the_server_is_found() -> None:
    """A server that runs already is adopted, not started twice, if somebody orders it up before it is found."""

    async def play(world: World) -> None:
        world.postmaster.running_before = True
        world.postmaster.find_time = 3.0
        assert (await world.keeper.order(Start())).life.pid == 101
        assert world.keeper.life.state is State.RUNNING

    assert kept(play).postmaster.calls == ["find", "release"]


def test_a_stop_before_the_server_is_found() -> None:
    """A server that runs already is stopped, also if that was ordered before it was found."""

    async def play(world: World) -> None:
        world.postmaster.running_before = True
        world.postmaster.find_time = 3.0
        assert (await world.keeper.order(Stop())).life.state is State.STOPPING
        assert await world.until(State.STOPPED) == 0

    assert kept(play).postmaster.calls == ["find", "SIGINT", "release"]


@pytest.mark.parametrize("shut", [False, True])
def test_a_server_is_found_while_ours_waits_for_its_turn(*, shut: bool) -> None:
    """Somebody else's server is adopted, ours is not started beside it, and no place at the gate is lost."""

    async def play(world: World) -> None:
        if shut:
            await world.gate.enter(0)
        world.keeper.post(Start())
        world.postmaster._come_up()
        await settle()
        assert (world.keeper.life.state, world.keeper.life.pid) == (State.RUNNING, 101)
        if shut:
            world.gate.leave()
        await asyncio.wait_for(world.gate.enter(0), 1)

    assert kept(play).postmaster.calls == ["find", "release"]


def test_the_gate_is_held_until_ready() -> None:
    """The next server starts when this one is ready, not when it is merely spawned."""

    async def play(world: World) -> None:
        world.postmaster.gets_ready = False
        world.keeper.post(Start())
        await settle()
        entering = asyncio.create_task(world.gate.enter(0))
        await settle()
        assert not entering.done()
        world.postmaster.get_ready()
        await settle()
        assert entering.done()

    kept(play)


def test_a_long_recovery_leaves_the_gate() -> None:
    """A server that replays for an hour does not keep the others from starting."""

    async def play(world: World) -> None:
        world.postmaster.gets_ready = False
        world.keeper.post(Start())
        await settle()
        begun = now()
        await world.gate.enter(0)
        assert now() - begun == pytest.approx(10, abs=0.01)
        assert world.keeper.life.state is State.STARTING

    kept(play)


@pytest.mark.parametrize("end", ["failed", "fell", "stopped"])
def test_the_gate_is_left_by_whoever_is_not_starting(end: str) -> None:
    """A start that fails, falls or is stopped gives its place back."""

    async def play(world: World) -> None:
        world.postmaster.gets_ready = False
        if end == "failed":
            world.postmaster.refusal = SpawnFailed("no", hopeless=False, jitter=1.0)
        world.keeper.post(Start())
        await settle()
        if end == "fell":
            world.postmaster.end("fell")
        elif end == "stopped":
            world.keeper.post(Stop())
        await asyncio.wait_for(world.gate.enter(0), 0.5)

    kept(play)


def test_a_keeper_that_ends_gives_its_place_back() -> None:
    """Nobody waits at a gate for a keeper that is gone."""

    async def world() -> None:
        made = World()
        made.postmaster.gets_ready = False
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        made.keeper.post(Start())
        await settle()
        task.cancel()
        await asyncio.wait_for(made.gate.enter(0), 1)

    live(world)
