"""A keeper's postmaster, for real: the library for what is done, a pidfd and a watched file for what happens.

What blocks (looking at the directory, initdb, starting the server, asking how it went down) runs in a thread and
comes back as a fact. What happens by itself is told by the kernel: the pidfd when the server ends, inotify when it
rewrites postmaster.pid, whose last line says `ready`. Between those, nothing runs here at all.

What the server takes from its configuration files is told by nobody. It is asked, each time after it was told to
read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from signal import Signals
from typing import BinaryIO

from pgsupervisor.daemon.configuration import Configuration
from pgsupervisor.daemon.files import ConfigurationFiles
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.daemon.last_words import last_words
from pgsupervisor.daemon.verdict import Values, judge
from pgsupervisor.errors import PgSupervisorError, ProbeError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import pidfile, preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.controldata import clean_shutdown
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.lint import tls_problems
from pgsupervisor.postgres.probe import Inspection
from pgsupervisor.supervision.configuration import Mistake, Report
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.life import Exited, FilesChanged, Ready, Reinitialized, Spawned, SpawnFailed
from pgsupervisor.system.logfile import open_for_append, written_since
from pgsupervisor.system.process import Process, User, children
from pgsupervisor.system.trail import trail
from pgsupervisor.system.watch import Watcher

_JITTER = 0.2
"""How much the wait before a restart varies, up and down."""


class _CannotStartError(PgSupervisorError):
    """A server that would not start, as things stand: trying again would not help."""


@dataclass(slots=True)
class _Running:
    """A postmaster that runs, held by its pidfd; `child` if we started it, and may ask for its exit status.

    `in_force` is what it goes by of the settings in its files, as far as we know.
    """

    spec: ClusterSpec
    installation: Installation
    cluster: Cluster
    process: Process
    child: subprocess.Popen[bytes] | None
    log_offset: int
    port: int | None = None
    socket_directory: str | None = None
    standby: bool | None = None
    memory: tuple[int, int] | None = None
    told_to_stop: bool = False
    in_force: Values = field(default_factory=dict)
    cancel_watch: Callable[[], None] = lambda: None

    @property
    def ready(self) -> bool:
        """Whether the server has been ready once."""
        return self.standby is not None


class HostedPostmaster:
    """The postmaster of one cluster; made and used in the event loop.

    `asking` has the threads in which servers are asked.
    """

    def __init__(
        self, spec: ClusterSpec, post: Post, watcher: Watcher, installations: Installations, asking: Executor
    ) -> None:
        self._spec = spec
        self._post = post
        self._watcher = watcher
        self._installations = installations
        self.configuration = Configuration(spec, installations, asking)
        self._files = ConfigurationFiles(spec, watcher, installations, lambda: post(FilesChanged()))
        self._running: _Running | None = None
        self._seen: set[str] = set()  # data directories that had a server: initdb has no business there any more
        self._tasks: set[asyncio.Task[None]] = set()
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

    def renew(self, spec: ClusterSpec) -> None:
        """Go by this spec from the next start on."""
        self._spec = self.configuration.spec = spec
        self._files.renew(spec)

    async def find(self) -> None:
        """Adopt the server if it runs already. What keeps us from looking will be told by the first start."""
        try:
            running = await asyncio.to_thread(self._adopt, self._spec)
        except (OSError, PgSupervisorError):
            return
        if running is not None:
            await self._hold_adopted(running)

    async def spawn(self) -> None:
        """Adopt the server that runs, or start one."""
        spec = self._spec
        try:
            running = await asyncio.to_thread(self._adopt, spec)
            if running is not None:
                await self._hold_adopted(running)
                return
            # Before the server reads them: what changes after this is heard, and told to it.
            await self._files.tell()
            if await asyncio.to_thread(self._prepare, spec):
                await self._files.tell()
            running = await asyncio.to_thread(self._start, spec)
        except PgSupervisorError as error:
            # No program, no such user, data of another version: what we find wrong ourselves does not mend by itself.
            self._post(SpawnFailed(str(error), hopeless=True, jitter=1.0))
        except OSError as error:
            self._post(SpawnFailed(str(error), hopeless=False, jitter=_jitter()))
        else:
            running.in_force = self._files.told.settings
            self._hold(running)

    def signal(self, number: Signals) -> None:
        """Send a signal to the postmaster; a SIGKILL reaches its backends too, which would outlive it."""
        if self._running is None:
            return
        if number is Signals.SIGHUP:
            # A server that does not catch it yet would be ended by it, and has not read its files yet either.
            if self._running.process.catches(number):
                self._running.process.signal(number)
            return
        self._running.told_to_stop = True
        if number is Signals.SIGKILL:
            _kill(self._running.process)
        else:
            self._running.process.signal(number)

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
            found, tls = await self.configuration.ask(lambda: _inspect(running))
        except (OSError, PgSupervisorError) as error:
            return Report(files, unverified=str(error))
        await self._files.use(found.settings[name].value for name in ("hba_file", "ident_file"))
        report, running.in_force = judge(files, running.in_force, written, found)
        return replace(report, mistakes=(*report.mistakes, *(Mistake("", 0, why) for why in tls)))

    def release(self) -> None:
        """Let go of the postmaster, which runs on."""
        self._files.close()
        running, self._running = self._running, None
        if running is not None:
            self._let_go(running)

    # What blocks, in a thread.

    def _adopt(self, spec: ClusterSpec) -> _Running | None:
        installation, cluster = self._look_up(spec)
        process = cluster.postmaster()
        if process is None:
            return None
        return _Running(spec, installation, cluster, process, None, _size(spec.logfile))

    def _prepare(self, spec: ClusterSpec) -> bool:
        """Make the cluster if it is not there yet, and tell whether; refuse what would keep a server from starting."""
        installation, cluster = self._look_up(spec)
        missing = spec.init and not os.path.lexists(spec.data_directory)
        if missing:
            if spec.data_directory in self._seen:
                raise _CannotStartError(
                    f"{spec.data_directory} was there and is gone: bring it back (is its disk mounted?), or make a new "
                    "cluster there with initdb"
                )
            cluster.init()
            installation, cluster = self._look_up(spec)
        problems = preflight.problems(
            installation,
            spec.data_directory,
            run_as=cluster.run_as,
            config_file=spec.config_file,
            settings=spec.server_settings,
        )
        if problems:
            raise _CannotStartError("; ".join(problems))
        return missing

    def _start(self, spec: ClusterSpec) -> _Running:
        installation, cluster = self._look_up(spec)
        with _open_log(spec.logfile, cluster.run_as) as log:
            offset = os.fstat(log.fileno()).st_size
            cluster.start(log, spec.server_settings, environment=spec.environment, detach=True)
        child = cluster.daemon_process
        if child is None:
            raise _CannotStartError(f"somebody else started a server on {spec.data_directory} at this moment")
        return _Running(spec, installation, cluster, Process(child.pid), child, offset)

    def _look_up(self, spec: ClusterSpec) -> tuple[Installation, Cluster]:
        installation = self._installations.of(spec.installation)
        self.version = installation.version.split()[1]
        return installation, Cluster(installation, spec.data_directory, user=spec.user, config_file=spec.config_file)

    def _verdict(self, running: _Running) -> Exited:
        """Say how a server ended: by its exit status, what pg_control says, and what it wrote last."""
        status = None if running.child is None else running.child.wait()
        if running.told_to_stop:
            return Exited(_ending(status), clean=False, hopeless=False, jitter=_jitter())
        spec, run_as = running.spec, running.cluster.run_as
        clean = not status and _shut_down(running)
        words = last_words(written_since(spec.logfile, running.log_offset))
        refused = None
        if not (clean or running.ready):
            refused = preflight.configuration_problem(
                running.installation,
                spec.data_directory,
                run_as=run_as,
                config_file=spec.config_file,
                settings=spec.server_settings,
            )
        reason = refused or ": ".join(part for part in (_ending(status), words) if part)
        return Exited(reason, clean=clean, hopeless=refused is not None, jitter=_jitter())

    # What happens, in the loop.

    async def _hold_adopted(self, running: _Running) -> None:
        """Hold a server that ran already; nobody knows what it has read, so it is told to read its files again."""
        await self._files.tell()
        running.in_force = self._files.told.settings
        self._hold(running)
        if running.spec.watch:
            self._post(FilesChanged())

    def _hold(self, running: _Running) -> None:
        self._running = running
        self._seen.add(running.spec.data_directory)
        loop = asyncio.get_running_loop()
        loop.add_reader(running.process, self._ended, running)
        self._post(Spawned(running.process.pid))
        self._look(running)

    def _look(self, running: _Running) -> None:
        """Read postmaster.pid, which the server has just rewritten, or which is in a directory that came back."""
        if self._running is not running:
            return
        self._watch(running)
        try:
            written = running.cluster.announced()
        except OSError:
            return
        if written is None or written.pid != running.process.pid:
            return
        running.port, running.socket_directory = written.port, written.socket_directory
        # A postmaster whose processes crashed makes its shared memory anew, and stays `ready` all the while.
        crashed = running.ready and None not in {written.shared_memory, running.memory}
        if crashed and written.shared_memory != running.memory:
            self._post(Reinitialized())
        running.memory = written.shared_memory or running.memory
        if written.status in {"ready", "standby"}:
            standby = written.status == "standby"
            if running.standby is not standby:
                running.standby = standby
                self._post(Ready(standby=standby))

    def _watch(self, running: _Running) -> None:
        """Watch postmaster.pid anew, since another directory may have its name by now."""
        with contextlib.ExitStack() as watched:
            for place in trail(os.path.join(running.spec.data_directory, pidfile.NAME)):
                with contextlib.suppress(OSError):  # gone at this moment: what is above it tells when that changes
                    changed = partial(self._look, running)
                    watched.callback(self._watcher.watch(place.directory, place.name, changed, contents=place.contents))
            running.cancel_watch()
            running.cancel_watch = watched.pop_all().close

    def _ended(self, running: _Running) -> None:
        self._let_go(running)
        self._running = None
        task = asyncio.create_task(self._post_mortem(running))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _post_mortem(self, running: _Running) -> None:
        try:
            exited = await asyncio.to_thread(self._verdict, running)
        except (OSError, PgSupervisorError) as error:
            exited = Exited(f"ended, and {error}", clean=False, hopeless=False, jitter=_jitter())
        self._post(exited)

    def _let_go(self, running: _Running) -> None:
        asyncio.get_running_loop().remove_reader(running.process)
        running.cancel_watch()
        running.process.close()


def _inspect(running: _Running) -> tuple[Inspection, list[str]]:
    """Ask a server about its configuration, and look whether it could load its files for TLS, which it does not tell.

    Raises ProbeError, also if it goes by another file than the inventory says.
    """
    found = probe.inspect(running.cluster)
    used, ours = found.settings["config_file"].value, running.cluster.settings.path
    if os.path.realpath(used) != os.path.realpath(ours):
        raise ProbeError(f"it goes by {used}, and not by {ours}; say so in the inventory (config_file), or restart it")
    uses_tls = found.settings["ssl"].value == "on"
    return found, tls_problems(running.cluster, running.spec.server_settings) if uses_tls else []


def _open_log(path: str, owner: User | None) -> BinaryIO:
    try:
        return open_for_append(path, owner)
    except OSError as error:
        why = "it is a symlink, which is refused" if error.errno == errno.ELOOP else error.strerror
        raise _CannotStartError(
            f"cannot write the log {path}: {why}; mend that, or choose another `logfile`"
        ) from error


def _kill(server: Process) -> None:
    """Kill a server with all its processes: one that lived on would keep the next server from starting."""
    family = [server, *children(server)]
    for process in family:
        process.signal(Signals.SIGKILL)
    for child in family[1:]:
        child.close()


def _shut_down(running: _Running) -> bool:
    try:
        return clean_shutdown(running.installation, running.spec.data_directory, running.cluster.run_as)
    except (OSError, PgSupervisorError):
        return False


def _ending(status: int | None) -> str:
    """Say an exit status in words; None is that of a process that was not our child."""
    if status is None:
        return "ended"
    if status < 0:
        return f"killed by {Signals(-status).name}"
    return f"exited with status {status}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _jitter() -> float:
    return random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spreads restarts, guards nothing
