"""A keeper at work, with a postmaster that does what the test says and time that passes at once."""

from __future__ import annotations

import asyncio
from signal import Signals

import pytest
from fakes import BIRTH, FakePolicy, live, settle
from keepers import World, kept

from pgsupervisor.supervision.life import (
    Life,
    Ready,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Timeout,
)


def test_up_and_down() -> None:
    """Start spawns, Stop signals, each change is told with its cause, and in the end the postmaster is let go."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        world.keeper.post(Stop())
        await settle()

    world = kept(play)
    assert world.postmaster.calls == ["find", "spawn", "SIGINT", "release"]
    assert [(name, type(event).__name__, after.state) for name, _, event, after in world.changes] == [
        ("shop", "Start", State.STARTING),
        ("shop", "Spawned", State.STARTING),
        ("shop", "Ready", State.RUNNING),
        ("shop", "Stop", State.STOPPING),
        ("shop", "Exited", State.STOPPED),
    ]
    assert [after for _, _, _, after in world.changes[:-1]] == [before for _, before, _, _ in world.changes[1:]]


def test_an_order_returns_the_life_right_after_it() -> None:
    """Facts that are in the mailbox already do not get between an order and its answer."""

    async def play(world: World) -> None:
        ordering = asyncio.create_task(world.keeper.order(Start()))
        await asyncio.sleep(0)
        world.keeper.post(Spawned(7))
        world.keeper.post(Ready(standby=False))
        moment = await ordering
        assert moment.life == Life(State.STARTING, want_up=True, since=BIRTH, deadline=BIRTH + 10)
        assert world.keeper.life.state is State.RUNNING

    kept(play)


def test_who_goes_along_misses_no_life() -> None:
    """Lives that follow each other in one breath are all seen, however late somebody looks."""

    async def play(world: World) -> None:
        moment = await world.keeper.order(Start())
        await settle()
        world.keeper.post(Stop())
        await settle()
        states = []
        while moment is not world.keeper._now:
            states.append((moment.life.state, moment.life.pid))
            following = await moment.next()
            assert following is not None
            moment = following
        assert [*states, (moment.life.state, moment.life.pid)] == [
            (State.STARTING, None),
            (State.STARTING, 101),
            (State.RUNNING, 101),
            (State.STOPPING, 101),
            (State.STOPPED, None),
        ]

    kept(play)


def test_a_cancelled_wait_does_not_cancel_the_order() -> None:
    """Whoever gave an order may go away; the order is carried out."""

    async def play(world: World) -> None:
        ordering = asyncio.create_task(world.keeper.order(Start()))
        await asyncio.sleep(0)
        ordering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ordering
        await settle()
        assert world.keeper.life.state is State.RUNNING
        waiting = asyncio.create_task(world.keeper._now.next())
        await settle()
        waiting.cancel()
        await settle()
        assert (await world.keeper.order(Stop())).life.state is State.STOPPING

    kept(play)


def test_restart_with_backoff_on_the_clock() -> None:
    """A server that falls comes back after exactly the wait of the policy; after a stable run, at once."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        waits = []
        for _ in range(3):
            world.postmaster.end("fell")
            await world.until(State.BACKOFF)
            waits.append(await world.until(State.RUNNING))
        assert waits == pytest.approx([1.0, 2.0, 4.0], abs=1e-6)
        await asyncio.sleep(10)
        world.postmaster.end("fell")
        await world.until(State.BACKOFF)
        assert await world.until(State.RUNNING) == pytest.approx(0, abs=1e-6)

    kept(play)


def test_the_stop_ladder_on_the_clock() -> None:
    """Each rung gets its time, and not a moment more."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        world.postmaster.obeys = frozenset({Signals.SIGKILL})
        world.keeper.post(Stop("smart", 20.0))
        assert await world.until(State.STOPPED) == pytest.approx(60.0, abs=1e-6)

    world = kept(play)
    assert world.postmaster.calls == ["find", "spawn", "SIGTERM", "SIGINT", "SIGQUIT", "SIGKILL", "release"]


def test_nothing_to_do_is_nothing_done() -> None:
    """A keeper whose server has been stable sleeps for ever: only a new event wakes it."""

    async def world() -> None:
        made = World()
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        made.keeper.post(Start())
        await asyncio.sleep(20)
        assert made.keeper.life.deadline is None
        await asyncio.wait({task})

    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        live(world)


def test_found_is_said_when_the_keeper_ends_first() -> None:
    """Nobody waits for what will not be found out any more."""

    async def world() -> None:
        made = World()
        made.postmaster.find_time = 1000.0
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        await settle()
        assert not made.keeper.found.is_set()
        task.cancel()
        await asyncio.wait_for(made.keeper.found.wait(), 1)

    live(world)


def test_a_failed_spawn_is_retried() -> None:
    """SpawnFailed is a fact like any other: it leads to BACKOFF and a new try."""

    async def play(world: World) -> None:
        world.postmaster.refusal = SpawnFailed("no", hopeless=False, jitter=1.0)
        world.keeper.post(Start())
        await world.until(State.FATAL)

    world = kept(play, FakePolicy(start_retries=2))
    assert world.postmaster.calls == ["find", "spawn", "spawn", "spawn", "release"]
    assert world.states == [State.STARTING, *[State.BACKOFF, State.STARTING] * 2, State.FATAL]


def test_a_mistake_in_an_action_costs_one_event() -> None:
    """An exception out of a signal is told as a mistake; the order has its answer, and the keeper lives on."""
    mistake = ValueError("ours")

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        world.postmaster.trouble["SIGTERM"] = mistake
        assert (await world.keeper.order(Stop("smart"))).life.state is State.STOPPING
        assert world.mistakes == [("shop", mistake)]
        world.mistakes.clear()
        world.keeper.post(Stop("fast"))
        await settle()
        assert world.keeper.life.state is State.STOPPED

    kept(play)


def test_a_mistake_in_the_spawn_is_fatal_and_told() -> None:
    """A cluster never stays STARTING because of a mistake of ours."""
    mistake = ValueError("ours")

    async def play(world: World) -> None:
        world.postmaster.trouble["spawn"] = mistake
        world.keeper.post(Start())
        await settle()
        assert (world.keeper.life.state, world.keeper.life.reason) == (
            State.FATAL,
            "a mistake in pgsupervisor: ValueError('ours')",
        )
        assert world.mistakes == [("shop", mistake)]
        world.mistakes.clear()

    kept(play)


def test_a_mistake_of_whoever_is_told_costs_nothing() -> None:
    """A listener that raises does not end the keeper."""
    mistake = ValueError("ours")

    async def play(world: World) -> None:
        def changed(*_: object) -> None:
            raise mistake

        world.keeper._changed = changed
        world.keeper.post(Start())
        await settle()
        assert world.keeper.life.state is State.RUNNING
        assert world.mistakes == [("shop", mistake)] * 3
        world.mistakes.clear()

    kept(play)


@pytest.mark.parametrize("call", ["find", "release"])
def test_other_mistakes_of_the_postmaster(call: str) -> None:
    """Neither looking for a server nor letting go of it can do harm to others."""
    mistake = ValueError("ours")

    async def world() -> None:
        made = World()
        made.postmaster.trouble[call] = mistake
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        waiting = asyncio.create_task(made.keeper._now.next())
        await settle()
        task.cancel()
        await asyncio.wait({task})
        assert await waiting is None
        assert made.mistakes == [("shop", mistake)]

    live(world)


def test_a_keeper_that_ended_answers() -> None:
    """Orders that a keeper does not take any more return its last life, and so does whoever waits for a next one."""

    async def world() -> None:
        made = World()
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        made.keeper.post(Start())
        await settle()
        last = made.keeper._now
        waiting = asyncio.create_task(last.next())
        await settle()
        task.cancel()
        late = asyncio.create_task(made.keeper.order(Stop()))
        await asyncio.wait({task})
        assert await waiting is None
        assert await late is last
        assert await made.keeper.order(Stop()) is last
        assert last.life.state is State.RUNNING
        assert last.last

    live(world)


def test_a_new_policy_counts_from_the_next_event_on() -> None:
    """A policy may be replaced while the cluster lives."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await settle()
        world.keeper.policy = FakePolicy(restart="never")
        world.postmaster.end("fell")
        await settle()
        assert world.keeper.life.state is State.FATAL

    kept(play)


def test_the_deadline_is_an_event() -> None:
    """The passing of the deadline is told as Timeout, at the deadline."""

    async def play(world: World) -> None:
        world.keeper.post(Start())
        await asyncio.sleep(11)

    world = kept(play)
    _, before, event, after = world.changes[-1]
    assert event == Timeout()
    assert (before.deadline, after.deadline) == (BIRTH + 10, None)
