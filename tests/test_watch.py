"""Watched directories: real inotify, and the polling that replaces it where the kernel refuses."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

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


def watching(play: Callable[[Watcher], Awaitable[None]], inotify: Callable[[], BaseObserver] = Observer) -> None:
    """Play something with a watcher, and close it."""

    async def world() -> None:
        watcher = Watcher(asyncio.get_running_loop(), inotify)
        try:
            await play(watcher)
        finally:
            watcher.close()

    asyncio.run(world())


async def silence(watcher: Watcher, directory: Path, *ears: Ear) -> None:
    """Pass over what was on its way, and be sure of it: a file beside is made, and heard of last."""
    last = Ear()
    cancel = watcher.watch(str(directory), "last", last.hear)
    before = [ear.times for ear in ears]
    (directory / "last").touch()
    await last.heard()
    cancel()
    (directory / "last").unlink()
    assert [ear.times for ear in ears] == before


def test_every_kind_of_change(tmp_path: Path) -> None:
    """A name that is made, written, renamed to, renamed away or removed is told each time."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.watch(str(tmp_path), "name", ear.hear)
        path = tmp_path / "name"
        path.touch()
        await ear.heard()
        with path.open("a") as file:
            file.write("x")
            file.flush()
            await ear.heard()
        (tmp_path / "new").write_text("y")
        (tmp_path / "new").rename(path)
        await ear.heard()
        path.rename(tmp_path / "old")
        await ear.heard()
        (tmp_path / "old").rename(path)
        await ear.heard()
        path.unlink()
        await ear.heard()

    watching(play)


def test_what_is_no_change(tmp_path: Path) -> None:
    """Reading is not told, nor is another name."""
    path = tmp_path / "name"
    path.write_text("x")

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.watch(str(tmp_path), "name", ear.hear)
        path.read_text()
        os.listdir(tmp_path)
        (tmp_path / "other").touch()
        (tmp_path / "name.new").touch()
        await silence(watcher, tmp_path, ear)
        assert ear.times == 0

    watching(play)


def test_one_watch_for_a_directory(tmp_path: Path) -> None:
    """All names of a directory, however it is called, share the kernel's one watch; each is told its own."""
    link = tmp_path / "link"
    real = tmp_path / "real"
    real.mkdir()
    link.symlink_to(real)

    async def play(watcher: Watcher) -> None:
        one, other, both = Ear(), Ear(), Ear()
        watcher.watch(str(real), "one", one.hear)
        watcher.watch(str(link), "other", other.hear)
        watcher.watch(str(link), "one", both.hear)
        assert len(watcher._inotify.emitters) == 1
        (real / "one").touch()
        await one.heard()
        await both.heard()
        assert other.times == 0
        (link / "other").touch()
        await other.heard()

    watching(play)


def test_cancel(tmp_path: Path) -> None:
    """After a cancel nothing more is told to that one; the others hear on, and the last one ends the kernel's watch."""

    async def play(watcher: Watcher) -> None:
        one, other = Ear(), Ear()
        cancel_one = watcher.watch(str(tmp_path), "name", one.hear)
        cancel_other = watcher.watch(str(tmp_path), "name", other.hear)
        cancel_one()
        (tmp_path / "name").touch()
        await other.heard()
        assert one.times == 0
        cancel_other()
        assert len(watcher._inotify.emitters) == 0
        again = Ear()
        watcher.watch(str(tmp_path), "name", again.hear)
        (tmp_path / "name").unlink()
        await again.heard()

    watching(play)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Such a watch is refused, and leaves nothing behind: once the directory is there, it can be watched."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        path = tmp_path / "later"
        with pytest.raises(FileNotFoundError):
            watcher.watch(str(path), "name", ear.hear)
        path.mkdir()
        watcher.watch(str(path), "name", ear.hear)
        (path / "name").touch()
        await ear.heard()

    watching(play)


def test_a_directory_that_goes_and_comes_again(tmp_path: Path) -> None:
    """The removal of the directory is told; a new watch hears the new directory, and the old cancel spares it."""

    async def play(watcher: Watcher) -> None:
        old, new = Ear(), Ear()
        path = tmp_path / "directory"
        path.mkdir()
        cancel_old = watcher.watch(str(path), "name", old.hear)
        path.rmdir()
        await old.heard()
        path.mkdir()
        watcher.watch(str(path), "name", new.hear)
        cancel_old()
        (path / "name").touch()
        await new.heard()
        assert old.times == 1

    watching(play)


def test_a_directory_that_is_replaced_in_one_breath(tmp_path: Path) -> None:
    """Where a directory is removed and made again before we look, the watch goes on with the new one."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        path = tmp_path / "directory"
        path.mkdir()
        cancel = watcher.watch(str(path), "name", ear.hear)
        path.rmdir()
        path.mkdir()
        await ear.heard()
        (path / "name").touch()
        await ear.heard()
        cancel()
        assert len(watcher._inotify.emitters) == 0

    watching(play)


class FullObserver(Observer):  # type: ignore[valid-type,misc]  # watchdog chooses the class at import
    """The kernel, when all its watches are taken."""

    def schedule(self, *_: object, **__: object) -> None:
        """Refuse."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_instance() -> BaseObserver:
    """Refuse, as the kernel does when all inotify instances are taken."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("inotify", [FullObserver, no_instance])
def test_polling_where_the_kernel_refuses(tmp_path: Path, inotify: Callable[[], BaseObserver]) -> None:
    """Where no watch is left, changes are found by looking, in two directories as in one."""

    async def play(watcher: Watcher) -> None:
        ears = {tmp_path / name: Ear() for name in ("one", "two")}
        for path, ear in ears.items():
            path.mkdir()
            watcher.watch(str(path), "name", ear.hear)
            (path / "name").touch()
        for ear in ears.values():
            await ear.heard()
        with pytest.raises(FileNotFoundError):
            watcher.watch(str(tmp_path / "three"), "name", ear.hear)

    watching(play, inotify)


def test_other_errors_are_errors() -> None:
    """Only a refusal for want of watches is made up for."""

    def broken() -> BaseObserver:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        watching(lambda _watcher: asyncio.sleep(0), broken)
