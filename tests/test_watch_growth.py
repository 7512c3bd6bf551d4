"""A file that grows: told once, for as little as that costs, and not again until somebody asks."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import A_DAY, live
from watchdog.observers.inotify_c import InotifyConstants
from watching import LIMIT, BusyInotify, Ear, kernel_watches, quiet, unprivileged, watching

from pgsupervisor.system.happenings import End, Inotify
from pgsupervisor.system.watch import Watcher


def append(path: Path, text: str = "x") -> None:
    with path.open("a") as file:
        file.write(text)


def read(path: Path) -> None:
    path.read_text()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A file in a directory of its own."""
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "log"
    path.write_text("old\n")
    return path


def test_once(log: Path) -> None:
    """The first write is told, none after it, and the kernel keeps no watch that a busy file could wake us by."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.growth(str(log), ear.hear)
        append(log)
        await ear.heard()
        assert kernel_watches() == []
        append(log)
        await quiet(watcher, log.parent)
        assert ear.times == 1

    watching(play)


def test_again(log: Path) -> None:
    """Who asks again is told again; what was written in between is not told."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        for times in range(1, 20):
            watcher.growth(str(log), ear.hear)
            append(log)
            await ear.heard()
            append(log)
            assert ear.times == times
        watcher.growth(str(log), ear.hear)
        await quiet(watcher, log.parent)
        assert ear.times == 19

    watching(play)


def test_who_is_told_asks_again(log: Path) -> None:
    """It may be asked again by the one who is told, in that very moment."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()

        def hear() -> None:
            watcher.growth(str(log), ear.hear)
            append(log)

        watcher.growth(str(log), hear)
        append(log)
        await ear.heard()

    watching(play)


def test_several(log: Path) -> None:
    """All who ask of one file are told; another file is another matter."""
    other = log.with_name("other")
    other.touch()

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear(), Ear()]
        for ear, path in zip(ears, (log, log, other), strict=True):
            watcher.growth(str(path), ear.hear)
        append(log)
        await ears[0].heard()
        await ears[1].heard()
        await quiet(watcher, log.parent)
        assert [ear.times for ear in ears] == [1, 1, 0]

    watching(play)


def test_what_is_no_growth(log: Path) -> None:
    """Reading, another mode, a new name and a file beside are not told; that the file is cut is."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.growth(str(log), ear.hear)
        moved = log.with_name("moved")
        read(log)
        os.chmod(log, 0o600)
        append(log.with_name("beside"))
        os.rename(log, moved)
        await quiet(watcher, log.parent)
        assert ear.times == 0
        os.truncate(moved, 0)
        await ear.heard()

    watching(play)


def test_beside_the_watch_of_its_directory(log: Path) -> None:
    """A directory may be watched at the same time, and neither takes anything from the other."""

    async def play(watcher: Watcher) -> None:
        entries, contents, grown = Ear(), Ear(), Ear()
        watcher.watch(str(log.parent), "log", entries.hear, contents=False)
        watcher.growth(str(log), grown.hear)
        append(log)
        await grown.heard()
        assert entries.times == 0
        watcher.watch(str(log.parent), "log", contents.hear)
        watcher.growth(str(log), grown.hear)
        append(log)
        await grown.heard()
        await contents.heard()
        os.unlink(log)
        await entries.heard()

    watching(play)


def test_cancel(log: Path) -> None:
    """Who does not wait any more is not told, however often he says so; the others are."""

    async def play(watcher: Watcher) -> None:
        one, other = Ear(), Ear()
        cancel = watcher.growth(str(log), one.hear)
        cancel_other = watcher.growth(str(log), other.hear)
        cancel()
        cancel()
        append(log)
        await other.heard()
        await quiet(watcher, log.parent)
        assert (one.times, other.times) == (0, 1)
        cancel_other()
        cancel = watcher.growth(str(log), one.hear)
        assert len(kernel_watches()) == 1
        cancel()
        assert kernel_watches() == []

    watching(play)


def test_cancel_by_one_who_is_told(log: Path) -> None:
    """After a cancel nothing is told, also if the kernel has told us already."""

    async def play(watcher: Watcher) -> None:
        first, second = Ear(), Ear()
        cancels: list[Callable[[], None]] = []
        watcher.growth(str(log), lambda: (first.hear(), [cancel() for cancel in cancels]))
        cancels.append(watcher.growth(str(log), second.hear))
        append(log)
        await first.heard()
        await quiet(watcher, log.parent)
        assert second.times == 0

    watching(play)


@pytest.mark.parametrize("inotify", [True, False])
def test_no_file(tmp_path: Path, *, inotify: bool) -> None:
    """Of a file that is not there it cannot be told, with inotify and without."""

    async def play(watcher: Watcher) -> None:
        with pytest.raises(FileNotFoundError):
            watcher.growth(str(tmp_path / "no"), Ear().hear)

    watching(play, inotify=Inotify if inotify else no_instance)


def test_a_file_that_may_not_be_read(short_directory: Path) -> None:
    """Nor of one that is not ours to read; nothing is left behind by that."""
    log = short_directory / "log"
    log.touch(mode=0)

    async def play(watcher: Watcher) -> None:
        with unprivileged(), pytest.raises(PermissionError):
            watcher.growth(str(log), Ear().hear)
        assert kernel_watches() == []

    watching(play)


def test_a_symlink(log: Path) -> None:
    """A symlink is not followed: what it leads to is no log."""
    link = log.with_name("link")
    link.symlink_to(log)

    async def play(watcher: Watcher) -> None:
        ear, end = Ear(), Ear()
        watcher.growth(str(link), ear.hear)
        watcher.growth(str(log), end.hear)
        append(log)
        await end.heard()
        await quiet(watcher, log.parent)
        assert ear.times == 0

    watching(play)


class FullInotify(Inotify):
    """The kernel, when all its watches are taken."""

    def once(self, path: str, tell: Callable[[], object]) -> End:
        """Refuse, a file that is not there as well."""
        del tell
        os.stat(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_instance() -> Inotify:
    """Refuse, as the kernel does when all inotify instances are taken."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize("inotify", [FullInotify, no_instance])
def test_where_inotify_is_refused(log: Path, inotify: Callable[[], Inotify]) -> None:
    """Where the kernel does not tell, it is told once after some seconds, whatever happened, unless cancelled."""
    told: list[float] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        watcher = Watcher(loop, inotify=inotify)
        try:
            began = loop.time()
            watcher.growth(str(log), lambda: told.append(loop.time() - began))
            watcher.growth(str(log), lambda: told.append(-1))()
            await asyncio.sleep(100)
        finally:
            watcher.close()

    live(play, lasts=A_DAY)
    assert told == [5.0]


def test_overflow(log: Path) -> None:
    """When the kernel's queue runs over, what was lost may be this: so it counts as told, once."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [str(log.parent / "one"), str(log.parent / "other")]

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        for name in names:
            os.mkdir(name)
        watcher.watch(str(log.parent), "no", Ear().hear)
        for ear in ears:
            watcher.growth(str(log), ear.hear)
        # One event for each, in turn: two alike in a row would be one.
        for number in range(most + 100):
            os.chmod(names[number % 2], 0o700)
        append(log)
        BusyInotify.free.set()
        for ear in ears:
            await ear.heard()
        await quiet(watcher, log.parent)
        assert [ear.times for ear in ears] == [1, 1]
        assert len(kernel_watches()) == 1

    try:
        watching(play, inotify=BusyInotify)
    finally:
        BusyInotify.free.clear()


def test_after_the_end(log: Path) -> None:
    """Who still waits when the watcher is closed is told nothing, be it that nothing had happened or that it had."""

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        cancels = [watcher.growth(str(log), ear.hear) for ear in ears]
        append(log)
        watcher.close()
        cancels[0]()
        await _everything_told()
        assert [ear.times for ear in ears] == [0, 0]

    watching(play)


def test_nothing_happened_before_the_end(log: Path) -> None:
    """The end of the watcher is not taken for growth."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.growth(str(log), ear.hear)
        watcher.close()
        await _everything_told()
        assert ear.times == 0

    watching(play)


async def _everything_told() -> None:
    """Let pass what other threads have had called in the loop so far."""
    told = asyncio.Event()
    asyncio.get_running_loop().call_soon_threadsafe(told.set)
    async with asyncio.timeout(LIMIT):
        await told.wait()


def test_no_mask_but_writes(log: Path) -> None:
    """What the kernel is asked is no more than that."""

    async def play(watcher: Watcher) -> None:
        watcher.growth(str(log), Ear().hear)
        (mask,) = kernel_watches()
        asked = InotifyConstants.IN_MODIFY | InotifyConstants.IN_ONESHOT
        assert mask & asked == asked
        assert mask & (InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_ACCESS | InotifyConstants.IN_OPEN) == 0

    watching(play)
