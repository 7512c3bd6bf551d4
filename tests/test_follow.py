"""A file that is followed: what has its trail taken anew, and what does not."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

from watching import Ear, quiet

from pgsupervisor.system.follow import Followed
from pgsupervisor.system.happenings import Inotify
from pgsupervisor.system.trail import Place
from pgsupervisor.system.watch import Changed, Watch, Watcher


class CountingWatcher(Watcher):
    """Counts the places that it was asked to watch, and has something happen before the first."""

    def __init__(self, before: Callable[[], object] = lambda: None, inotify: Callable[[], Inotify] = Inotify) -> None:
        super().__init__(asyncio.get_running_loop(), inotify=inotify)
        self.places = 0
        self._before = before

    def watch_place(self, place: Place, changed: Changed, renewed: Changed | None = None) -> Watch:
        """Watch one more."""
        if not self.places:
            self._before()
        self.places += 1
        return super().watch_place(place, changed, renewed)


def no_instance() -> Inotify:
    """Refuse, as the kernel does when all inotify instances are taken."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_what_is_watched_anew(tmp_path: Path) -> None:
    """A write is told, and another file, and neither leads elsewhere; another directory is told, and watched anew."""
    directory, other = tmp_path / "directory", tmp_path / "other"
    path = directory / "file"
    for each in (directory, other):
        each.mkdir()
        (each / "file").touch()

    async def play() -> None:
        watcher = CountingWatcher()
        ear = Ear()
        followed = Followed(watcher, str(path), ear.hear)
        once = watcher.places
        path.write_text("x")
        await ear.heard()
        await quiet(watcher, directory, ear)
        (directory / "new").touch()
        (directory / "new").rename(path)
        await ear.heard()
        await quiet(watcher, directory, ear)
        assert watcher.places - once == 2  # those were the files beside, by which it is known to be quiet
        directory.rename(tmp_path / "gone")
        other.rename(directory)
        await ear.heard()
        await quiet(watcher, tmp_path, ear)
        path.write_text("y")
        await ear.heard()
        followed.close()
        watcher.close()

    asyncio.run(play())


def test_a_write_that_polling_tells(tmp_path: Path) -> None:
    """What is found by looking may as well be another file, so the trail is taken anew."""
    path = tmp_path / "file"
    path.touch()

    async def play() -> None:
        watcher = CountingWatcher(inotify=no_instance)
        ear = Ear()
        followed = Followed(watcher, str(path), ear.hear)
        once = watcher.places
        path.write_text("x")
        await ear.heard()
        assert watcher.places >= 2 * once  # others may be at work in the directories above
        followed.close()
        watcher.close()

    asyncio.run(play())


def test_the_path_leads_elsewhere_before_it_is_watched(tmp_path: Path) -> None:
    """What changes on the way between a look at it and its watch is told by nobody, and not overlooked all the same."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    link = tmp_path / "link"
    link.symlink_to("one")

    def swap() -> None:
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").rename(link)

    async def play() -> None:
        watcher = CountingWatcher(swap)
        ear = Ear()
        followed = Followed(watcher, str(link / "file"), ear.hear)
        (tmp_path / "two" / "file").write_text("x")
        await ear.heard()
        followed.close()
        watcher.close()

    asyncio.run(play())
