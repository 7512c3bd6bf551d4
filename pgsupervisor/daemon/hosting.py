"""A keeper's postmaster, for real: the library for what is done, a pidfd and a watched file for what happens.

What blocks (looking at the directory, initdb, starting the server, asking how it went down) runs in a thread and
comes back as a fact. What happens by itself is told by the kernel: the pidfd when the server ends, inotify when it
rewrites postmaster.pid, whose last line says `ready`, or, until it does, pg_control, which says that it is in recovery.
Between those, nothing runs here at all.

What the server takes from its configuration files is told by nobody: it is asked, each time when it has read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from signal import Signals
from typing import TypeVar

from pgsupervisor.daemon import starting
from pgsupervisor.daemon.announced import news
from pgsupervisor.daemon.autopsy import Autopsy
from pgsupervisor.daemon.configuration import Configuration
from pgsupervisor.daemon.enclosure import Enclosure, Ground
from pgsupervisor.daemon.files import ConfigurationFiles
from pgsupervisor.daemon.handover import Cluster as Carried
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.daemon.locked import Locked
from pgsupervisor.daemon.log import HostedLog
from pgsupervisor.daemon.resumption import carried, resumed
from pgsupervisor.daemon.running import Running, inspect, kill, locked_out, not_started, obstructed
from pgsupervisor.daemon.search import Search
from pgsupervisor.daemon.verdict import judge
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import pidfile
from pgsupervisor.postgres.controldata import control_file
from pgsupervisor.postgres.datalock import Obstacle
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.owner import as_owner, found_once
from pgsupervisor.supervision.configuration import Mistake, Report
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.kept import Usage
from pgsupervisor.supervision.life import FilesChanged, Life, Spawned, Unlocked
from pgsupervisor.system.follow import Followed
from pgsupervisor.system.identity import acting_as
from pgsupervisor.system.process import Process
from pgsupervisor.system.watch import Watcher

Result = TypeVar("Result")

_SHORTAGE = 1.0
"""Seconds after which a file is read again that could not be opened for want of a descriptor."""


class HostedPostmaster:
    """The postmaster of one cluster; made and used in the event loop. `asking` are the threads that ask servers."""

    def __init__(
        self,
        spec: ClusterSpec,
        post: Post,
        watcher: Watcher,
        installations: Installations,
        *,
        asking: Executor,
        log: HostedLog,
        ground: Ground,
    ) -> None:
        self._spec = spec
        self._post = post
        self._watcher = watcher
        self._installations = installations
        self.configuration = Configuration(spec, installations, asking)
        self.enclosure = Enclosure(spec, ground, watcher)
        self._autopsy = Autopsy(post, self._examined, self.enclosure)
        self._files = ConfigurationFiles(spec, watcher, installations, lambda: post(FilesChanged()))
        self.log = log
        self._resumed: Carried | None = None
        self._running: Running | None = None
        self._spawning: asyncio.Task[None] | None = None
        self._released = False
        self._locked = Locked(lambda: post(Unlocked()))
        self._lock_file: Followed | None = None
        self._look_no_more: Callable[[], None] = lambda: None  # at pg_control
        self._search = Search(spec.name, self._look_for_one, lambda: self._busy)
        self._limiting: asyncio.Task[None] | None = None
        self._seen: set[str] = set()  # data directories that there were: initdb has no business there any more
        self.version: str | None = None

    @property
    def port(self) -> int | None:
        """The port that the running server says it uses, else what the inventory says."""
        return self._running.port if self._running is not None and self._running.port else self._spec.port

    @property
    def socket_directory(self) -> str | None:
        """The directory of the running server's first Unix socket."""
        return self._running.socket_directory if self._running is not None else None

    @property
    def polled(self) -> str:
        """What keeps its configuration files from being watched as they should; empty if nothing does."""
        return self._files.polled

    @property
    def limits(self) -> str:
        """What keeps the limits of the inventory from being in force; empty if nothing does."""
        return self.enclosure.limits

    @property
    def counted(self) -> bool:
        """Whether the kernel counts what it uses."""
        return self.enclosure.counted

    def usage(self) -> Usage:
        """Return what all processes of the cluster use; to be called in a thread."""
        return self.enclosure.usage()

    def renew(self, spec: ClusterSpec) -> None:
        """Go by this spec from the next start on, and by its limits at once."""
        self._spec = self.configuration.spec = spec
        self.enclosure.renew(spec)
        self._limiting = asyncio.create_task(asyncio.to_thread(self.enclosure.limit), name=f"limit {spec.name}")
        self._files.renew(spec)
        self._follow()
        self._attend_log()

    @property
    def at_work(self) -> bool:
        """Whether something is done in a thread that would be cut off if this process executed another program now."""
        return bool(self._works) or self.configuration.at_work

    async def rest(self) -> None:
        """Wait until that is done."""
        if self._works:
            await asyncio.wait(self._works)
        await self.configuration.rest()

    @property
    def _works(self) -> list[asyncio.Task[None]]:
        works = (self._autopsy.task, self._spawning, self._search.task, self._limiting)
        return [work for work in works if work is not None and not work.done()]

    def carried(self, life: Life) -> Carried:
        """Return all that is to be known of the cluster by the program that this process executes next."""
        return Carried(
            life=life,
            server=None if self._running is None else carried(self._running),
            orphans=tuple((each.pid, each.pidfd) for each in self._autopsy.orphans.held),
            version=self.version,
            seen=tuple(self._seen),
            told=self._files.told,
            also=self._files.also,
            whole=self.enclosure.whole,
        )

    def resume(self, known: Carried) -> None:
        """Know what is known already; to be called before anything else."""
        self._resumed = known
        self._running = None if known.server is None else resumed(known.server, self._spec)
        self.version = known.version
        self._seen = set(known.seen)

    async def find(self) -> None:
        """Adopt the server if it runs already. What keeps us from looking will be told by the first start."""
        self._follow()
        self._attend_log()
        if (running := self._running) is None:
            with found_once():
                await self._look_for_one()
        else:
            self._attend(running)
            whole = self._resumed is not None and bool(self._resumed.whole)
            await asyncio.to_thread(self.enclosure.prepare)
            if self._running is running:  # or it has ended meanwhile
                await asyncio.to_thread(self.enclosure.enclose, running.process.pid, whole=whole)
        if self._resumed is not None:
            self._autopsy.orphans.hold([Process(*orphan) for orphan in self._resumed.orphans])
            if self._resumed.life.locked:
                self._post(Unlocked())  # it may be: who had the data directory is not carried over
            await self._files.resume(self._resumed.told, self._resumed.also)

    async def _look_for_one(self) -> None:
        try:
            adopt = partial(starting.adopt, expect=self._files.expect, enclosure=self.enclosure)
            running, expected = await self._blocking(adopt, self._spec)
        except (OSError, PgSupervisorError):
            return
        if running is not None:
            await self._files.tell()
            if self._busy:
                running.process.close()  # whoever is at it finds it, too
            else:
                self._hold(running)
        elif expected and not self._busy:
            self._files.watch(expected)

    async def spawn(self) -> None:
        """Adopt the server that runs, or start one."""
        if self._running is not None or self._autopsy.task is not None:
            # Somebody else's was found in the very moment in which ours had its turn: its facts are on their way.
            return
        self._spawning = asyncio.current_task()
        self._search.due = False
        self._locked.forget()
        try:
            with found_once():
                await self._spawn(self._spec)
        finally:
            self._spawning = None
        if self._search.due:
            self._rewritten()

    async def _spawn(self, spec: ClusterSpec) -> None:
        try:
            found, left = await self._begin(spec)
            if isinstance(found, Running) and found.child is None:
                await self._files.tell()
        except (OSError, PgSupervisorError) as error:
            self.enclosure.leave()
            self._post(not_started(error))
            return
        if isinstance(found, Obstacle):
            self._locked.wait(found)
            self._post(locked_out(found))
        elif found is None:
            self._autopsy.orphans.hold(left)
            self._post(obstructed(left))
        else:
            self._hold(found)

    async def _begin(self, spec: ClusterSpec) -> tuple[Running | Obstacle | None, list[Process]]:
        """Start the server, or find what runs already, or is in the way."""
        async with self._files.telling() as reading:
            begin = partial(starting.begin, look=reading.look, seen=self._seen, enclosure=self.enclosure)
            while True:
                found, left = await self._blocking(begin, spec)
                if found is not None or left:
                    return found, left
                if reading.picture is not None and reading.picture.heard:
                    self._seen.add(spec.data_directory)  # it has been made
                # Before a server reads them: what changes after this is heard, and told to it.
                reading.watch()

    def signal(self, number: Signals) -> None:
        """Send a signal to the postmaster; a SIGKILL reaches all of its processes, which would outlive it."""
        if self._running is None:
            return
        if number is Signals.SIGHUP:
            # A server that does not catch it yet would be ended by it, and has not read its files yet either.
            if self._running.process.catches(number):
                self._running.process.signal(number)
            return
        self._running.told_to_stop = True
        if number is Signals.SIGKILL:
            self.enclosure.kill()
            self._running.killed += kill(self._running.process)
        else:
            # Once all who are told in this moment have their turn: each takes the processor as soon as it has heard.
            asyncio.get_running_loop().call_soon(self._running.process.signal, number)

    def signal_orphans(self, number: Signals) -> None:
        """Send a signal to each process that outlived the postmaster; a SIGKILL leaves none of the cluster's."""
        if number is Signals.SIGKILL:
            self.enclosure.kill()
        self._autopsy.orphans.signal(number)

    async def reload(self) -> Report:
        """Have the server read its configuration files, and ask it what it made of them."""
        running = self._running
        if running is None:
            return Report(unverified="it has just ended")
        files = await self._files.tell()
        written = self._files.told.settings
        if self._running is not running:
            return Report(files, unverified="it has just ended")
        running.process.signal(Signals.SIGHUP)
        try:
            # The postmaster reads its files before it lets anybody in who comes after the signal (ServerLoop in
            # postmaster.c), so whoever asks now hears what it made of them.
            found, tls = await self.configuration.ask(lambda: inspect(running))
        except (OSError, PgSupervisorError) as error:
            return Report(files, unverified=str(error))
        await self._files.use(found.settings[name].value for name in ("hba_file", "ident_file"))
        report, running.in_force = judge(files, running.in_force, written, found)
        return replace(report, mistakes=(*report.mistakes, *(Mistake("", 0, why) for why in tls)))

    def release(self) -> None:
        """Let go of the postmaster, which runs on."""
        self._released = True
        self.log.close()
        self._files.close()
        self._autopsy.release()
        self._locked.forget()
        if self._lock_file is not None:
            self._lock_file.close()
        running, self._running = self._running, None
        if running is not None:
            self._let_go(running)

    async def _blocking(self, work: Callable[[Installation, ClusterSpec], Result], spec: ClusterSpec) -> Result:
        """Do what blocks with the installation of a spec, in a thread, as the cluster's user."""

        def do() -> Result:
            with as_owner(spec.data_directory, spec.user):
                installation = self._installations.of(spec.installation)
                self.version = installation.version.split()[1]
                return work(installation, spec)

        return await asyncio.to_thread(do)

    def _hold(self, running: Running) -> None:
        """Hold a server. Nobody knows what one has read that ran already, so it is told to read its files again."""
        running.in_force = self._files.told.settings
        self._running = running
        self._seen.add(running.spec.data_directory)
        self._post(Spawned(running.process.pid))
        self._attend(running)
        if running.child is None and running.spec.watch:
            self._post(FilesChanged())

    def _attend(self, running: Running) -> None:
        """Be told of its end, and read what it says of itself."""
        asyncio.get_running_loop().add_reader(running.process, self._ended, running)
        self._attend_log()
        where, tell = control_file(running.spec.data_directory), partial(self._look, running, control=True)
        with contextlib.suppress(OSError):  # without it there is no server for long
            self._look_no_more = self._watcher.watch(*os.path.split(where), tell)
        self._look(running)
        if running.port is not None:  # else it has touched nothing yet
            tell()

    @property
    def _busy(self) -> bool:
        """Whether a server is held, or being started, or what became of the last is not told yet, or all is over."""
        return bool(self._running or self._spawning or self._released or self._autopsy.task)

    def _follow(self) -> None:
        """Follow postmaster.pid of the data directory that counts."""
        spec = self._spec if self._running is None else self._running.spec
        path, before = os.path.join(spec.data_directory, pidfile.NAME), self._lock_file
        if before is None or before.path != path:
            self._lock_file = Followed(self._watcher, path, self._rewritten)
            if before is not None:
                before.close()

    def _attend_log(self) -> None:
        """Look after the log that counts: a server that runs goes on to write to the one that it was given."""
        running = self._running
        logfile, began = (self._spec.logfile, None) if running is None else (running.spec.logfile, running.log_offset)
        self.log.attend(replace(self._spec, logfile=logfile), began)

    def _rewritten(self) -> None:
        """Look who has rewritten postmaster.pid: our server, or somebody else's, started by hand."""
        if self._running is not None:
            self._look(self._running)
            return
        self._search.due = True
        if not self._busy:
            self._locked.lift()
            self._search.begin()

    def _examined(self) -> None:
        """Look for a server that somebody has started while ours was being looked at, as `pg_ctl restart` does."""
        if self._autopsy.others or self._search.due:
            self._rewritten()

    def _look(self, running: Running, *, control: bool = False) -> None:
        """Tell what the server says of itself, in pg_control (`control`) or in postmaster.pid."""
        if self._running is not running:
            return
        try:
            with acting_as(running.owner):
                facts = tuple(news(running, control=control))
            for fact in facts:
                self._post(fact)
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                # Nobody tells when there are descriptors again, and the server may have nothing more to write.
                asyncio.get_running_loop().call_later(_SHORTAGE, partial(self._look, running, control=control))
        if running.ready:
            self._look_no_more()  # the control file changes at every checkpoint from now on

    def _ended(self, running: Running) -> None:
        self._let_go(running)
        self._running = None
        self._follow()
        # Where the next one starts is another place by now, nobody has looked there yet.
        self._search.due = running.spec.data_directory != self._spec.data_directory
        self._autopsy.begin(running)

    def _let_go(self, running: Running) -> None:
        self._look_no_more()
        asyncio.get_running_loop().remove_reader(running.process)
        running.process.close()
