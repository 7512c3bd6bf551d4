"""The watchdog: fed while every keeper makes progress, and else not. Fake postmasters, virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FakePostmaster, live, now, settle, spec
from manager import Manager, Told, managed

from pgsupervisor.daemon.watchdog import Progress, Watchdog
from pgsupervisor.supervision.gate import StartGate
from pgsupervisor.supervision.keeper import Keeper
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.supervision.life import FilesChanged, Life, Start, State
from pgsupervisor.system.sdnotify import NotifySocket

FED = {"WATCHDOG": "1"}

A_WHILE = 60.0
"""Seconds, many times as many as the interval of the watchdog, in which it is fed so often."""

OFTEN = [FED] * 12


class World:
    """Two clusters, and a watchdog with an interval of ten seconds. If `busy`, `shop` always has something to do."""

    def __init__(self, manager: Manager, life: Life) -> None:
        self.manager = manager
        self.notify = NotifySocket(manager.environment)
        self.kept = [self._take_in("shop", life), self._take_in("blog", Life())]
        self.hung: list[Sequence[str]] = []
        self.watchdog = Watchdog(self.notify, 10.0, Progress(self._looked_at), self.hung.append)
        self.busy = False

    @property
    def shop(self) -> Kept:
        """The cluster that is in trouble."""
        return self.kept[0]

    @property
    def postmaster(self) -> FakePostmaster:
        """Its postmaster."""
        assert isinstance(self.shop.postmaster, FakePostmaster)
        return self.shop.postmaster

    def run(self, kept: Kept) -> None:
        """Have a keeper live."""
        kept.task = asyncio.create_task(kept.keeper.run(kept.postmaster))

    async def told_within(self, seconds: float) -> list[Told]:
        """Return what is told in the next seconds, however much."""
        end, told = now() + seconds, []
        while now() < end:
            await asyncio.sleep(0.999)
            told += self.manager.take()
        return told

    async def end(self) -> None:
        """End whatever runs."""
        self.watchdog.close()
        self.notify.close()
        for kept in self.kept:
            kept.task.cancel()
        await asyncio.gather(*(kept.task for kept in self.kept), return_exceptions=True)

    def _looked_at(self) -> list[Kept]:
        if self.busy:
            self.shop.keeper.post(FilesChanged())
            assert self.shop.keeper.due
        return self.kept

    def _take_in(self, name: str, life: Life) -> Kept:
        cluster, gate = spec(name), StartGate(1)
        keeper = Keeper(name, cluster, 10, gate=gate, changed=_nobody, mistake=_nobody, life=life)
        return Kept(cluster, keeper, FakePostmaster(keeper.post, cluster), asyncio.create_task(_hang()))


async def _hang() -> None:
    await asyncio.Event().wait()


async def _die() -> None:
    raise LookupError


def _nobody(*_: object) -> None:
    pass


@pytest.fixture
def manager(short_directory: Path) -> Iterator[Manager]:
    """A manager that listens."""
    with managed(short_directory) as made:
        yield made


def watched(manager: Manager, play: Callable[[World], Awaitable[None]], life: Life | None = None) -> None:
    """Play something with keepers that do not live yet: of `blog`, and of `shop`, which may have a life already."""

    async def world() -> None:
        made = World(manager, life or Life())
        try:
            await play(made)
        finally:
            await made.end()

    live(world)


def test_nothing_to_do(manager: Manager) -> None:
    """Keepers that rest are no reason for anything: the watchdog is fed at once, and then at half the interval."""

    async def play(world: World) -> None:
        for kept in world.kept:
            world.run(kept)
        world.watchdog.open()
        assert manager.take() == [FED]
        assert await world.told_within(A_WHILE) == OFTEN
        assert world.hung == []

    watched(manager, play)


def test_much_to_do(manager: Manager) -> None:
    """A keeper that always has something before it, and takes one thing after the other, makes progress."""

    async def play(world: World) -> None:
        world.run(world.shop)
        await settle()
        world.busy = True
        world.watchdog.open()
        assert manager.take() == [FED]
        assert await world.told_within(A_WHILE) == OFTEN
        assert world.hung == []

    watched(manager, play)


def test_a_keeper_that_hangs(manager: Manager) -> None:
    """One keeper that does not take what happens ends the feeding, and is named; should it go on, so does the rest."""

    async def play(world: World) -> None:
        _, blog = world.kept
        world.run(blog)
        world.shop.keeper.found.set()
        world.watchdog.open()
        await settle()
        assert (manager.take(), await world.told_within(A_WHILE)) == ([FED], OFTEN)
        blog.keeper.post(Start())
        world.shop.keeper.post(Start())
        assert await world.told_within(A_WHILE) == [FED]  # that it has just got something to do, is no reason yet
        assert world.hung == [["shop"]]
        world.shop.task.cancel()
        world.run(world.shop)
        assert await world.told_within(A_WHILE) == OFTEN
        assert (world.shop.life.state, world.hung) == (State.RUNNING, [["shop"]])

    watched(manager, play)


def test_a_deadline_that_passes(manager: Manager) -> None:
    """A keeper that sleeps until its deadline may do so; one that sleeps on afterwards hangs."""

    async def play(world: World) -> None:
        world.shop.keeper.found.set()
        world.watchdog.open()
        assert len(await world.told_within(A_WHILE)) == len(OFTEN) + 1
        assert world.hung == []
        assert len(await world.told_within(A_WHILE)) < len(OFTEN)
        assert world.hung == [["shop"]]

    watched(manager, play, Life(State.BACKOFF, want_up=True, deadline=1000.0 + A_WHILE + 1.0))


def test_a_keeper_that_died(manager: Manager) -> None:
    """A keeper that lives no more makes no progress, unless it was let go."""

    async def play(world: World) -> None:
        world.watchdog.open()
        world.shop.task.cancel()
        assert len(await world.told_within(A_WHILE)) == len(OFTEN) + 1
        world.shop.task = asyncio.create_task(_die())
        assert await world.told_within(A_WHILE) in ([], [FED])
        assert world.hung == [["shop"]]

    watched(manager, play)


@pytest.mark.parametrize("call", ["find", "spawn", "reload"])
def test_a_thread_that_hangs(manager: Manager, call: str) -> None:
    """What is done in a thread may take for ever, as on a dead NFS mount: a new daemon would fare no better."""

    async def play(world: World) -> None:
        for_ever = 3600.0
        world.postmaster.find_time = for_ever if call == "find" else 0.0
        world.postmaster.spawn_time = for_ever if call == "spawn" else 0.0
        world.postmaster.reload_time = for_ever if call == "reload" else 0.0
        world.run(world.shop)
        world.watchdog.open()
        world.shop.keeper.post(Start())
        await settle()
        world.shop.keeper.post(FilesChanged())
        assert len(await world.told_within(A_WHILE)) == len(OFTEN) + 1
        assert (world.postmaster.calls[-1], world.hung) == (call, [])

    watched(manager, play)


@pytest.mark.parametrize("interval", [None, 10.0])
def test_nobody_wants_to_know(interval: float | None) -> None:
    """Without an interval, or without a manager, no timer runs."""

    async def play() -> None:
        watchdog = Watchdog(NotifySocket({}), interval, Progress(list), _nobody)
        watchdog.open()
        assert watchdog._timer is None
        watchdog.close()

    live(play)
