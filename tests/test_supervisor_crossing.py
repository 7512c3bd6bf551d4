"""Orders, updates and the end that cross each other: whoever comes last is obeyed, and nobody is left behind."""

from __future__ import annotations

import asyncio
from signal import Signals

import pytest
from fakes import FakePostmaster, inventory, live, settle, spec
from supervisors import A, B, C, World, done, supervised

from pgsupervisor.supervision.life import Kill, Order, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome


def _stubborn(made: FakePostmaster) -> None:
    """Servers that end after a minute; of `c` it is not known for 5 s whether it runs; asking takes 3 s."""
    made.obeys = frozenset({Signals.SIGQUIT})
    made.find_time = 5.0 if made.name == "c" else 0.0
    made.asking_time = 3.0


def _overtaken(name: str) -> Outcome:
    return Outcome(name, ok=False, state=State.STOPPED, message="overtaken by a later order")


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_stop_before_a_server_is_found(*, by_hand: bool) -> None:
    """A server that runs when the daemon begins, or that somebody starts then, is stopped if it is to be."""

    def running(made: FakePostmaster) -> None:
        made.find_time, made.running_before = 5.0, not by_hand

    async def world() -> None:
        made = World(inventory(A), running)
        beginning = asyncio.create_task(made.supervisor.begin())
        await settle()
        if by_hand:
            made.host.made["a"]._come_up()
        assert await made.give(Stop()) == [done("a", State.STOPPED)]
        await beginning
        await settle()
        assert made.host.made["a"].calls == ["find", "SIGINT"]
        await made.supervisor.end(leave=True)

    live(world)


def test_the_end_before_a_server_is_found() -> None:
    """A server that is not found yet when the end begins is stopped too."""

    def running(made: FakePostmaster) -> None:
        made.find_time, made.running_before = 5.0, True

    async def world() -> None:
        made = World(inventory(), running)
        updating = asyncio.create_task(made.update(A))
        await settle()
        await made.supervisor.end(leave=False)
        assert made.host.made["a"].calls == ["find", "SIGINT", "release"]
        await updating

    live(world)


def test_a_stop_while_servers_are_looked_for() -> None:
    """What is stopped before it could be started at boot stays down, whatever autostart says."""

    async def world() -> None:
        made = World(inventory(A, C), _stubborn)
        beginning = asyncio.create_task(made.supervisor.begin())
        await settle()
        assert await made.give(Stop(), "a") == [done("a", State.STOPPED)]
        await beginning
        await settle()
        assert made.states == {"a": State.STOPPED, "c": State.RUNNING}
        await made.supervisor.end(leave=True)

    live(world)


def test_a_stop_while_an_update_restarts() -> None:
    """What an administrator stops while an update restarts it stays down; the others come up."""

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(spec("a", port=2), spec("b", port=2)))
        await asyncio.sleep(10)
        assert await world.give(Stop(), "a") == [done("a", State.STOPPED)]
        assert await updating == [_overtaken("a"), done("b", State.RUNNING)]
        assert world.states == {"a": State.STOPPED, "b": State.RUNNING}

    supervised(play, A, B, prepare=_stubborn)


@pytest.mark.parametrize("turns", range(12))
def test_a_kill_at_any_moment_of_an_update(turns: int) -> None:
    """However an update and a kill cross each other, the cluster is down in the end."""

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(spec("a", port=2)))
        for _ in range(turns):
            await asyncio.sleep(0)
        await world.give(Kill())
        await updating
        assert world.states == {"a": State.STOPPED}

    supervised(play, A)


def test_a_start_while_an_update_restarts() -> None:
    """What an administrator starts before all others are down is stopped once more, and comes up with them."""

    async def play(world: World) -> None:
        world.host.made["a"].obeys |= {Signals.SIGINT}
        world.host.forget()
        updating = asyncio.create_task(world.update(spec("a", port=2), spec("b", port=2)))
        await asyncio.sleep(10)
        assert await world.give(Start(), "a") == [done("a", State.RUNNING)]
        assert await updating == [done("a", State.RUNNING), done("b", State.RUNNING)]
        calls = ["prospects", "renew", "SIGINT", "spawn", "SIGINT", "spawn"]
        assert world.host.made["a"].calls == calls

    supervised(play, A, B, prepare=_stubborn)


def test_a_start_of_what_an_update_changes() -> None:
    """What is started while an update waits for others to stop comes up by the new inventory."""

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(spec("a", port=2), spec("b", port=2)))
        await asyncio.sleep(10)
        assert await world.give(Start(), "a") == [done("a", State.RUNNING)]
        assert world.host.made["a"].calls == ["find", "renew", "spawn"]
        assert await updating == [done("b", State.RUNNING)]

    supervised(play, spec("a", autostart=False), B, prepare=_stubborn)


def test_an_update_of_what_was_started_by_hand() -> None:
    """A server that was stopped, and then started by somebody else, is wanted up: an update restarts it."""

    async def play(world: World) -> None:
        await world.give(Stop(), "a")
        world.host.made["a"]._come_up()
        await settle()
        assert await world.update(spec("a", port=2)) == [done("a", State.RUNNING)]

    supervised(play, A)


def test_a_start_in_the_breath_of_a_removal() -> None:
    """A start that is ordered just when its cluster is removed leaves no server behind that nobody knows of."""

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(B))
        await asyncio.sleep(0)
        starting = asyncio.create_task(world.give(Start(), "a"))
        await updating
        assert not (await starting)[0].ok
        assert world.host.made["a"].pid is None

    supervised(play, spec("a", autostart=False), B)


@pytest.mark.parametrize("order", [Start(), Stop()])
def test_an_order_whose_client_hangs_up_at_once(order: Order) -> None:
    """An order is carried out even if whoever gave it goes away in the same breath."""

    async def play(world: World) -> None:
        giving = asyncio.create_task(world.give(order, "a"))
        await asyncio.sleep(0)
        giving.cancel()
        await settle()
        assert world.states == {"a": State.RUNNING if order == Start() else State.STOPPED}

    supervised(play, spec("a", autostart=order == Stop()))


def test_a_restart_that_a_stop_overtakes() -> None:
    """A stop that comes while it is looked at whether a server would start again is the later order."""

    async def play(world: World) -> None:
        restarting = asyncio.create_task(world.give(Restart(), "a"))
        await settle()
        world.host.made["a"].obeys |= {Signals.SIGINT}
        assert await world.give(Stop(), "a") == [done("a", State.STOPPED)]
        assert await restarting == [_overtaken("a")]
        assert world.states == {"a": State.STOPPED}

    supervised(play, A, prepare=_stubborn)


def test_a_restart_that_the_end_overtakes() -> None:
    """A server that is looked at, whether it would start again, is not started behind the back of the end."""

    async def world() -> None:
        made = World(inventory(A, B), _stubborn)
        await made.supervisor.begin()
        await settle()
        restarting = asyncio.create_task(made.give(Restart(), "b"))
        await settle()
        await made.supervisor.end(leave=False)
        assert not (await restarting)[0].ok
        assert made.host.made["b"].pid is None

    live(world)


def test_the_end_overtakes_a_removal() -> None:
    """A server that is ordered up while it is removed, and then the end comes, is down at the end."""

    async def world() -> None:
        made = World(inventory(A, B), _stubborn)
        await made.supervisor.begin()
        await settle()
        updating = asyncio.create_task(made.update(B))
        await settle()
        starting = asyncio.create_task(made.give(Start(), "a"))
        await made.supervisor.end(leave=False)
        await asyncio.gather(starting, updating)
        assert made.host.made["a"].pid is None

    live(world)


def test_the_end_overtakes_a_keeper_that_has_not_begun() -> None:
    """Whoever waits for a cluster that is let go of before its keeper could do anything is told so."""

    async def world() -> None:
        taken_in = asyncio.Event()
        made = World(inventory(), lambda _made: taken_in.set())
        await made.supervisor.begin()
        updating = asyncio.create_task(made.update(A))
        await taken_in.wait()
        await made.supervisor.end(leave=True)
        assert await asyncio.wait_for(updating, 1) == []
        assert made.host.made["a"].calls == ["find", "release"]

    live(world)


def test_the_end_overtakes_an_update_that_waits_for_another() -> None:
    """An update whose turn had not come when the end began changes nothing any more."""

    async def world() -> None:
        made = World(inventory(A), _stubborn)
        await made.supervisor.begin()
        await settle()
        updating = [asyncio.create_task(made.update(B)), asyncio.create_task(made.update(C))]
        await settle()
        await made.supervisor.end(leave=False)
        assert await asyncio.gather(*updating) == [[done("a", State.STOPPED)], []]
        assert list(made.host.made) == ["a"]

    live(world)
