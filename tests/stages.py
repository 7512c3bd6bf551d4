"""A stage for plays with a whole supervisor in virtual time, on which it is seen to what must hold all the while."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from signal import Signals

from data_directories import DataDirectory, Resident
from fakes import A_DAY

from pgsupervisor.errors import NoSuchClusterError
from pgsupervisor.inventory import ClusterSpec, Inventory
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.keeper import Keeper, Post
from pgsupervisor.supervision.life import Event, Exited, Kill, Life, Order, Restart, SpawnFailed, Start, State, Stop
from pgsupervisor.supervision.life import Timeout as DeadlinePassed
from pgsupervisor.supervision.plan import diff
from pgsupervisor.supervision.supervisor import Supervisor

DOWN = frozenset({State.STOPPED, State.FATAL})


class WatchedResident(Resident):
    """Sees to it that its keeper spawns only what is down, and ends only what somebody wants ended."""

    def __init__(self, stage: Stage, home: DataDirectory, spec: ClusterSpec, post: Post) -> None:
        super().__init__(home, spec, post)
        self._stage = stage

    @property
    def keeper(self) -> Keeper:
        """Its keeper."""
        return self._stage.supervisor._kept[self.spec.name].keeper

    async def spawn(self) -> None:
        """See that nothing that was told of is in the way, and that not too many start at once."""
        unheard = self.keeper.behind
        assert not self.spawning
        assert unheard or not (self.held or self.mourning), "a server runs, and its keeper starts another"
        assert unheard or not self.waits_for, "orphans live, and their keeper starts a server"
        self._stage.spawns(self.spec.name)
        await super().spawn()

    def signal(self, number: Signals) -> None:
        """See that nobody is told to end who is not being stopped."""
        life = self.keeper.life
        assert life.state is State.STOPPING or number is Signals.SIGHUP, "nobody ordered that"
        super().signal(number)


@dataclass(slots=True)
class Asked:
    """An order that somebody gave, and the task that waits for what comes of it."""

    order: Order | None
    task: asyncio.Task[object]
    hung_up: bool = False


class Stage:
    """A supervisor over data directories, with all that was ordered, and what is known of who shall be up.

    `wished` has, by name, whether a cluster shall be up by the last order for it; None, if it depends on what nobody
    ordered, such as a server that was started by hand.
    """

    def __init__(self, clusters: Inventory) -> None:
        self.homes: dict[str, DataDirectory] = {}
        self.residents: list[WatchedResident] = []
        self.asked: list[Asked] = []
        self.mistakes: list[Exception] = []
        self.lives: dict[str, Life] = {}
        self.starting: set[str] = set()
        self.newest = clusters
        self.wished: dict[str, bool | None] = {each.name: each.autostart for each in clusters.clusters.values()}
        self.supervisor = Supervisor(
            clusters, self._host, self._changed, lambda _, error: self.mistakes.append(error), Events()
        )
        self._moving: set[str] = set()
        self._widths = [clusters.daemon.start_concurrency]
        asyncio.get_running_loop().set_exception_handler(self._unhandled)

    def home(self, name: str) -> DataDirectory:
        """Return the data directory of a cluster, whether the supervisor knows it or not."""
        return self.homes.setdefault(name, DataDirectory())

    async def ask(self, order: Order, names: tuple[str, ...]) -> None:
        """Give an order as a client does, and do not wait for it here."""
        try:
            kept = self.supervisor.select(names)
        except NoSuchClusterError:
            return
        for each in kept:
            self._wish(each.spec.name, order)
        await self._wait_for(order, self.supervisor.give(kept, order, _nobody))

    async def configure(self, name: str) -> None:
        """Change a setting as a client does."""
        if name in self.supervisor._kept:
            kept = self.supervisor._kept[name]
            await self._wait_for(None, self.supervisor.configure(kept, {"work_mem": "8MB"}, _nobody))

    async def update(self, new: Inventory) -> None:
        """Have a new inventory applied."""
        for each in diff(self.newest, new):
            if each.action == "remove":
                del self.wished[each.name]
            elif each.action == "add" or "autostart" in each.keys:
                self.wished[each.name] = None
            if each.action != "change":
                self._moving.add(each.name)
        self.newest = new
        self._widths.append(new.daemon.start_concurrency)
        await self._wait_for(None, self.supervisor.update(new, _nobody, _nobody))

    async def upgrade_in_vain(self) -> None:
        """Bring everything to rest for an upgrade, which is refused then, or has waited for too long."""
        if not self.supervisor._gate._shut:
            await self._wait_for(None, self._rest())

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)
        if self.supervisor.inventory is self.newest and not self.supervisor._updating.locked():
            self._moving.clear()
            self._widths = self._widths[-1:]

    def nobody_knows(self, name: str) -> None:
        """Note that something happened that nobody ordered, so that what becomes of the cluster is another's wish."""
        if name in self.wished:
            self.wished[name] = None

    def spawns(self, name: str) -> None:
        """Note that a server is being started; there is a bound to how many are at once."""
        self.starting.add(name)
        assert len(self.starting) <= max(self._widths), f"{self.starting} are started at once"

    async def answered(self) -> None:
        """See that everybody who waits has an answer within a day, and a true one."""
        tasks = [each.task for each in self.asked]
        if tasks:
            _, waiting = await asyncio.wait(tasks, timeout=A_DAY)
            assert not waiting, f"nobody answers {[each for each in self.asked if each.task in waiting]}"
        for each in self.asked:
            if not (each.hung_up and each.task.cancelled()):
                _is_true(each.order, each.task.result())
        self.asked.clear()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(30):
                await self.supervisor.rest()
            assert not self.supervisor.busy
        except TimeoutError:
            pass
        finally:
            self.supervisor.go_on()

    async def _wait_for(self, order: Order | None, work: Coroutine[None, None, object]) -> None:
        self.asked.append(Asked(order, asyncio.create_task(work)))
        await asyncio.sleep(0)

    def _wish(self, name: str, order: Order) -> None:
        if name not in self.wished:
            return
        home = self.home(name)
        resident = home.resident
        unheard = resident is None or resident.mourning or home.pid != resident.held
        match order:
            case _ if unheard or name in self._moving:
                self.wished[name] = None
            case Start() | Restart(force=True):
                self.wished[name] = True
            case Restart() if not self.wished[name]:
                self.wished[name] = None
            case Stop() | Kill():
                self.wished[name] = False

    def _host(self, spec: ClusterSpec, post: Post) -> WatchedResident:
        resident = WatchedResident(self, self.home(spec.name), spec, post)
        self.residents.append(resident)
        self.lives[spec.name] = Life()
        return resident

    def _changed(self, name: str, before: Life, event: Event, after: Life) -> None:
        assert self.lives[name] == before, "somebody else wrote this life"
        self.lives[name] = after
        if after.state is not State.STARTING or isinstance(event, SpawnFailed | Exited | DeadlinePassed):
            self.starting.discard(name)
        if after.state is State.STOPPING and before.state is not State.STOPPING:
            assert isinstance(event, Stop | Restart | Kill), "a stop that nobody ordered"
        if after.state in DOWN:
            assert (after.deadline, after.pid, after.orphans) == (None, None, 0)
            assert after.state is State.STOPPED or after.reason
        if after.state is State.BACKOFF:
            assert after.deadline is not None or after.orphans or after.outside
        resident = self.homes[name].resident
        if not (self.supervisor._kept[name].keeper.behind or resident.mourning):
            assert (after.pid, after.orphans) == (resident.held, resident.waits_for), "it was told otherwise"
        assert after.restarts >= before.restarts
        assert after.crashes >= before.crashes or after.pid is None or after.pid != before.pid

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self.mistakes.append(error if isinstance(error, Exception) else RuntimeError(context["message"]))


def _nobody(*_: object) -> None:
    """Report to nobody."""


def _is_true(order: Order | None, answer: object) -> None:
    if order is None or not isinstance(answer, list):
        return
    for outcome in answer:
        if isinstance(order, Start | Restart) and outcome.ok:
            assert outcome.state is State.RUNNING
        elif isinstance(order, Stop | Kill) and outcome.ok:
            assert outcome.state is State.STOPPED
        assert outcome.ok or outcome.message
