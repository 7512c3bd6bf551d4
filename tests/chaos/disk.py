"""A disk in memory, that is small, and can be full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from machine import give_back_memory

from pgsupervisor.system.process import run


class Disk:
    """What is mounted at a path; a directory that is no mount point is not filled, since it has others' disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        if not self.path.is_mount():
            return
        size = 1 << 30
        with self._ballast.open("ab") as file:
            while size:
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                except OSError:  # so much is not free
                    size //= 2

    def free(self) -> None:
        """Have room again."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def mounted(path: Path, megabytes: int) -> Iterator[Disk]:
    """Have a tmpfs mounted at a path; who may not mount one has a directory. Nobody may be at work there afterwards."""
    path.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    mounting = run(mount, environment=os.environ)
    if mounting.returncode != 0:
        print(f"no disk of its own: {mounting.stderr.strip()}")  # noqa: T201  # what this run does not show
    path.chmod(0o1777)  # its servers make their sockets here
    try:
        yield Disk(path)
    finally:
        give_back_memory(path)
        if mounting.returncode == 0:
            run(["umount", "--lazy", str(path)], environment=os.environ)
