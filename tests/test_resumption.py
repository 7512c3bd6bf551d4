"""Lives that another process has led until now are gone on with; and all comes to rest before they are handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from fakes import BIRTH, FakePostmaster, inventory, live, now, settle
from lives import BACKOFF, FATAL, RELOADING, ROWS, RUNNING, STARTED, STARTING, STOPPED, STOPPING
from supervisors import A, B, World

from pgsupervisor.supervision.life import Life, Spawned, Start, State, Stop


def resumed(
    play: Callable[[World], Awaitable[None]],
    lives: Mapping[str, Life],
    prepare: Callable[[FakePostmaster], None] = lambda _made: None,
    start_concurrency: int = 2,
) -> World:
    """Play something with the clusters `a` and `b`, some of which have lived before; they are let go afterwards."""

    async def world() -> World:
        made = World(inventory(A, B, start_concurrency=start_concurrency), prepare)
        await made.supervisor.begin(lives)
        await settle()
        await play(made)
        await made.supervisor.end(leave=True)
        assert made.mistakes == []
        return made

    return live(world)


@pytest.mark.parametrize(
    ("life", "calls"),
    [
        (STOPPED, []),
        (FATAL, []),
        (RUNNING, []),
        (STARTED, []),
        (STOPPING, []),
        (STARTING, ["spawn"]),
        (RELOADING, ["reload"]),
    ],
    ids=lambda each: each.state if isinstance(each, Life) else "",
)
def test_what_was_cut_off_is_done_again(life: Life, calls: list[str]) -> None:
    """A start that still waited for its turn, and a reload whose outcome was not known yet; and nothing else."""

    async def play(world: World) -> None:
        made = world.host.made["a"]
        assert made.calls == ["find", *calls]
        assert "spawn" in world.host.made["b"].calls, "what did not live before is begun as always"

    deadlines = {} if life.deadline is None else {"deadline": BIRTH + 3600}
    resumed(play, {"a": replace(life, **deadlines)})


@pytest.mark.parametrize("life", ROWS.values(), ids=ROWS.keys())
def test_a_life_goes_on_as_it_was(life: Life) -> None:
    """Nothing is forgotten or made up, in whatever state the cluster is."""
    life = replace(life, deadline=None if life.deadline is None else BIRTH + 3600)

    async def play(world: World) -> None:
        (kept,) = world.kept("a")
        assert kept.life == life

    def slow(made: FakePostmaster) -> None:
        made.spawn_time = made.reload_time = 100.0

    resumed(play, {"a": life}, slow)


def test_a_server_that_starts_keeps_its_place() -> None:
    """Who has passed the start gate before has passed it: nobody else starts until that server is ready."""

    async def play(world: World) -> None:
        assert world.states == {"a": State.STARTING, "b": State.STARTING}
        assert world.host.made["b"].calls == ["find"]
        world.host.made["a"].get_ready()
        await settle()
        assert world.states == {"a": State.RUNNING, "b": State.RUNNING}

    resumed(play, {"a": replace(STARTED, deadline=BIRTH + 3600)}, start_concurrency=1)


def test_a_deadline_stays() -> None:
    """A cluster in BACKOFF is tried again when it was to be tried before."""

    async def play(world: World) -> None:
        (kept,) = world.kept("a")
        moment = kept.keeper._now
        assert await moment.next() is not None
        assert round(now() - BIRTH, 3) == 5.0
        await settle()
        assert (kept.life.state, kept.life.restarts) == (State.RUNNING, BACKOFF.restarts + 1)

    resumed(play, {"a": replace(BACKOFF, deadline=BIRTH + 5.0)})


def test_a_server_that_was_started_meanwhile() -> None:
    """A server that somebody has started while nobody looked is found, as at any beginning."""

    async def play(world: World) -> None:
        assert world.states["a"] is State.RUNNING

    def run(made: FakePostmaster) -> None:
        made.running_before = made.name == "a"

    resumed(play, {"a": STOPPED}, run)


def test_rest() -> None:
    """At rest, no server is started; whoever was to be is started when all goes on."""

    async def play(world: World) -> None:
        await world.give(Stop(), "a")
        await world.supervisor.rest()
        world.host.forget()
        ordered = asyncio.create_task(world.give(Start(), "a"))
        await settle()
        assert (world.states["a"], world.host.history, world.supervisor.busy) == (State.STARTING, [], [])
        world.supervisor.go_on()
        (outcome,) = await ordered
        assert (outcome.ok, world.host.history) == (True, ["a spawn"])

    resumed(play, {})


def test_what_has_happened_is_lived_before_all_rests() -> None:
    """A fact that no life shows yet keeps its cluster from being at rest."""

    async def play(world: World) -> None:
        world.host.made["a"]._post(Spawned(7))
        assert world.supervisor.busy == ["a"]
        await world.supervisor.rest()
        assert world.supervisor.busy == []
        (kept,) = world.kept("a")
        assert kept.life.pid == 7

    resumed(play, {"a": STOPPED})


def test_what_must_not_be_cut_off_is_waited_for() -> None:
    """The beginning, an update and a change of the configuration are waited for, and told by name until then."""

    async def world() -> None:
        made = World(inventory(A, B), slow)
        beginning = asyncio.create_task(made.supervisor.begin())
        await asyncio.sleep(0)
        assert made.supervisor.busy == ["the inventory"]
        await made.supervisor.rest()
        assert (beginning.done(), now() - BIRTH >= 7.0) == (True, True)
        made.supervisor.go_on()
        await settle()
        made.host.made["a"].reload_time = 7.0
        (kept,) = made.kept("a")
        configuring = asyncio.create_task(made.supervisor.configure(kept, {"port": "1"}, made.report))
        await settle()
        assert made.supervisor.busy == ["a"]
        await made.supervisor.rest()
        assert configuring.done()
        await made.supervisor.end(leave=True)

    def slow(made: FakePostmaster) -> None:
        made.find_time = 7.0

    live(world)
