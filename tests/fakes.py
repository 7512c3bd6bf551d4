"""What the tests of the heart are made of: a clock of our own, a postmaster that does what a test says, a policy."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from signal import Signals
from typing import Literal, Self, TypeVar

from fake_log import FakeLog

from pgsupervisor.inventory import ClusterSpec, DaemonSpec, FrozenMapping, InstallationSpec, Inventory
from pgsupervisor.supervision.configuration import Prospects, Report, Setting
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.kept import Assignments, Undo, Usage
from pgsupervisor.supervision.life import Exited, FilesChanged, Orphaned, Ready, Spawned, SpawnFailed, StopMode

Result = TypeVar("Result")

BIRTH = 1000.0
"""What the clock of a virtual world says in the beginning."""


A_DAY = 86400.0
"""Seconds after which a virtual world ends, with an error: time costs nothing there, so a test could wait for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for nothing: where others would wait for a time, the clock jumps to it."""

    def __init__(self, lasts: float) -> None:
        super().__init__()
        self.now = BIRTH
        self._end = BIRTH + lasts

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        happened = super().select(0)
        if not happened and timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        if not happened and timeout is not None:
            self.now += max(0.0, timeout)
        if self.now > self._end:
            raise RuntimeError("time is over, and it still has not happened")
        return happened


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while everybody waits, and then at once."""

    def __init__(self, lasts: float = A_DAY) -> None:
        self._clock = _JumpingSelector(lasts)
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the seconds of the virtual clock."""
        return self._clock.now


def live(world: Callable[[], Coroutine[None, None, Result]], *, lasts: float = A_DAY) -> Result:
    """Run a world in virtual time to its end, which has to come within `lasts` seconds."""
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, lasts)) as runner:
        return runner.run(world())


async def settle() -> None:
    """Let everything happen that takes no time."""
    await asyncio.sleep(0.001)


def now() -> float:
    """Return the virtual time, in seconds."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class FakePolicy:
    """A policy with round numbers."""

    restart: Literal["on-failure", "always", "never"] = "on-failure"
    restart_delay: float = 1.0
    restart_max_delay: float = 8.0
    start_retries: int = 3
    restart_limit: int = 10
    stable_after: float = 10.0
    stop_mode: StopMode = "fast"
    stop_timeout: float = 60.0


ALL_STOPS = frozenset({Signals.SIGTERM, Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL})


class FakePostmaster:
    """A postmaster that starts, gets ready, reloads and stops at once, unless a test says otherwise.

    `calls` is what was asked of it, in order: `find`, `spawn`, `reload`, `prospects`, `settings`, `write`, `undo`,
    `renew`, `release`, or the name of a signal; `history`, if given, is shared with others and gets `NAME call`.
    `trouble` is what a call raises. `reports` are what the next reloads make of the files, each once, but the last one
    for ever; `outlook` is what any start would meet, and `asked` the specs by which that was asked; `file` is what
    `write` and `undo` have made of postgresql.conf. A server that crashes `leaves` so many processes, which are its
    `orphans` then; what is sent to them is noted as `orphans` and the name of the signal.
    """

    version: str | None = "18.0"
    port: int | None = 5432
    socket_directory: str | None = None
    polled: str = ""
    limits: str = ""
    used = Usage()
    counted = True
    at_work = False

    def __init__(self, post: Post, cluster: ClusterSpec, history: list[str] | None = None) -> None:
        self.name = cluster.name
        self.spec = cluster
        self.calls: list[str] = []
        self.pid: int | None = None
        self.running_before = False
        self.find_time = 0.0
        self.spawn_time = 0.0
        self.gets_ready = True
        self.obeys = ALL_STOPS
        self.refusal: SpawnFailed | None = None
        self.leaves = 0
        self.orphans = 0
        self.orphans_obey = ALL_STOPS
        self.reload_time = 0.0
        self.reports = [Report()]
        self.outlook = Prospects()
        self.asking_time = 0.0
        self.asked: list[ClusterSpec] = []
        self.stand: tuple[Setting, ...] = ()
        self.file: dict[str, str] = {}
        self.trouble: dict[str, Exception] = {}
        self.counting = threading.Event()
        self.counting.set()
        self._pids = count(101)
        self._post = post
        self._history = history if history is not None else []
        self.log = FakeLog()

    async def find(self) -> None:
        """Come up, after `find_time` seconds, if `running_before`."""
        self._note("find")
        if self.find_time:
            await asyncio.sleep(self.find_time)
        if self.running_before:
            self._come_up()

    async def spawn(self) -> None:
        """Come up, after `spawn_time` seconds, or fail with `refusal`."""
        self._note("spawn")
        if self.spawn_time:
            await asyncio.sleep(self.spawn_time)
        if self.orphans:
            self._post(SpawnFailed("in the way", hopeless=False, jitter=1.0, orphans=self.orphans))
        elif self.refusal is not None:
            self._post(self.refusal)
        else:
            self._come_up()

    def signal(self, number: Signals) -> None:
        """End if the signal is one that the server obeys."""
        self._note(number.name)
        if self.pid is not None and number in self.obeys:
            self.end(clean=number in {Signals.SIGTERM, Signals.SIGINT})

    async def reload(self) -> Report:
        """Say, after `reload_time` seconds, what came of it."""
        self._note("reload")
        if self.reload_time:
            await asyncio.sleep(self.reload_time)
        return self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]

    @property
    def configuration(self) -> Self:
        """Be the configuration too."""
        return self

    def usage(self) -> Usage:
        """Say `used`, once there is an answer."""
        self.counting.wait()
        return self.used

    async def prospects(self, spec: ClusterSpec) -> Prospects:
        """Say `outlook`, after `asking_time` seconds."""
        self._note("prospects")
        self.asked.append(spec)
        if self.asking_time:
            await asyncio.sleep(self.asking_time)
        return self.outlook

    async def settings(self) -> Sequence[Setting]:
        """Say `stand`."""
        self._note("settings")
        return self.stand

    async def write(self, changes: Assignments) -> Undo:
        """Change `file`."""
        self._note("write")
        before = self.file
        written = before | changes
        self.file = {name: value for name, value in written.items() if value is not None}

        async def undo() -> None:
            self._note("undo")
            self.file = before

        return undo

    async def rest(self) -> None:
        """Be at rest already."""

    def release(self) -> None:
        """Note it."""
        self._note("release")

    def renew(self, spec: ClusterSpec) -> None:
        """Take the spec."""
        self.spec = spec
        self._note("renew")

    def get_ready(self, *, standby: bool = False) -> None:
        """Say that the server is ready now."""
        self._post(Ready(standby))

    def change_files(self) -> None:
        """Say that the configuration files say something else now."""
        self._post(FilesChanged())

    def signal_orphans(self, number: Signals) -> None:
        """End the orphans if the signal is one that they obey."""
        self._note(f"orphans {number.name}")
        if number in self.orphans_obey:
            self.end_orphans()

    def end_orphans(self, left: int = 0) -> None:
        """Let all processes that outlived the postmaster end but some, one after the other."""
        while self.orphans > left:
            self.orphans -= 1
            self._post(Orphaned(self.orphans))

    def end(self, reason: str = "ended", *, clean: bool = False, hopeless: bool = False, jitter: float = 1.0) -> None:
        """Let the server end now, and leave `leaves` processes behind, unless it was clean."""
        self.pid = None
        self.orphans = 0 if clean else self.leaves
        self._post(Exited(reason, clean=clean, hopeless=hopeless, jitter=jitter, orphans=self.orphans))

    def _come_up(self) -> None:
        self.pid = next(self._pids)
        self._post(Spawned(self.pid))
        if self.gets_ready:
            self.get_ready()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._history.append(f"{self.name} {call}")
        if call in self.trouble:
            raise self.trouble[call]


SPEC = ClusterSpec(
    name="shop",
    installation=InstallationSpec(name="pg", bindir="/pg/bin"),
    data_directory="/srv/shop",
    init=False,
    user=None,
    port=None,
    settings=FrozenMapping(),
    environment=FrozenMapping(),
    config_file=None,
    logfile="/log/shop.log",
    logfile_maxbytes=1,
    logfile_backups=1,
    logfile_compress=False,
    memory_max=0,
    cpu_weight=100,
    tasks_max=0,
    priority=10,
    watch=True,
    reload_delay=0.3,
    autostart=True,
    restart="on-failure",
    restart_delay=1.0,
    restart_max_delay=8.0,
    start_retries=3,
    restart_limit=10,
    stable_after=10.0,
    stop_mode="fast",
    stop_timeout=60.0,
    allow=(),
)


def spec(name: str, **otherwise: object) -> ClusterSpec:
    """Return the spec of a cluster that needs no real directory."""
    return replace(SPEC, name=name, data_directory=f"/srv/{name}", **otherwise)


def inventory(*specs: ClusterSpec, start_concurrency: int = 4) -> Inventory:
    """Return an inventory of these clusters."""
    return Inventory(
        path="/etc/inventory.toml",
        files=("/etc/inventory.toml",),
        daemon=DaemonSpec(
            socket="/run/control",
            socket_mode=0o660,
            admin_group=None,
            log_directory="/log",
            log_format="auto",
            start_concurrency=start_concurrency,
            on_exit="stop",
        ),
        installations=FrozenMapping(),
        clusters=FrozenMapping({each.name: each for each in specs}),
    )


class FakeHost:
    """Makes fake postmasters, and keeps them by name; `prepare` may change each before it is used."""

    def __init__(self, prepare: Callable[[FakePostmaster], None] = lambda _made: None) -> None:
        self.made: dict[str, FakePostmaster] = {}
        self.history: list[str] = []
        self._prepare = prepare

    def __call__(self, cluster: ClusterSpec, post: Post) -> FakePostmaster:
        """Make the postmaster of a cluster."""
        postmaster = self.made[cluster.name] = FakePostmaster(post, cluster, self.history)
        self._prepare(postmaster)
        return postmaster

    def forget(self) -> None:
        """Forget what was asked of the postmasters so far."""
        self.history.clear()
        for each in self.made.values():
            each.calls.clear()


def only(history: Iterable[str], *words: str) -> list[str]:
    """Return what of a history has one of these calls."""
    return [entry for entry in history if entry.split()[1] in words]
