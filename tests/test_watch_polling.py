"""The polling that replaces inotify where the kernel refuses it, or would not see a change."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from watchdog.observers.polling import PollingEmitter
from watching import LIMIT, Ear, watching

from pgsupervisor.system.happenings import End, Inotify, Tell
from pgsupervisor.system.watch import Watcher


class FullInotify(Inotify):
    """The kernel, when all its watches are taken."""

    def watch(self, path: str, tell: Tell, *, contents: bool) -> End:
        """Refuse."""
        del path, tell, contents
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_instance() -> Inotify:
    """Refuse, as the kernel does when all inotify instances are taken."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


class FullAtFirst(Inotify):
    """The kernel, whose watches are all taken until it is asked for the second time."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0

    def watch(self, path: str, tell: Tell, *, contents: bool) -> End:
        """Refuse once."""
        self._asked += 1
        if self._asked == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().watch(path, tell, contents=contents)


NO_WATCH = "inotify has no watch left: raise fs.inotify.max_user_watches"
NO_INSTANCE = "inotify has no instance left: raise fs.inotify.max_user_instances, or the limit of open files"
REMOTE = "inotify does not see what other machines change on nfs4"


@pytest.mark.parametrize(
    ("inotify", "remote", "why"),
    [
        (FullInotify, None, NO_WATCH),
        (no_instance, None, NO_INSTANCE),
        (Inotify, "nfs4", REMOTE),
    ],
)
def test_polling(tmp_path: Path, inotify: Callable[[], Inotify], remote: str | None, why: str) -> None:
    """Where inotify is refused or blind, changes are found by looking, and it is said once for each directory why."""
    refused: list[tuple[str, str]] = []
    directories = [tmp_path / name for name in ("one", "two")]

    async def play(watcher: Watcher) -> None:
        ears = {path: Ear() for path in directories}
        beside = Ear()
        for path, ear in ears.items():
            path.mkdir()
            watcher.watch(str(path), "name", ear.hear)
            watcher.watch(str(path), "beside", beside.hear, contents=False)
            assert watcher.polling(str(path)) == why
            (path / "name").touch()
        for ear in ears.values():
            await ear.heard()
        assert beside.times == 0
        (directories[0] / "name").write_text("x")
        await ears[directories[0]].heard()
        directories[1].chmod(0o700)
        await ears[directories[1]].heard()
        assert refused == [(str(path), why) for path in directories]
        with pytest.raises(FileNotFoundError):
            watcher.watch(str(tmp_path / "three"), "name", beside.hear)

    watching(play, lambda *fact: refused.append(fact), inotify, lambda _device: remote)


def test_polled_no_more(tmp_path: Path) -> None:
    """When there is a watch again, whoever watches next gets it, for all; nothing that happened meanwhile is missed."""

    async def play(watcher: Watcher) -> None:
        first, second = Ear(), Ear()
        watcher.watch(str(tmp_path), "name", first.hear)
        assert watcher.polling(str(tmp_path)) == NO_WATCH
        cancel = watcher.watch(str(tmp_path), "name", second.hear, contents=False)
        assert watcher.polling(str(tmp_path)) is None
        await first.heard()
        await second.heard()
        cancel()
        (tmp_path / "name").touch()
        await first.heard()
        for emitter in (thread for thread in threading.enumerate() if isinstance(thread, PollingEmitter)):
            emitter.join(LIMIT)
            assert not emitter.is_alive()

    watching(play, inotify=FullAtFirst)


def test_entries_only_of_a_polled_directory(tmp_path: Path) -> None:
    """There, too, writes are not told to whoever asks for entries only; a swapped link is, and any name is any name."""
    (tmp_path / "name").touch()
    (tmp_path / "link").symlink_to("name")

    async def play(watcher: Watcher) -> None:
        entries, contents, link = Ear(), Ear(), Ear()
        watcher.watch(str(tmp_path), "name", entries.hear, contents=False)
        watcher.watch(str(tmp_path), None, contents.hear)
        watcher.watch(str(tmp_path), "link", link.hear, contents=False)
        (tmp_path / "name").write_text("x")
        await contents.heard()
        assert entries.times == 0
        (tmp_path / "new").symlink_to(tmp_path)
        (tmp_path / "new").rename(tmp_path / "link")
        await link.heard()

    watching(play, inotify=no_instance)


@pytest.mark.parametrize("replace", [False, True])
def test_a_polled_directory_that_goes(tmp_path: Path, *, replace: bool) -> None:
    """Its end is told, and it can be watched anew; one that has taken its place by then is watched already."""
    path = tmp_path / "directory"
    path.mkdir()
    refused: list[tuple[str, str]] = []

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        cancel = watcher.watch(str(path), "name", ear.hear)
        path.rename(tmp_path / "away")
        if replace:
            path.mkdir()
        await ear.heard()
        if not replace:
            assert watcher.polling(str(path)) is None
            path.mkdir()
            watcher.watch(str(path), "name", ear.hear)
            cancel()
        (path / "name").touch()
        await ear.heard()

    watching(play, lambda *fact: refused.append(fact), no_instance)
    assert refused == [(str(path), NO_INSTANCE)] * (1 if replace else 2)


def test_not_polled(tmp_path: Path) -> None:
    """Of a directory that inotify watches, and of one that nobody watches, nothing is said."""

    async def play(watcher: Watcher) -> None:
        assert watcher.polling(str(tmp_path)) is None
        watcher.watch(str(tmp_path), "name", Ear().hear)
        assert watcher.polling(str(tmp_path)) is None

    watching(play)


def test_other_errors_are_errors() -> None:
    """Only a refusal for want of watches is made up for."""

    def broken() -> Inotify:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        watching(lambda _watcher: asyncio.sleep(0), inotify=broken)
