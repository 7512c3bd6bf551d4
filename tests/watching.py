"""What tests of watched directories share: ears, a watcher for as long as a play lasts, and the kernel's own word."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from machine import SERVER_USER
from watchdog.observers.inotify_c import InotifyEvent

from pgsupervisor.system.happenings import Inotify
from pgsupervisor.system.remote import remote_filesystem
from pgsupervisor.system.watch import Watcher

LIMIT = 20.0
"""Seconds after which what should happen is taken not to."""


class Ear:
    """Hears changes."""

    def __init__(self) -> None:
        self.times = 0
        self._heard = asyncio.Event()

    def hear(self) -> None:
        """Be told of a change."""
        self.times += 1
        self._heard.set()

    async def heard(self) -> None:
        """Wait until something is heard, from now on or since the last time."""
        async with asyncio.timeout(LIMIT):
            await self._heard.wait()
        self._heard.clear()


def watching(
    play: Callable[[Watcher], Awaitable[None]],
    refused: Callable[[str, str], None] = lambda _directory, _why: None,
    inotify: Callable[[], Inotify] = Inotify,
    remote: Callable[[int], str | None] = remote_filesystem,
) -> None:
    """Play something with a watcher, and close it."""

    async def world() -> None:
        watcher = Watcher(asyncio.get_running_loop(), refused, inotify=inotify, remote=remote)
        try:
            await play(watcher)
        finally:
            watcher.close()

    asyncio.run(world())


def appears(path: Path, text: str = "") -> None:
    """Wait until there is a file, with that text in it, in a directory that is there already."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.watch(str(path.parent), path.name, ear.hear)
        while not _says(path, text):
            await ear.heard()

    watching(play)


def _says(path: Path, text: str) -> bool:
    return path.name in os.listdir(path.parent) and text in path.read_text()


async def quiet(watcher: Watcher, directory: Path, *ears: Ear) -> None:
    """Let pass what was on its way, and forget it: a file beside is made, and heard of last."""
    last = Ear()
    cancel = watcher.watch(str(directory), "last", last.hear)
    (directory / "last").touch()
    await last.heard()
    cancel()
    (directory / "last").unlink()
    for ear in ears:
        ear._heard.clear()


def kernel_watches() -> list[int]:
    """Return the masks of all watches of our inotify instances, as the kernel has them; there must be one instance."""
    instances = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:inotify":
                instances.append(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
    (instance,) = instances
    lines = [line.split() for line in instance.splitlines() if line.startswith("inotify ")]
    return [int(field.removeprefix("mask:"), 16) for line in lines for field in line if field.startswith("mask:")]


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be somebody whom a directory's mode can keep out, as it cannot root."""
    if SERVER_USER is None:
        yield
        return
    os.seteuid(SERVER_USER.uid)
    try:
        yield
    finally:
        os.seteuid(0)


class BusyInotify(Inotify):
    """An inotify whose reader comes to read only when it is let."""

    free = threading.Event()

    def read_events(self, *, event_buffer_size: int = 2**16) -> list[InotifyEvent]:
        """Read, sooner or later."""
        self.free.wait()
        return super().read_events(event_buffer_size=event_buffer_size)
