"""The server on a data directory: finding it, starting it, stopping it, waiting for it.

A server is always asked for by what its data directory says (`pidfile`), never by a number that was remembered, and
it is held by its pidfd while something is done with it: whoever started it, it can be controlled, and nobody else is
ever signalled. A server that this process started itself is its child besides (`Server.daemon_process`), which
gives its exit status.

Nothing is asked over a connection. postmaster.pid tells whether a server is ready, also one that listens on a
Unix socket alone or lets nobody in, and the server's log stays as it is.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pgsupervisor.errors import (
    ClusterLockedError,
    ClusterNotRunningError,
    ClusterStartupError,
    ClusterTimeoutError,
)
from pgsupervisor.postgres import command, datalock, lockfile, owner, pidfile, preflight
from pgsupervisor.postgres.initdb import LogFile
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.pidfile import PidFile
from pgsupervisor.system.identity import User, acting, acting_as, our_uid
from pgsupervisor.system.process import Process, children, hold, spawn

GivenSettings = Mapping[str, object] | Iterable[tuple[str, object]]
"""Settings for a server's command line, as a mapping or as pairs; values are turned to str."""

_AT_EXIT_TIMEOUT = 60.0
"""Seconds that servers have for their shutdown when this process exits, before it is made an immediate one."""


class Server:
    """The part of a `Cluster` that is about its server; described there."""

    daemon_process: subprocess.Popen[bytes] | None
    """The server process that this object started last, running or ended; None if it started none."""

    def __init__(
        self,
        installation: Installation,
        data_directory: str | os.PathLike[str],
        *,
        user: str | None,
        config_file: str | os.PathLike[str] | None,
    ) -> None:
        self.installation = installation
        self.data_directory = str(Path(data_directory).absolute())
        self.config_file = None if config_file is None else str(Path(config_file).absolute())
        self.user = user
        self.daemon_process = None
        self._given: dict[str, str] = {}  # the settings of the last start
        self._leftover: PidFile | None = None  # the postmaster.pid that the last start found
        self._expected = False  # started, not yet seen ready, and not told to stop
        self._killed: list[Process] = []  # a server that was killed, and its children
        self._starting = threading.Lock()  # threads that start one object's server at once start one server

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.data_directory!r} of {self.installation!r}>"

    @property
    def run_as(self) -> User | None:
        """The OS user that its programs run as; None for ourselves.

        Raises ClusterError if the user database does not know him, or nobody can say whom the directory belongs to.
        """
        return owner.run_as(self.data_directory, self.user)

    def as_owner(self) -> contextlib.AbstractContextManager[None]:
        """Do what follows in this thread to the cluster's files as its user, if we are root and there is one.

        Who owns them could lead root elsewhere by a link. What writes, or looks for the server, does so itself.
        Raises what `run_as` raises.
        """
        # Who acts already has found out as whom: a user database is not asked again and again.
        return contextlib.nullcontext() if acting() or our_uid() != 0 else acting_as(self.run_as)

    @property
    def daemon_path(self) -> str | None:
        """The path of the program that is the server; None if the installation has none."""
        return self.installation.postgres or self.installation.postmaster

    def postmaster(self) -> Process | None:
        """Find the server and hold it; None if there is none. The caller closes what it gets."""
        child = self.daemon_process
        if child is not None:
            if child.poll() is None:
                return hold(child.pid)
            _at_exit.pop(self, None)
        with self.as_owner():
            return pidfile.postmaster(self.data_directory)

    def pid(self) -> int | None:
        """Return the server's process id; None if there is no server. By the time it is used it may be another's."""
        server = self.postmaster()
        if server is None:
            return None
        with server:
            return server.pid

    def running(self) -> bool:
        """Tell whether there is a server process; it need not be ready for connections."""
        return self.pid() is not None

    def announced(self) -> PidFile | None:
        """Return what the server says of itself in postmaster.pid; None if there is no server, or not a word yet."""
        server = self.postmaster()
        if server is None:
            return None
        with server:
            return self.announced_by(server)

    def ready_for_connections(self) -> bool | None:
        """Tell whether the server takes connections; None if there is no server.

        It does not while it starts, recovers or stops, nor does a standby whose setting hot_standby is off. While
        a server recovers from the crash of a backend (a fraction of a second, as a rule), it counts as ready.
        """
        server = self.postmaster()
        if server is None:
            return None
        with server:
            written = self.announced_by(server)
            return written is not None and written.status == "ready"

    def announced_by(self, server: Process) -> PidFile | None:
        """Return what the server that is held says of itself in postmaster.pid; None if that is not a word yet.

        What an earlier server left is none of it, even if that one had the same process id, as happens in containers.
        """
        written = pidfile.read(self.data_directory)
        if written is None or written.pid != server.pid or written == self._leftover:
            return None
        return written

    @owner.found_once()
    def start(
        self,
        logfile: LogFile | None = None,
        settings: GivenSettings | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        detach: bool = False,
    ) -> None:
        """Start the server unless it runs already; do not wait for it to be ready.

        Its output goes straight into `logfile`, an open file; without one it is discarded. `settings` are given as
        `--name=value` and win over the configuration files; `environment` is added to our own, which it
        inherits without what would disturb it (see `pgsupervisor.postgres.command`).

        The server has a session of its own, so a Ctrl-C is not for it. When this process exits normally, it
        is shut down, unless `detach` is true.

        Raises ClusterStartupError if there is no data directory, or one of another version than the installation's,
        or if the server's program cannot be run; ClusterLockedError if somebody else has the data directory. Raises
        ValueError for a setting that may hold a password, which belongs in the cluster's `settings`.
        """
        run_as = self.run_as
        anothers = preflight.ownership_problem(self.data_directory, run_as)
        if anothers is not None:
            raise ClusterStartupError(anothers)
        with self._starting, self.as_owner():
            # In this order: a server that starts in between is not the one whose lock is ignored below.
            leftover = pidfile.read(self.data_directory)
            if self.running():
                return
            wrong = preflight.version_problem(self.installation, self.data_directory)
            if wrong is not None:
                raise ClusterStartupError(wrong)
            left_empty = pidfile.text(self.data_directory) == ""
            locked = datalock.problem(self.data_directory)
            if locked is not None:
                raise ClusterLockedError(locked)
            self._given = {name: str(value) for name, value in dict(settings or {}).items()}
            where = (self.installation, self.data_directory, self.config_file, self._given)
            lockfile.take_over(*where, left_empty=left_empty)
            extra = {**pidfile.ignoring(leftover, self.data_directory), **(environment or {})}
            with open(os.devnull, "wb") if logfile is None else contextlib.nullcontext(logfile) as output:
                self.daemon_process = self._spawn(output.fileno(), extra)
            self._leftover = leftover
            self._expected = True
            if not detach:
                _at_exit[self] = os.getpid()

    def _spawn(self, output: int, extra: Mapping[str, str]) -> subprocess.Popen[bytes]:
        program = self.daemon_path
        if program is None:
            raise ClusterStartupError(f"{self.installation.version} has no postgres; choose another installation")
        arguments = command.postgres_command(
            program, self.data_directory, config_file=self.config_file, settings=self._given
        )
        run_as = self.run_as
        environment = command.environment(os.environ, run_as=run_as, extra=extra)
        try:
            return spawn(arguments, environment=environment, output=output, run_as=run_as)
        except PermissionError as error:
            who = "" if run_as is None else f" as the user {run_as.name}"
            why = f"cannot run {program}{who}: {error.strerror}"
            raise ClusterStartupError(why, {"command": arguments}) from error

    def send(self, number: signal.Signals) -> None:
        """Send the server a signal, such as SIGQUIT for an immediate shutdown; if there is none, do nothing."""
        server = self.postmaster()
        if server is not None:
            with server:
                self._send(server, number)

    def _send(self, server: Process, number: signal.Signals) -> None:
        if number != signal.SIGHUP:
            self._expected = False
        if number == signal.SIGINT and not server.catches(number):
            # A server inherits that SIGINT is ignored, as in a background job of a shell, until it sets its handlers.
            # Before that it has touched nothing, and may be ended in any way.
            number = signal.SIGTERM
        try:
            server.signal(number)
        except PermissionError as error:
            why = f"may not signal the server of {self.data_directory}; ask as root or as its owner"
            raise PermissionError(error.errno, why) from error

    def stop(self) -> None:
        """Tell the server to stop once all clients have left by themselves (smart shutdown); do not wait for it."""
        self.send(signal.SIGTERM)

    def shutdown(self) -> None:
        """Tell the server to end all connections and stop (fast shutdown); do not wait for it."""
        self.send(signal.SIGINT)

    def kill(self) -> None:
        """End the server and its processes at once with SIGKILL; the next start has a crash to recover from.

        Its processes are ended with it, and `wait_until_stopped` waits for them too: one that lived on would keep
        the shared memory, and no new server could start ("pre-existing shared memory block is still in use").
        """
        server = self.postmaster()
        if server is None:
            return
        # The server is held on to as well: while the kernel takes a large one apart it is not to be found any more,
        # but its shared memory and its lock file are.
        killed = [server, *children(server)]
        self._killed += killed
        self._send(server, signal.SIGKILL)
        for process in killed[1:]:
            process.signal(signal.SIGKILL)

    def reload(self) -> None:
        """Tell the server to read its configuration files again; do not wait for it."""
        server = self.postmaster()
        if server is None:
            return
        with server:
            # A server that does not catch it yet would be ended by it, and will read the files anyway
            # (PostmasterMain in postmaster.c: the handler is installed before the configuration is read).
            if server.catches(signal.SIGHUP):
                self._send(server, signal.SIGHUP)

    def wait_until_started(self, timeout: float = 10, delay: float = 0.05) -> None:
        """Wait until the server is ready for connections, for `timeout` seconds at most.

        postmaster.pid is looked at every `delay` seconds; that the server ends is noticed at once.

        Raises ClusterNotRunningError if there is no server, ClusterStartupError if it ends, with the reason as far
        as it can be told and `command` and `returncode` in its details, and ClusterTimeoutError if it is not ready
        in time; it is left as it is.
        """
        deadline = time.monotonic() + timeout
        server = self.postmaster()
        if server is None:
            raise self._not_started() if self._expected else self._not_running()
        with server:
            while (written := self.announced_by(server)) is None or written.status != "ready":
                left = deadline - time.monotonic()
                if server.wait(min(delay, left)):
                    raise self._not_started()
                if left <= 0:
                    raise self._not_ready(timeout, written)
        self._expected = False

    def wait_until_stopped(self, timeout: float = 10, delay: float = 0.05) -> None:  # noqa: ARG002 - py-postgresql's
        """Wait until the server has ended, for `timeout` seconds at most; return at once if there is none.

        After a `kill` of ours, this waits for all processes of the server. Nothing is done every `delay` seconds: the
        kernel tells.

        Raises ClusterTimeoutError if it has not ended in time; it is left as it is.
        """
        deadline = time.monotonic() + timeout
        with contextlib.ExitStack() as held:
            server = self.postmaster()
            ending = list(self._killed)
            if server is not None:
                ending.append(held.enter_context(server))
            for process in ending:
                if not process.wait(deadline - time.monotonic()):
                    raise self._not_stopped(timeout)
        for process in self._killed:
            process.close()
        self._killed.clear()
        if self.daemon_process is not None:
            self.daemon_process.poll()

    def restart(
        self, logfile: LogFile | None = None, settings: GivenSettings | None = None, timeout: float = 10
    ) -> None:
        """Stop the server once all clients have left (`stop`), start it (`start`) and wait until it is ready.

        A server that does not run is just started. `timeout` is for stopping and for starting each. When clients do
        not leave in time, their connections are ended (`shutdown`): a smart shutdown cannot be called off, and a
        server that was left in it would let nobody in until the last of them is gone.

        Raises what `wait_until_stopped`, `start` and `wait_until_started` raise.
        """
        self.stop()
        try:
            self.wait_until_stopped(timeout)
        except ClusterTimeoutError:
            self.shutdown()
            self.wait_until_stopped(timeout)
        self.start(logfile, settings)
        self.wait_until_started(timeout)

    def _not_running(self) -> ClusterNotRunningError:
        return ClusterNotRunningError(f"no server runs on {self.data_directory}; start it first")

    def _not_started(self) -> ClusterStartupError:
        """Return why the server has ended, as far as it can be told from outside."""
        child = self.daemon_process
        returncode = None if child is None else child.poll()
        other = self.pid()
        reasons = [] if other is None else [f"a server that somebody else started, with pid {other}, runs on it"]
        reasons = reasons or preflight.reasons(
            self.installation,
            self.data_directory,
            run_as=self.run_as,
            config_file=self.config_file,
            settings=self._given,
        )
        reasons = reasons or ["its log tells why; give it a logfile if it has none"]
        status = "" if returncode is None else f" with status {returncode}"
        return ClusterStartupError(
            f"the server of {self.data_directory} ended{status} before it was ready: {'; '.join(reasons)}",
            {"command": None if child is None else child.args, "returncode": returncode, "reasons": reasons},
        )

    def _not_ready(self, timeout: float, written: PidFile | None) -> ClusterTimeoutError:
        status = None if written is None else written.status
        what_next = {
            None: "it has written no status yet",
            "starting": "it is starting or recovering, which can take long after a crash; wait on",
            "standby": "it recovers, or is a standby, and takes no connections as long as it does; "
            "set hot_standby = on and restart it if it should",
            "stopping": "it is shutting down; wait until it has stopped, and start it again",
            "ready": "it has become ready this moment",
        }[status]
        return ClusterTimeoutError(
            f"the server of {self.data_directory} was not ready after {timeout} s: {what_next}",
            {"timeout": timeout, "status": status},
        )

    def _not_stopped(self, timeout: float) -> ClusterTimeoutError:
        written = self.announced()
        status = None if written is None else written.status
        what_next = (
            "it takes no new clients and waits until the old ones have left; shutdown() ends their connections"
            if status == "stopping"
            else "it was not told to, or is still at it; shutdown() ends all connections and stops it"
        )
        return ClusterTimeoutError(
            f"the server of {self.data_directory} had not stopped after {timeout} s: {what_next}",
            {"timeout": timeout, "status": status},
        )


_at_exit: dict[Server, int] = {}
"""The servers to shut down when this process exits, and the process id of the process that started them."""


@atexit.register
def _shut_down_at_exit() -> None:
    """Shut down what is not detached: all servers at once, then wait for them."""
    mine = [server for server, starter in _at_exit.items() if starter == os.getpid()]
    for server in mine:
        server.shutdown()
    deadline = time.monotonic() + _AT_EXIT_TIMEOUT
    for server in mine:
        try:
            server.wait_until_stopped(deadline - time.monotonic())
        except ClusterTimeoutError:
            server.send(signal.SIGQUIT)
