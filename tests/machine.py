"""What this machine lends to the tests: its installations, a user for the servers, short directories."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from pgsupervisor.daemon import staging
from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres import pidfile
from pgsupervisor.postgres.discovery import discover
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.process import run

SERVER_USER = staging.server_user()
"""Whom servers run as; None is the user who runs the tests."""

NewDataDirectory: TypeAlias = Callable[[Installation, Path], Path]
"""Puts an initialised data directory of an installation at a path; its server listens on a Unix socket beside it."""

STAGED = tempfile.mkdtemp(prefix="pgs-", dir="/tmp")
"""Where a copy of the embedded PostgreSQL goes if the server's user cannot enter the checkout that has it."""


def _installations() -> list[Installation]:
    """Find every installation that the server's user can run; what lies in somebody's home he may not enter."""
    os.chmod(STAGED, 0o755)
    found = []
    for installation in discover():
        with contextlib.suppress(InstallationError):
            found.append(staging.within_reach(installation, SERVER_USER, STAGED))
    return found


INSTALLATIONS = _installations()


@contextlib.contextmanager
def lent(*, alone: bool) -> Iterator[None]:
    """Have the machine beside the tests of other workers, or alone.

    Who wants it alone waits for those that have begun, and keeps the others from beginning. They know of each other by
    locks of two files, any two that all of them have.
    """
    with (
        Path(__file__).open(encoding="utf-8") as machine,
        Path(__file__).with_name("conftest.py").open(encoding="utf-8") as entrance,
    ):
        fcntl.flock(entrance, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(entrance, fcntl.LOCK_UN)
        try:
            yield
        finally:
            # To close it would not do: a child that a test has forked has it as well.
            fcntl.flock(machine, fcntl.LOCK_UN)


def make_directory(parent: str = "/tmp") -> Path:
    """Make a short directory that the server's user owns (a Unix socket's path ends at 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="pgs-", dir=parent))
    if SERVER_USER is not None:
        os.chown(path, SERVER_USER.uid, SERVER_USER.gid)
    return path


def remove_directory(path: Path) -> None:
    """Remove a directory in which no server works any more, and the shared memory of those that were killed there."""
    give_back_memory(path)
    shutil.rmtree(path)


def give_back_memory(path: Path) -> None:
    """Give back the shared memory of servers that were killed in a directory.

    A server's next start would do that, but there is no next start.
    """
    for file in path.glob("*/postmaster.pid"):
        written = pidfile.read(str(file.parent))
        if written is not None and written.shared_memory is not None:
            # It fails where another server has cleared up already.
            run(["ipcrm", "-m", str(written.shared_memory[1])], environment=os.environ)
