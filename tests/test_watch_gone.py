"""Watched directories that are missing, closed to us, removed, moved away, or replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from watching import Ear, kernel_watches, quiet, unprivileged, watching

from pgsupervisor.system.watch import Watcher


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


def test_a_directory_that_may_not_be_read(short_directory: Path) -> None:
    """Such a watch is refused, and leaves nothing behind: once the directory may be read, it can be watched."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        path = short_directory / "closed"
        path.mkdir(0o300)
        with pytest.raises(PermissionError, match=str(path)):
            watcher.watch(str(path), "name", ear.hear)
        assert kernel_watches() == []
        path.chmod(0o700)
        watcher.watch(str(path), "name", ear.hear)
        (path / "name").touch()
        await ear.heard()

    with unprivileged():
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
        assert kernel_watches() == []

    watching(play)


def test_a_directory_that_is_moved_away(tmp_path: Path) -> None:
    """That is told once, whatever the name; the place it went to is not watched any more."""
    path = tmp_path / "directory"
    path.mkdir()

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        cancels = [watcher.watch(str(path), name, ear.hear) for name, ear in zip("ab", ears, strict=True)]
        path.rename(tmp_path / "away")
        for ear in ears:
            await ear.heard()
        assert kernel_watches() == []
        (tmp_path / "away" / "a").touch()
        await quiet(watcher, tmp_path)
        assert [ear.times for ear in ears] == [1, 1]
        for cancel in cancels:
            cancel()

    watching(play)


def test_a_directory_that_is_moved_away_and_replaced(tmp_path: Path) -> None:
    """A watch that is begun before that is told hears the new directory, as do those of before; the old one is left."""
    path = tmp_path / "directory"
    path.mkdir()

    async def play(watcher: Watcher) -> None:
        old, new = Ear(), Ear()
        cancel_old = watcher.watch(str(path), "name", old.hear)
        path.rename(tmp_path / "away")
        path.mkdir()
        cancel_new = watcher.watch(str(path), "name", new.hear)
        await old.heard()
        await quiet(watcher, tmp_path, old, new)
        (path / "name").touch()
        await old.heard()
        await new.heard()
        cancel_old()
        await quiet(watcher, tmp_path, new)
        (path / "name").unlink()
        await new.heard()
        cancel_new()
        assert kernel_watches() == []

    watching(play)


def test_a_removed_directory_that_somebody_is_in(tmp_path: Path) -> None:
    """The kernel does not tell of its removal then; a new watch finds it out, for all."""
    path = tmp_path / "directory"
    path.mkdir()
    held = os.open(path, os.O_RDONLY)

    async def play(watcher: Watcher) -> None:
        old, new = Ear(), Ear()
        watcher.watch(str(path), "name", old.hear)
        path.rmdir()
        path.mkdir()
        watcher.watch(str(path), "name", new.hear)
        await old.heard()
        (path / "name").touch()
        await old.heard()
        await new.heard()

    try:
        watching(play)
    finally:
        os.close(held)
