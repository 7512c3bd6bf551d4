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
        with self._ballast.open("ab", buffering=0) as file:
            before = -1
            # Some of what is kept back for files that are not on the disk yet is free when they are.
            while before != (before := file.tell()):
                for size in (64 * 1024, 1024):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(size))
                os.fsync(file.fileno())

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()

    def make(self, access: str) -> None:
        """Make it read-only (`ro`) or writable again (`rw`)."""
        _run("mount", "-o", f"remount,{access}", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int, kind: str = "tmpfs") -> Iterator[Disk]:
    """Have a disk at a path that does not exist yet; whoever still works on it keeps what he has open.

    Its file system is of that `kind`: tmpfs, ramfs (which has no extended attributes, and no limit) or ext4.
    """
    path.mkdir()
    image = path.with_suffix(".image")
    uid = os.geteuid() if SERVER_USER is None else SERVER_USER.uid
    try:
        if kind == "ext4":
            with image.open("wb") as file:
                file.truncate(megabytes << 20)
            _run(
                "mkfs.ext4",
                "-q",
                "-m",
                "0",
                "-b",
                "4096",
                "-O",
                "^has_journal",
                "-E",
                f"root_owner={uid}:0",
                str(image),
            )
            _run("mount", "-o", "loop", str(image), str(path))
        else:
            options = f"uid={uid},size={megabytes}m,mode=755" if kind == "tmpfs" else "mode=755"
            _run("mount", "-t", kind, "-o", options, kind, str(path))
        try:
            yield Disk(path)
        finally:
            _run("umount", "--lazy", str(path))
    finally:
        image.unlink(missing_ok=True)


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
