"""Data directories in virtual time, with servers that take their time, disobey, crash, and leave processes behind.

What goes on in a `DataDirectory` is what the kernel would know; nobody is told of it but through the `Resident`, the
postmaster as a keeper has it. As with a real one, looking and starting take a while, an end is told a while after it
happened, and a server may be started by hand while nobody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from signal import Signals
from typing import Literal, Self, TypeAlias

from fake_log import FakeLog
from fakes import ALL_STOPS

from pgsupervisor.inventory import ClusterSpec
from pgsupervisor.supervision.configuration import Prospects, Report, Setting
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.kept import Assignments, Undo
from pgsupervisor.supervision.life import (
    Exited,
    FilesChanged,
    Orphaned,
    Ready,
    Recovering,
    Reinitialized,
    Spawned,
    SpawnFailed,
    Unlocked,
)

CLEAN_STOPS = frozenset({Signals.SIGTERM, Signals.SIGINT})

Refusal: TypeAlias = Literal["failed", "hopeless", "outside", "locked"]

_REFUSALS: dict[Refusal, SpawnFailed] = {
    "failed": SpawnFailed("no", hopeless=False, jitter=1.0),
    "hopeless": SpawnFailed("never", hopeless=True, jitter=1.0),
    "outside": SpawnFailed("not now", hopeless=False, jitter=1.0, outside=True),
    "locked": SpawnFailed("another has it", hopeless=False, jitter=1.0, locked=True),
}


@dataclass(frozen=True, slots=True)
class Nature:
    """How a data directory's servers behave; durations in seconds.

    `ready_time` None: it recovers for ever. `leaves` so many processes when it does not end cleanly. `refusal`: why
    none can be started. `would_start`: what is foretold of a start.
    """

    find_time: float = 0.0
    spawn_time: float = 0.0
    ready_time: float | None = 0.0
    stop_time: float = 0.0
    news_time: float = 0.0
    reload_time: float = 0.0
    asking_time: float = 0.0
    obeys: frozenset[Signals] = ALL_STOPS
    leaves: int = 0
    orphans_obey: frozenset[Signals] = ALL_STOPS
    refusal: Refusal | None = None
    would_start: bool = True


KIND = Nature()
"""Whoever is of this nature does at once what he is told."""


class DataDirectory:
    """What is true of a data directory, whoever knows of it.

    `pid` is that of the postmaster that runs, `orphans` how many processes outlived one. `version` counts the changes
    of its configuration files, `read` is the version that the server has read, and `spec` what it was started by (None:
    by hand). `resident` is told. `signals` is how many stop signals came. `doubted`: it was once foretold that a start
    would fail.
    """

    def __init__(self) -> None:
        self.nature = KIND
        self.pid: int | None = None
        self.ready = False
        self.orphans = 0
        self.version = 0
        self.read = 0
        self.spec: ClusterSpec | None = None
        self.resident: Resident | None = None
        self.signals = 0
        self.doubted = False
        self._pids = count(101)
        self._told: set[Signals] = set()
        self._orphans_told: set[Signals] = set()

    def become(self, nature: Nature) -> None:
        """Be of this nature from now on."""
        self.nature = nature
        self.doubted |= not nature.would_start
        if self.resident is not None and nature.refusal != "locked":
            self.resident.unlock()

    def launch(self, spec: ClusterSpec | None) -> None:
        """Start a postmaster."""
        assert self.pid is None, "PostgreSQL refuses a second postmaster"
        assert not self.orphans, "PostgreSQL refuses to start beside orphans"
        self.pid, self.ready, self.read, self.spec = next(self._pids), False, self.version, spec
        self._told.clear()
        self._get_ready_later()

    def launch_by_hand(self) -> None:
        """Start a postmaster, as an administrator does with `pg_ctl start`."""
        if self.pid is None and not self.orphans:
            self.launch(None)
            if self.resident is not None:
                self.resident.look_again()

    def receive(self, number: Signals) -> None:
        """Take a signal."""
        if number is Signals.SIGHUP:
            self.read = self.version
        else:
            self.signals += 1
            self._told.add(number)
            self._obey()

    def receive_as_orphans(self, number: Signals) -> None:
        """Take a signal, each of the orphans."""
        self._orphans_told.add(number)
        self._obey()

    def end(self, pid: int | None, *, clean: bool, leaves: int) -> None:
        """Let the postmaster end, if it is still this one. Of one that nobody knew of, nothing is left."""
        if pid is None or self.pid != pid:
            return
        self.pid, self.ready = None, False
        self._orphans_told.clear()
        if self.resident is not None and self.resident.held == pid:
            self.orphans = 0 if clean else leaves
            self.resident.ended(clean=clean)

    def end_orphans(self, left: int = 0) -> None:
        """Let all orphans end but some, one after the other."""
        while self.orphans > left:
            self.orphans -= 1
            if self.resident is not None:
                self.resident.orphan_ended()

    def relent(self) -> None:
        """Become kind, and do what was not done before. Orphans of which nobody was told end by themselves."""
        self.become(KIND)
        if self.resident is None or not self.resident.waits_for:
            self.orphans = 0
        self._get_ready_later()
        self._obey()

    def _get_ready_later(self) -> None:
        if self.pid is not None and not self.ready and self.nature.ready_time is not None:
            asyncio.get_running_loop().call_later(self.nature.ready_time, self._get_ready, self.pid)

    def _get_ready(self, pid: int) -> None:
        if self.pid == pid and not self.ready:
            self.ready = True
            if self.resident is not None:
                self.resident.got_ready()

    def _obey(self) -> None:
        loop = asyncio.get_running_loop()
        for number in self._told & self.nature.obeys:
            clean = number in CLEAN_STOPS
            wait = self.nature.stop_time if clean else 0.0
            loop.call_later(
                wait, lambda pid=self.pid, clean=clean: self.end(pid, clean=clean, leaves=self.nature.leaves)
            )
        if self._orphans_told & self.nature.orphans_obey:
            loop.call_soon(self.end_orphans)


class Resident:
    """A cluster's postmaster as its keeper has it: it tells what goes on in the data directory, all in due time.

    `held` is the pid of the server that was told of, `waits_for` the number of orphans that was.
    """

    version: str | None = "18.0"
    port: int | None = 5432
    socket_directory: str | None = None
    polled: str = ""
    at_work = False

    def __init__(self, home: DataDirectory, spec: ClusterSpec, post: Post) -> None:
        self.home = home
        self.spec = spec
        self.log = FakeLog()
        self.held: int | None = None
        self.waits_for = 0
        self.locked = False
        self.mourning = False
        self.spawning = False
        self.released = False
        self.looks: set[asyncio.Task[None]] = set()
        self._post = post
        home.resident = self

    async def find(self) -> None:
        """Adopt the server that runs."""
        await asyncio.sleep(self.home.nature.find_time)
        if self.home.pid is not None and not self._busy:
            self._hold(adopted=True)

    async def spawn(self) -> None:
        """Adopt the server that runs, or start one by the spec of this moment, unless one has just been told of."""
        if self.held is not None or self.mourning:
            return
        self.spawning = True
        self.locked = False
        try:
            await self._spawn(self.spec)
        finally:
            self.spawning = False

    async def _spawn(self, spec: ClusterSpec) -> None:
        home = self.home
        await asyncio.sleep(home.nature.spawn_time)
        refusal = home.nature.refusal
        if home.orphans:
            self.waits_for = home.orphans
            self._post(SpawnFailed("in the way", hopeless=False, jitter=1.0, orphans=home.orphans))
        elif home.pid is not None:
            self._hold(adopted=True)
        elif refusal is not None:
            self.locked = refusal == "locked"
            self._post(_REFUSALS[refusal])
        else:
            home.launch(spec)
            self._hold(adopted=False)

    def signal(self, number: Signals) -> None:
        """Send a signal, unless the server has just ended."""
        if self.held is not None:
            self.home.receive(number)

    def signal_orphans(self, number: Signals) -> None:
        """Send a signal to what is left of the orphans."""
        self.home.receive_as_orphans(number)

    async def reload(self) -> Report:
        """Have the files read, and say, after a while, that this was so."""
        if self.held is None:
            return Report(unverified="it has just ended")
        self.home.receive(Signals.SIGHUP)
        await asyncio.sleep(self.home.nature.reload_time)
        return Report()

    def release(self) -> None:
        """Tell nothing any more."""
        assert not self.released
        self.released = True
        self.home.resident = None

    async def rest(self) -> None:
        """Wait for nothing."""

    def renew(self, spec: ClusterSpec) -> None:
        """Take the spec."""
        self.spec = spec

    @property
    def configuration(self) -> Self:
        """Be the configuration too."""
        return self

    async def prospects(self, _spec: ClusterSpec) -> Prospects:
        """Say, after a while, what a start would meet."""
        await asyncio.sleep(self.home.nature.asking_time)
        return Prospects(() if self.home.nature.would_start else ("it would not",))

    async def settings(self) -> Sequence[Setting]:
        """Know of none."""
        return ()

    async def write(self, _changes: Assignments) -> Undo:
        """Change the files."""
        self.change_files()

        async def undo() -> None:
            self.change_files()

        return undo

    def change_files(self) -> None:
        """Notice that the files were changed."""
        self.home.version += 1
        self._post(FilesChanged())

    # What the directory tells.

    def look_again(self) -> None:
        """Look, after a while, for a server that was started by somebody else."""
        if not self._busy:
            self.unlock()
            task = asyncio.create_task(self.find())
            self.looks.add(task)
            task.add_done_callback(self.looks.discard)

    def unlock(self) -> None:
        """Tell that somebody else has not got the data directory any more, if that was waited for."""
        if self.locked:
            self.locked = False
            self._post(Unlocked())

    def got_ready(self) -> None:
        """Tell that the server is ready."""
        if self.held is not None:
            self._post(Ready(standby=False))

    def crashed_within(self) -> None:
        """Tell that a process of the server crashed."""
        if self.held is not None and self.home.ready:
            self._post(Reinitialized())

    def ended(self, *, clean: bool) -> None:
        """Find out, after a while, how the server ended."""
        self.held, self.mourning = None, True
        asyncio.get_running_loop().call_later(self.home.nature.news_time, self._tell_of_end, clean)

    def orphan_ended(self) -> None:
        """Tell how many are left."""
        if self.waits_for:
            self.waits_for = self.home.orphans
            self._post(Orphaned(self.home.orphans))

    def _tell_of_end(self, clean: bool) -> None:  # noqa: FBT001  # called by the loop
        self.mourning = False
        self.waits_for = self.home.orphans
        self._post(Exited("ended", clean=clean, hopeless=False, jitter=1.0, orphans=self.waits_for))
        if self.home.pid is not None:
            self.look_again()

    def _hold(self, *, adopted: bool) -> None:
        self.held = self.home.pid
        assert self.held is not None
        self._post(Spawned(self.held))
        if adopted:
            self._post(FilesChanged())
        if self.home.ready:
            self.got_ready()
        else:
            self._post(Recovering("crash"))

    @property
    def _busy(self) -> bool:
        return self.held is not None or self.spawning or self.mourning or self.released
