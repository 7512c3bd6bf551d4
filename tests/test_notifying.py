"""What systemd is told of the daemon: fake postmasters, virtual time, and a socket of the test's own for systemd."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from signal import Signals

import pytest
from fakes import ALL_STOPS, FakeHost, FakePostmaster, inventory, live, settle, spec
from manager import Manager, Told, managed

from pgsupervisor.daemon.notifying import Notifier
from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import ClusterSpec
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.life import Event, Life, Order, Recovering, RecoveryKind, Start, Stop
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.supervisor import Supervisor
from pgsupervisor.system.sdnotify import NotifySocket

MORE_TIME = {"EXTEND_TIMEOUT_USEC": "60000000"}


class World:
    """A supervisor over fake postmasters, and its notifier."""

    def __init__(
        self, manager: Manager, clusters: tuple[ClusterSpec, ...], prepare: Callable[[FakePostmaster], None]
    ) -> None:
        self.manager = manager
        self.host = FakeHost(prepare)
        self.supervisor = Supervisor(inventory(*clusters), self.host, self._changed, self._mistake, Events())
        self.notifier = Notifier(NotifySocket(manager.environment), lambda: self.supervisor.select(["all"]))

    async def begin(self) -> list[Told]:
        """Begin, and return what was told of that."""
        self.notifier.open()
        self.notifier.begun(await self.supervisor.begin())
        return await self.told()

    async def told(self) -> list[Told]:
        """Return what was told since the last time."""
        await settle()
        return self.manager.take()

    async def told_within(self, seconds: float) -> list[Told]:
        """Return what is told in the next seconds, however much."""
        end = asyncio.get_running_loop().time() + seconds
        told = []
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(1.0)
            told += self.manager.take()
        return told

    async def give(self, order: Order, *names: str) -> list[Outcome]:
        """Give an order, and wait for what comes of it."""
        return await self.supervisor.give(self.supervisor.select(names), order, lambda *_: None)

    def _changed(self, name: str, before: Life, event: Event, after: Life) -> None:
        self.notifier.changed(name, before, event, after)

    def _mistake(self, where: str, error: Exception) -> None:
        raise AssertionError(where) from error


@pytest.fixture
def manager(short_directory: Path) -> Iterator[Manager]:
    """A manager that listens."""
    with managed(short_directory) as made:
        yield made


def notified(
    manager: Manager,
    play: Callable[[World], Awaitable[None]],
    *clusters: ClusterSpec,
    prepare: Callable[[FakePostmaster], None] = lambda _made: None,
) -> None:
    """Play something; let go of all clusters afterwards."""

    async def world() -> None:
        made = World(manager, clusters, prepare)
        try:
            await play(made)
            await made.supervisor.end(leave=True)
        finally:
            made.notifier.close()

    live(world)


SHOP, BLOG = spec("shop"), spec("blog")


def slow(*names: str) -> Callable[[FakePostmaster], None]:
    """Have these servers get ready only when a test says so."""

    def prepare(made: FakePostmaster) -> None:
        made.gets_ready = made.name not in names

    return prepare


def test_ready(manager: Manager) -> None:
    """It is told once, when all that start by themselves run; a server that is not to be started is not waited for."""

    async def play(world: World) -> None:
        told = await world.begin() + await world.told_within(3600.0)
        assert (told[0], told[-1]) == (MORE_TIME, {"READY": "1", "STATUS": "2 running, 1 stopped"})
        assert [each for each in told if "READY" in each] == told[-1:]

    notified(manager, play, SHOP, BLOG, spec("attic", autostart=False))


def test_ready_without_clusters(manager: Manager) -> None:
    """A daemon that has nothing to do is ready."""

    async def play(world: World) -> None:
        assert await world.begin() == [MORE_TIME, {"READY": "1", "STATUS": "no clusters"}]

    notified(manager, play)


def test_a_start_takes_its_time(manager: Manager) -> None:
    """While a server is in crash recovery, more time is asked for in time, for as long as it takes."""

    async def play(world: World) -> None:
        await world.begin()
        world.host.made["shop"]._post(Recovering("crash"))
        assert await world.told_within(1.0) == [{"STATUS": "1 running, 1 recovering"}]
        assert await world.told_within(3600.0) == [MORE_TIME] * 180
        world.host.made["shop"].get_ready()
        assert await world.told() == [{"READY": "1", "STATUS": "2 running"}]
        assert await world.told_within(3600.0) == []

    notified(manager, play, SHOP, BLOG, prepare=slow("shop"))


@pytest.mark.parametrize(("kind", "ready"), [("crash", 0), ("archive", 1)])
def test_who_is_waited_for(manager: Manager, kind: RecoveryKind, ready: int) -> None:
    """A standby may need a primary that is away, and does not hold up the boot; a crash recovery ends."""

    async def play(world: World) -> None:
        await world.begin()
        world.host.made["shop"]._post(Recovering(kind))
        assert (await world.told()).count({"READY": "1", "STATUS": "1 recovering"}) == ready

    notified(manager, play, SHOP, prepare=slow("shop"))


def test_a_server_that_does_not_come_up(manager: Manager) -> None:
    """A cluster has had its try when its first start has failed, though it is tried again and again."""

    async def play(world: World) -> None:
        await world.begin()
        world.host.made["shop"].end()
        assert await world.told() == [{"READY": "1", "STATUS": "1 running, 1 backoff: shop"}]

    notified(manager, play, SHOP, BLOG, prepare=slow("shop"))


def test_an_order_while_a_server_is_looked_for(manager: Manager) -> None:
    """A cluster that somebody orders down before it was started is not waited for."""

    def find_slowly(made: FakePostmaster) -> None:
        made.find_time = 5.0

    async def play(world: World) -> None:
        beginning = asyncio.create_task(world.begin())
        await settle()
        ordered = asyncio.create_task(world.give(Stop(), "shop"))
        assert (await beginning)[-1] == {"READY": "1", "STATUS": "1 stopped"}
        await ordered

    notified(manager, play, SHOP, prepare=find_slowly)


def test_an_adopted_server(manager: Manager) -> None:
    """A server that runs already is not waited for; one that was found while it starts is, if it starts by itself."""

    def running(made: FakePostmaster) -> None:
        made.running_before = True
        made.gets_ready = made.name == "blog"

    async def play(world: World) -> None:
        told = await world.begin()
        assert [each for each in told if "READY" in each] == []
        world.host.made["shop"].get_ready()
        assert await world.told() == [{"READY": "1", "STATUS": "2 running, 1 starting"}]

    notified(manager, play, SHOP, BLOG, spec("attic", autostart=False), prepare=running)


def test_changes(manager: Manager) -> None:
    """A change is told at once; of many in one moment, and of those in the next half second, there is a line each."""

    async def play(world: World) -> None:
        assert (await world.begin())[-1] == {"READY": "1", "STATUS": "300 running"}
        await world.told_within(1.0)
        for number in range(200):
            world.host.made[f"c{number}"].end(hopeless=True)
        assert await world.told() == [{"STATUS": "100 running, 200 fatal: c0 c1 c2 c3 c4 …"}]
        for number in range(200, 299):
            world.host.made[f"c{number}"].end(hopeless=True)
            await asyncio.sleep(0.001)
        assert await world.told() == []
        assert await world.told_within(1.0) == [{"STATUS": "1 running, 299 fatal: c0 c1 c2 c3 c4 …"}]
        world.host.made["c299"].change_files()
        assert await world.told_within(3600.0) == []

    notified(manager, play, *(spec(f"c{number}") for number in range(300)))


def test_rereading(manager: Manager) -> None:
    """The inventory is applied between RELOADING=1 and READY=1; that takes its time, too."""

    async def play(world: World) -> None:
        await world.begin()
        await world.told_within(60.0)
        with world.notifier.rereading():
            reloading, more_time = await world.told()
            assert (reloading.pop("MONOTONIC_USEC").isdecimal(), more_time) == (True, MORE_TIME)
            assert reloading == {"RELOADING": "1", "STATUS": "1 running"}
            with world.notifier.rereading():
                assert await world.told_within(50.0) == [MORE_TIME] * 2
            assert await world.told() == []
        assert await world.told() == [{"READY": "1", "STATUS": "1 running"}]
        assert await world.told_within(3600.0) == []

    notified(manager, play, SHOP)


def test_a_refused_inventory(manager: Manager) -> None:
    """That an inventory is refused is told until another one is applied, in words that a terminal only shows."""

    async def play(world: World) -> None:
        await world.begin()
        await world.told_within(1.0)
        with pytest.raises(InventoryError), world.notifier.rereading():
            raise InventoryError("/etc/inventory.toml", "clusters.shop", "no \x1b[31m\0\nkey")
        refused = r"inventory refused: /etc/inventory.toml: clusters.shop: no \x1b[31m\x00\nkey"
        assert (await world.told())[-1] == {"READY": "1", "STATUS": f"1 running; {refused}"}
        world.host.made["shop"].end(hopeless=True)
        assert await world.told() == [{"STATUS": f"1 fatal: shop; {refused}"}]
        with world.notifier.rereading():
            pass
        assert (await world.told())[-1] == {"READY": "1", "STATUS": "1 fatal: shop"}

    notified(manager, play, SHOP)


def test_rereading_before_it_is_ready(manager: Manager) -> None:
    """Whoever is not ready yet does not become so by a reload."""

    async def play(world: World) -> None:
        await world.begin()
        with world.notifier.rereading():
            pass
        assert await world.told() == []
        world.host.made["shop"].get_ready()
        assert await world.told() == [{"READY": "1", "STATUS": "1 running"}]

    notified(manager, play, SHOP, prepare=slow("shop"))


def test_the_end(manager: Manager) -> None:
    """While servers stop, more time is asked for, and it is told which ones one waits for; they do not become ready."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = ALL_STOPS - {Signals.SIGINT} if made.name == "shop" else ALL_STOPS
        made.gets_ready = made.name == "blog"

    async def play(world: World) -> None:
        await world.begin()
        await world.told_within(1.0)
        world.notifier.ending()
        assert await world.told() == [{"STOPPING": "1", "STATUS": "1 running, 1 starting"}, MORE_TIME]
        with world.notifier.rereading():
            assert await world.told() == []
        ends = asyncio.create_task(world.supervisor.end(leave=False))
        told = await world.told_within(50.0)
        assert [each for each in told if each != MORE_TIME] == [{"STATUS": "1 stopping: shop, 1 stopped"}]
        assert told.count(MORE_TIME) >= 2
        await ends
        assert {"STATUS": "2 stopped"} in await world.told_within(1.0)

    notified(manager, play, SHOP, BLOG, prepare=stubborn)


def test_a_server_that_nobody_can_end(manager: Manager) -> None:
    """What outlives SIGKILL is waited for no longer than systemd does by itself: else no reboot would ever come."""

    def immortal(made: FakePostmaster) -> None:
        made.obeys = frozenset()

    async def play(world: World) -> None:
        await world.begin()
        world.notifier.ending()
        ends = asyncio.create_task(world.supervisor.end(leave=False))
        await world.told_within(3600.0)
        assert world.host.made["shop"].calls[-1] == "SIGKILL"
        assert await world.told_within(3600.0) == []
        world.host.made["shop"].end()
        await ends

    notified(manager, play, SHOP, prepare=immortal)


def test_a_keeper_that_hangs(manager: Manager) -> None:
    """No more time is asked for if a keeper makes no progress: what it is to do would never be done."""

    async def play(world: World) -> None:
        await world.begin()
        (shop,) = world.supervisor.select(["shop"])
        shop.task.cancel()
        await asyncio.wait([shop.task])
        shop.task = asyncio.create_task(asyncio.sleep(86400.0))
        shop.keeper.post(Start())
        world.notifier.ending()
        assert (await world.told_within(3600.0)).count(MORE_TIME) <= 2
        shop.task.cancel()

    notified(manager, play, SHOP, prepare=slow("shop"))


def test_without_a_manager() -> None:
    """Where nobody listens, no timer runs."""

    async def play() -> None:
        notifier = Notifier(NotifySocket({}), list)
        notifier.open()
        notifier.changed("shop", Life(), Start(), Life(want_up=True))
        notifier.begun([])
        with notifier.rereading():
            notifier.ending()
            assert (notifier._pause, notifier._patience) == (None, None)

    live(play)


def test_an_order(manager: Manager) -> None:
    """A start by hand is told in the status, and makes nobody unready."""

    async def play(world: World) -> None:
        await world.begin()
        await world.told_within(1.0)
        await world.give(Start(), "attic")
        assert (await world.told_within(1.0))[-1] == {"STATUS": "2 running"}
        assert [each for each in manager.told if "READY" in each] == [{"READY": "1", "STATUS": "1 running, 1 stopped"}]

    notified(manager, play, SHOP, spec("attic", autostart=False))
