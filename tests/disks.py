"""Small file systems for the tests, which can be filled, made read-only and taken away. Only root can mount them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import SERVER_USER

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")


class Disk:
    """A file system of some megabytes at `path`, whose owner is the servers' user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte of it free."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(64 * 1024))

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()

    def make(self, access: str) -> None:
        """Make it read-only (`ro`) or writable again (`rw`)."""
        _run("mount", "-o", f"remount,{access}", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[Disk]:
    """Have a disk at a path that does not exist yet; whoever still works on it keeps what he has open."""
    path.mkdir()
    uid = os.geteuid() if SERVER_USER is None else SERVER_USER.uid
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,uid={uid},mode=755", "tmpfs", str(path))
    try:
        yield Disk(path)
    finally:
        _run("umount", "--lazy", str(path))


@contextlib.contextmanager
def bound(directory: Path, path: Path) -> Iterator[None]:
    """Have a directory at another path too, as if it were a disk mounted there; without it, that one is empty."""
    path.mkdir(exist_ok=True)
    _run("mount", "--bind", str(directory), str(path))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(path))


def _run(*arguments: str) -> None:
    subprocess.run(arguments, check=True)
