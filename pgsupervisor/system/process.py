"""Processes: start one, hold one, tell one from its successor.

A number is no identity. The kernel hands a process id to the next process as soon as the old one is reaped, so
a signal that goes to a bare pid can end a stranger. What is held here is a *pidfd* (pidfd_open(2)): a file
descriptor that means this very process for as long as it is open, that signals nobody once the process is
gone, and that becomes readable when the process ends, also for processes that are no children of ours.

A pid that was read from a file must be matched against the process's own facts (`Facts`) *after* its pidfd was
opened: what the facts describe then is what the descriptor holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

import psutil

from pgsupervisor.system import identity, offspring
from pgsupervisor.system.identity import User, as_ourselves
from pgsupervisor.values import frozen


@frozen
class Facts:
    """What the kernel says of a process: enough to know it again.

    `started` is in seconds since the epoch, with the clock tick's resolution of 10 ms, and moves when the wall
    clock is set; `executable` and `directory` (the working directory) are None where we may not look.
    """

    pid: int
    parent: int
    started: float
    executable: str | None
    directory: str | None
    uid: int


@as_ourselves()
def facts(pid: int) -> Facts | None:
    """Return what is known of the process `pid`.

    None if there is none, or only a zombie waiting to be reaped, or if it is hidden from us (hidepid, proc(5)).
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return Facts(
                pid=pid,
                parent=process.ppid(),
                started=process.create_time(),
                executable=_link(pid, "exe"),
                directory=_link(pid, "cwd"),
                uid=process.uids().effective,
            )
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError, OverflowError):
        return None


@as_ourselves()
def is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and only waits to be reaped by its parent; its number is taken until then."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _link(pid: int, name: str) -> str | None:
    """Read a link of /proc/PID; None where it is not ours to read. A deleted target loses the kernel's suffix."""
    try:
        return os.readlink(f"/proc/{pid}/{name}").removesuffix(" (deleted)")
    except OSError:
        return None


@as_ourselves()
def works_in(pid: int, directory: str) -> bool | None:
    """Tell whether a directory is the working directory of a process; None where it is not ours to know.

    They are compared as directories, not as names: a process in a container may know it by another one.
    Raises FileNotFoundError if there is no such process, or no such directory.
    """
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(directory))
    except PermissionError:
        return None


@as_ourselves()
def at_work_in(directory: str) -> list[int]:
    """Return the ids of the processes that work in a directory, as far as we may know; each may have ended since."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ProcessLookupError):
            if works_in(pid, directory):
                found.append(pid)
    return found


class Process:
    """A process that we hold by its pidfd, whoever started it.

    >>> with Process(os.getpid()) as held:
    ...     held.alive()
    True
    """

    def __init__(self, pid: int, pidfd: int | None = None) -> None:
        """Hold the process `pid`, by a `pidfd` of it if there is one already.

        Raises ProcessLookupError if there is none.
        """
        self.pid = pid
        self.pidfd = _pidfd_of(pid) if pidfd is None else pidfd

    def fileno(self) -> int:
        """Return the pidfd, which is readable once the process has ended."""
        return self.pidfd

    def alive(self) -> bool:
        """Tell whether the process has not ended yet. A zombie has ended."""
        return not self.wait(0)

    def wait(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds (None: for ever) and tell whether the process has ended. Reaps nobody."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))

    def catches(self, number: signal.Signals) -> bool:
        """Tell whether the process has a handler for a signal, so that the signal does not just end it."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # As bytes: a process can have any in its name, but no line end.
            for line in Path(f"/proc/{self.pid}/status").read_bytes().split(b"\n"):
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], base=16) >> (number - 1) & 1)
        return False

    def arguments(self) -> list[str]:
        """Return the command line of the process, the program first; empty if it has ended."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return os.fsdecode(Path(f"/proc/{self.pid}/cmdline").read_bytes()).split("\0")[:-1]
        return []

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal, and tell whether there was still a process to receive it, that we have not let go of.

        Raises PermissionError if the process belongs to somebody else.
        """
        if self.pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """Let go of the process; it is not ended by that. May be called twice."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Identity(TypedDict, total=False):
    """The arguments with which subprocess changes who a program runs as."""

    user: int
    group: int
    extra_groups: list[int]


def spawn(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: int,
    run_as: User | None = None,
) -> subprocess.Popen[bytes]:
    """Start a long-running program in a session of its own and return at once.

    Its standard input is /dev/null, its standard output and standard error go straight into the file descriptor
    `output`, and no other descriptor of ours reaches it. A session of its own keeps a terminal's Ctrl-C away
    from it. With `run_as` it runs as that user, with all of that user's groups (only root may ask for another
    user than itself); a thread that acts as another user runs it as that one, unless told otherwise. Files that it
    creates are its own alone (umask 077).

    Only subprocess's own arguments are used: Python code between fork and exec (`preexec_fn`) can deadlock in a
    process that has threads, as every user of watchdog has.

    Raises OSError if the program cannot be executed.
    """
    run_as = run_as or identity.acting()
    with as_ourselves():
        return offspring.start(
            lambda: subprocess.Popen(
                list(arguments),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                umask=0o077,
                **_identity(run_as),
            )
        )


def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    run_as: User | None = None,
    timeout: float | None = None,
    stdin: int = subprocess.DEVNULL,
    directory: str = "/",
) -> subprocess.CompletedProcess[str]:
    """Run a short program to its end and return what it said; bytes that are no UTF-8 are kept as surrogates.

    `timeout` is in seconds; when it is over, the program and all that it started (its process group) are killed, and
    subprocess.TimeoutExpired is raised. `stdin` is a file descriptor that the program may read, and `directory` where
    it works.
    Raises OSError if the program cannot be executed.
    """
    run_as = run_as or identity.acting()
    with as_ourselves():
        started = offspring.start(
            lambda: subprocess.Popen(
                list(arguments),
                env=dict(environment),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="surrogateescape",
                cwd=directory,
                start_new_session=True,
                umask=0o077,
                **_identity(run_as),
            )
        )
    with started as program:
        _programs.add(program)
        try:
            stdout, stderr = program.communicate(timeout=timeout)
        finally:
            _programs.discard(program)
            # Not reaped yet, so its number, which is its group's too, can belong to nobody else.
            if program.returncode is None:
                os.killpg(program.pid, signal.SIGKILL)
    offspring.reap_orphans()
    return subprocess.CompletedProcess(program.args, program.returncode, stdout, stderr)


_programs: set[subprocess.Popen[str]] = set()
"""The short programs that are running now."""


def abandon() -> None:
    """Kill all short programs that are running, so that whoever waits for one in a thread does not keep us."""
    for program in tuple(_programs):
        process = hold(program.pid)
        if process is not None:
            with process:
                # Not reaped after its number was held: so it is this program that is held.
                if program.returncode is None:
                    process.signal(signal.SIGKILL)


def _identity(run_as: User | None) -> _Identity:
    """Return subprocess's arguments for another user; none for ourselves: only root may even set its own ids."""
    if run_as is None or (run_as.uid == os.geteuid() and os.geteuid() != 0):
        return {}
    return {"user": run_as.uid, "group": run_as.gid, "extra_groups": list(run_as.groups)}


def hold(pid: int) -> Process | None:
    """Hold the process `pid`, or return None if there is no such process."""
    with contextlib.suppress(ProcessLookupError):
        return Process(pid)
    return None


def _pidfd_of(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # What has the number is but a thread (pidfd_open(2); older kernels say the latter).
        if error.errno in {errno.ENOENT, errno.EINVAL}:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise


@as_ourselves()
def children(parent: Process) -> list[Process]:
    """Hold the children of a process; the caller closes them. Empty if the process has ended."""
    with contextlib.ExitStack() as on_doubt, contextlib.suppress(psutil.NoSuchProcess):
        held: list[Process] = []
        for child in psutil.Process(parent.pid).children():
            process = hold(child.pid)
            if process is not None:
                on_doubt.callback(process.close)
                known = facts(process.pid)
                if known is not None and known.parent == parent.pid:
                    held.append(process)
                else:
                    process.close()
        # Only while the parent has not ended was its number its own all the time.
        if parent.alive():
            on_doubt.pop_all()
            return held
    return []


@as_ourselves()
def descendants(pid: int) -> list[int]:
    """Return the ids of all that a process has brought forth whose parents live, parents before children.

    Each may have ended since, and the kernel may pass one over while others end: whoever needs all of them looks again.
    """
    if not os.path.exists("/proc/thread-self/children"):  # a kernel that was built without it
        with contextlib.suppress(psutil.NoSuchProcess):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    family = [pid]
    for parent in family:
        family += _children(parent)
    return family[1:]


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        threads = os.listdir(f"/proc/{pid}/task")
        told = (Path(f"/proc/{pid}/task/{each}/children").read_text(encoding="ascii") for each in threads)
        return [int(child) for children in told for child in children.split()]
    return []
