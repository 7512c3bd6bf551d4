"""Watched directories, with real inotify: what is told, to whom, and at what cost."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent
from watching import LIMIT, BusyInotify, Ear, kernel_watches, quiet, watching

from pgsupervisor.system.happenings import Inotify, What
from pgsupervisor.system.watch import Watcher

WRITES = InotifyConstants.IN_MODIFY


def test_every_kind_of_change(tmp_path: Path) -> None:
    """A name that is made, written, renamed to, renamed away, given a mode or removed is told each time."""

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
        await quiet(watcher, tmp_path, ear)
        (tmp_path / "new").write_text("y")
        (tmp_path / "new").rename(path)
        await ear.heard()
        path.chmod(0o600)
        await ear.heard()
        path.rename(tmp_path / "old")
        await ear.heard()
        (tmp_path / "old").rename(path)
        await ear.heard()
        path.unlink()
        await ear.heard()

    watching(play)


def test_a_name_that_is_no_file(tmp_path: Path) -> None:
    """The same goes for a directory and for a link that is swapped, with the contents of files and without."""

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        for ear, contents in zip(ears, (True, False), strict=True):
            watcher.watch(str(tmp_path), "name", ear.hear, contents=contents)
        path = tmp_path / "name"
        link = tmp_path / "link"
        changes: list[Callable[[], object]] = [
            path.mkdir,
            lambda: path.chmod(0o700),
            lambda: path.rename(tmp_path / "away"),
            lambda: (tmp_path / "away").rename(path),
            path.rmdir,
            lambda: path.symlink_to("one"),
            lambda: (link.symlink_to("other"), link.rename(path)),
        ]
        for change in changes:
            change()
            for ear in ears:
                await ear.heard()
            await quiet(watcher, tmp_path, *ears)

    watching(play)


def test_what_is_no_change(tmp_path: Path) -> None:
    """Reading is not told, nor is another name, nor what happens in a directory below."""
    path = tmp_path / "name"
    path.write_text("x")
    (tmp_path / "below").mkdir()

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        watcher.watch(str(tmp_path), "name", ears[0].hear)
        watcher.watch(str(tmp_path), "below", ears[1].hear)
        path.read_text()
        os.listdir(tmp_path)
        (tmp_path / "other").touch()
        (tmp_path / "name.new").touch()
        (tmp_path / "below" / "file").touch()
        os.listdir(tmp_path / "below")
        await quiet(watcher, tmp_path)
        assert [ear.times for ear in ears] == [0, 0]

    watching(play)


def test_any_name(tmp_path: Path) -> None:
    """Who asks for no name is told of all; reading is no more told to him than to others."""
    (tmp_path / "there").write_text("x")

    async def play(watcher: Watcher) -> None:
        ear, last = Ear(), Ear()
        cancel = watcher.watch(str(tmp_path), None, ear.hear)
        watcher.watch(str(tmp_path), "link", last.hear)
        (tmp_path / "there").read_text()
        os.listdir(tmp_path)
        (tmp_path / "link").symlink_to("there")
        await last.heard()
        assert ear.times == 1
        (tmp_path / "there").unlink()
        await quiet(watcher, tmp_path)
        cancel()
        heard = ear.times
        assert heard > 2
        await quiet(watcher, tmp_path)
        assert ear.times == heard

    watching(play)


def test_entries_only(tmp_path: Path) -> None:
    """Who asks for entries only is not told of writes, and if nobody asks, the kernel does not wake us for them."""
    busy = tmp_path / "name"
    busy.touch()

    async def play(watcher: Watcher) -> None:
        entries = Ear()
        watcher.watch(str(tmp_path), "name", entries.hear, contents=False)
        (mask,) = kernel_watches()
        assert not mask & WRITES
        contents = Ear()
        watcher.watch(str(tmp_path), "name", contents.hear)
        (mask,) = kernel_watches()
        assert mask & WRITES == WRITES
        busy.write_text("x")
        await contents.heard()
        assert entries.times == 0
        busy.unlink()
        await entries.heard()

    watching(play)


def test_opened_to_write(tmp_path: Path) -> None:
    """Who could have written to a file, and has not, wakes nobody: so each server reads its postmaster.pid."""
    path = tmp_path / "name"
    path.touch()

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        watcher.watch(str(tmp_path), "name", ear.hear)
        for _ in range(3):
            path.open("r+").close()
        await quiet(watcher, tmp_path)
        assert ear.times == 0
        path.write_text("x")
        await ear.heard()

    watching(play)


def test_more_is_asked_of_a_directory(tmp_path: Path) -> None:
    """While a directory's watch is made wider, nothing is lost; and nobody who asks for less, or leaves, narrows it."""
    path = tmp_path / "name"

    async def play(watcher: Watcher) -> None:
        entries, contents, more = Ear(), Ear(), Ear()
        cancel_entries = watcher.watch(str(tmp_path), "name", entries.hear, contents=False)
        path.touch()
        cancel_contents = watcher.watch(str(tmp_path), "name", contents.hear)
        await entries.heard()
        cancel_more = watcher.watch(str(tmp_path), "more", more.hear, contents=False)
        cancel_entries()
        await quiet(watcher, tmp_path, contents)
        path.write_text("x")
        await contents.heard()
        cancel_contents()
        (tmp_path / "more").touch()
        await more.heard()
        cancel_more()
        assert kernel_watches() == []

    watching(play)


def test_a_directory_that_has_two_names(tmp_path: Path) -> None:
    """A directory that is mounted twice has one watch in the kernel; who asks for less takes nothing from the other."""
    inotify = Inotify()
    inotify.start()
    for contents in (True, False):
        inotify.watch(str(tmp_path), lambda _what, _name: None, contents=contents)
    masks = [mask & WRITES for mask in kernel_watches()]
    inotify.stop()
    inotify.join()
    assert masks == [WRITES]


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
        assert len(kernel_watches()) == 1
        (real / "one").touch()
        await one.heard()
        await both.heard()
        assert other.times == 0
        (link / "other").touch()
        await other.heard()

    watching(play)


def test_one_instance_and_one_thread(tmp_path: Path) -> None:
    """However many directories are watched, it takes one inotify instance and one thread."""

    async def play(watcher: Watcher) -> None:
        threads = threading.active_count()
        for number in range(300):
            (tmp_path / str(number)).mkdir()
            watcher.watch(str(tmp_path / str(number)), "name", Ear().hear)
        assert len(kernel_watches()) == 300
        assert threading.active_count() == threads

    watching(play)


def test_attributes_of_the_directory(tmp_path: Path) -> None:
    """That the directory itself is given other attributes concerns all its names."""

    async def play(watcher: Watcher) -> None:
        ears = {"one": Ear(), "other": Ear()}
        for name, ear in ears.items():
            watcher.watch(str(tmp_path), name, ear.hear, contents=name == "one")
        os.chmod(tmp_path, 0o500)
        for ear in ears.values():
            await ear.heard()

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
        assert kernel_watches() == []
        again = Ear()
        watcher.watch(str(tmp_path), "name", again.hear)
        (tmp_path / "name").unlink()
        await again.heard()

    watching(play)


def test_cancel_by_one_who_is_told(tmp_path: Path) -> None:
    """Who is told first may end the watch of another, who then is not told."""

    async def play(watcher: Watcher) -> None:
        first, second = Ear(), Ear()
        cancels: list[Callable[[], None]] = []
        watcher.watch(str(tmp_path), "name", lambda: (first.hear(), [cancel() for cancel in cancels]))
        cancels.append(watcher.watch(str(tmp_path), "name", second.hear))
        (tmp_path / "name").touch()
        await first.heard()
        assert second.times == 0

    watching(play)


def test_overflow(tmp_path: Path) -> None:
    """When the kernel's queue runs over, events of any directory may be lost, so all who listen are told."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    loud, still = tmp_path / "loud", tmp_path / "still"

    async def play(watcher: Watcher) -> None:
        ears = {"one": Ear(), "other": Ear()}
        still.mkdir()
        loud.mkdir()
        for name, ear in ears.items():
            watcher.watch(str(still), name, ear.hear, contents=name == "one")
        watcher.watch(str(loud), "name", Ear().hear)
        names = [str(loud / "one"), str(loud / "other")]
        for name in names:
            os.mkdir(name)
        # One event for each, in turn: two alike in a row would be one.
        for number in range(most + 100):
            os.chmod(names[number % 2], 0o700)
        BusyInotify.free.set()
        for ear in ears.values():
            await ear.heard()
        await quiet(watcher, still, *ears.values())
        (still / "one").touch()
        await ears["one"].heard()

    try:
        watching(play, inotify=BusyInotify)
    finally:
        BusyInotify.free.clear()


class ReadInotify(Inotify):
    """An inotify that shows when it has passed an event on."""

    passed = threading.Event()

    def handle_event(self, event: InotifyEvent) -> None:
        """Pass an event on."""
        super().handle_event(event)
        self.passed.set()


def test_after_the_end(tmp_path: Path) -> None:
    """A closed watcher tells nothing of what was on its way, and watches may still be ended."""

    async def play(watcher: Watcher) -> None:
        ear = Ear()
        cancel = watcher.watch(str(tmp_path), "name", ear.hear)
        (tmp_path / "name").touch()
        assert ReadInotify.passed.wait(LIMIT)
        watcher.close()
        await asyncio.sleep(0)
        assert ear.times == 0
        cancel()

    try:
        watching(play, inotify=ReadInotify)
    finally:
        ReadInotify.passed.clear()


def test_more_than_can_be_heard(tmp_path: Path) -> None:
    """Whatever happens while nothing can be heard is told once, to who hears of one name and who hears of any."""

    async def play(watcher: Watcher) -> None:
        ears = [Ear(), Ear()]
        for ear, name in zip(ears, ("name", None), strict=True):
            watcher.watch(str(tmp_path), name, ear.hear)
        (watched,) = watcher._directories.values()
        for number in range(1000):
            watcher._hear(watched, What.ENTRY, "name")
            watcher._hear(watched, What.ENTRY, f"other {number}")
        assert len(watcher._coming) == 2
        for ear in ears:
            await ear.heard()
        assert [ear.times for ear in ears] == [1, 2]
        (tmp_path / "name").touch()
        await ears[0].heard()

    watching(play)
