"""initdb: making a data directory, or nothing at all.

initdb cleans up behind itself when it fails, but not when it is killed; then what it left half made is removed here,
so that no directory remains that looks like a cluster and is none. The superuser's password goes to it through a
pipe: it is never in a file, an argument list or an environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pgsupervisor.errors import ClusterInitializationError, ClusterTimeoutError, InitDBError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.removal import remove_unfinished
from pgsupervisor.system.identity import User, acting_as, as_ourselves
from pgsupervisor.system.process import run
from pgsupervisor.system.safepath import acting_in, nearest

PASSWORD_FILE = "/dev/stdin"  # noqa: S105 - where a password is read from, and no password
"""Where initdb finds the password that `initialize` was given."""

_LONGEST_PASSWORD = 4096
"""In bytes; a pipe takes as much at once (PIPE_BUF in pipe(7)), whether initdb reads it or not."""


class LogFile(Protocol):
    """An open, writable file, as Python's open() returns it, or anything else with a file descriptor."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        ...


def initialize(
    arguments: tuple[str, ...],
    data_directory: Path,
    *,
    run_as: User | None,
    password: str | None,
    timeout: float | None,
    logfile: LogFile | None,
) -> None:
    """Run initdb (`arguments`) to make `data_directory`; a parent directory that is missing is made too.

    `password`, in UTF-8, is what initdb reads from PASSWORD_FILE. `timeout` is in seconds; when it is over, initdb and
    all that it started are killed. What initdb printed goes to `logfile` in the end.

    Raises InitDBError if initdb fails, and ClusterTimeoutError; both leave the directory as it was. Raises ValueError
    for a password that cannot be handed over, and ClusterInitializationError if initdb or the directory cannot be used.
    """
    with _password_pipe(password, run_as) as stdin, _untouched_on_failure(data_directory, run_as):
        try:
            finished = run(
                arguments,
                environment=command.environment(os.environ, run_as=run_as),
                run_as=run_as,
                timeout=timeout,
                stdin=stdin,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterTimeoutError(
                f"initdb was not done with {data_directory} after {timeout} s; it was ended, and nothing is left of it",
                {"command": arguments, "timeout": timeout},
            ) from error
        except PermissionError as error:
            who = "" if run_as is None else f" as the user {run_as.name}"
            raise ClusterInitializationError(f"cannot run {arguments[0]}{who}: {error.strerror}") from error
        if logfile is not None:
            with open(logfile.fileno(), "w", encoding="utf-8", errors="surrogateescape", closefd=False) as log:
                log.write(finished.stdout + finished.stderr)
        if finished.returncode != 0:
            raise InitDBError(
                f"initdb could not make {data_directory}: {finished.stderr.strip() or finished.returncode}",
                {
                    "command": arguments,
                    "returncode": finished.returncode,
                    "stdout": finished.stdout,
                    "stderr": finished.stderr,
                },
            )


@contextlib.contextmanager
def _password_pipe(password: str | None, run_as: User | None) -> Iterator[int]:
    """Yield a file descriptor from which the password can be read; it ends at once if there is none."""
    line = b"" if password is None else password.encode() + b"\n"
    if password == "" or len(line) > _LONGEST_PASSWORD or any(mark in line[:-1] for mark in (b"\n", b"\r", b"\0")):
        raise ValueError("initdb reads a password as one line: it has 1 to 4095 bytes, and no line end or NUL in it")
    reading, writing = os.pipe()
    try:
        with open(writing, "wb") as file:
            file.write(line)
        if run_as is not None:
            # initdb opens the pipe anew, by the name /dev/stdin, and then it matters whose it is.
            with as_ourselves():
                os.fchown(reading, run_as.uid, run_as.gid)
        yield reading
    finally:
        os.close(reading)


@contextlib.contextmanager
def _untouched_on_failure(path: Path, run_as: User | None) -> Iterator[None]:
    """Let initdb make the cluster in an empty directory, and have it afterwards as it was before if that fails.

    The directory is made here, since its parent is often not the other user's to write, and it is locked: of two who
    make a cluster in it at the same time, the one who fails must not remove what the other has made. Root gives his
    empty directory to the other user, who could not use it otherwise; where somebody else could exchange it for another
    meanwhile, root leaves all that to the other user.
    """
    with contextlib.ExitStack() as held:
        try:
            existed = path.is_dir()
            with acting_in(nearest(str(path)), run_as):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                held.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if any(path.iterdir()):
                    raise ClusterInitializationError(
                        f"{path} is not empty: choose another directory, or remove what is in it"
                    )
                if run_as is not None and os.fstat(descriptor).st_uid == os.geteuid():
                    os.fchown(descriptor, run_as.uid, run_as.gid)
        except BlockingIOError as error:
            raise ClusterInitializationError(f"somebody else is making a cluster in {path}") from error
        except OSError as error:
            raise ClusterInitializationError(f"cannot use {path} for a cluster: {error.strerror}") from error
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(_undo, path, run_as, existed=existed)
            yield
            on_failure.pop_all()


def _undo(path: Path, run_as: User | None, *, existed: bool) -> None:
    if path.is_dir():
        with acting_as(run_as):
            remove_unfinished(path)
        if not existed:
            with acting_in(str(path.parent), run_as):
                path.rmdir()
