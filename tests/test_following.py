"""Reading what a logging collector writes, through all of its files; and what yields a log as it is written."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from pathlib import Path

import pytest
from fake_collector import FakeCollector
from logs import TEXT
from machine import SERVER_USER
from watching import LIMIT, watching

from pgsupervisor.daemon.following import CollectorReader, News, open_collected, pieces
from pgsupervisor.system.watch import Watcher

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[FakeCollector]:
    """A collector that has not begun."""
    with closing(FakeCollector(tmp_path)) as made:
        yield made


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[CollectorReader]:
    """One who reads what comes to be written."""
    with closing(CollectorReader(str(tmp_path), None)) as made:
        yield made


def rest(reader: CollectorReader) -> bytes:
    """Read to the end."""
    return b"".join(iter(reader.read, b""))


def test_one_file(collector: FakeCollector, reader: CollectorReader) -> None:
    """Who is at the end gets nothing, and later what was written since; he knows how far he is, and in which file."""
    assert (reader.read(), reader.path) == (b"", None)
    path = collector.begin("1.log", b"one\n")
    assert (reader.read(), reader.read(), reader.path, reader.place) == (b"one\n", b"", path, f"4 {path}")
    collector.write(b"two\n")
    assert (rest(reader), reader.place) == (b"two\n", f"8 {path}")


def test_large_pieces(collector: FakeCollector, reader: CollectorReader) -> None:
    """A long file comes in pieces."""
    collector.begin("1.log", TEXT * 3)
    sizes = [len(piece) for piece in iter(reader.read, b"")]
    assert (max(sizes), sum(sizes)) == (64 * 1024, 3 * len(TEXT))


def test_the_next_file(collector: FakeCollector, reader: CollectorReader) -> None:
    """What was still written to a file before the next one was begun is read before that."""
    collector.begin("1.log", b"one\n")
    assert rest(reader) == b"one\n"
    collector.write(b"last\n")
    path = collector.begin("2.log", b"two\n")
    assert (rest(reader), reader.path) == (b"last\ntwo\n", path)


def test_several_files_later(collector: FakeCollector, reader: CollectorReader) -> None:
    """Who was away while several files were begun reads them all, in their order; empty ones hold nobody up."""
    collector.begin("1.log", b"one\n")
    assert rest(reader) == b"one\n"
    for name, text in (("3.log", b"two\n"), ("4.log", b""), ("2.log", b"three\n"), ("9.log", b"four\n")):
        path = collector.begin(name, text)
    assert (rest(reader), reader.place) == (b"two\nthree\nfour\n", f"5 {path}")


def test_a_file_that_was_removed(collector: FakeCollector, reader: CollectorReader) -> None:
    """Whose file is removed after it was read goes on with the current one."""
    path = collector.begin("1.log", b"one\n")
    assert rest(reader) == b"one\n"
    os.unlink(path)
    assert rest(reader) == b""
    collector.begin("2.log", b"two\n")
    assert rest(reader) == b"two\n"


def test_the_same_name_anew(collector: FakeCollector, reader: CollectorReader) -> None:
    """A file that is begun anew under its name is read from its beginning (log_truncate_on_rotation)."""
    collector.begin("mon.log", b"last week\n")
    assert rest(reader) == b"last week\n"
    path = collector.begin("mon.log", b"now\n", truncate=True)
    assert (rest(reader), reader.place) == (b"now\n", f"4 {path}")


@pytest.mark.parametrize("text", [b"new\n", b"new and longer than the old\n"])
def test_the_same_name_another_file(collector: FakeCollector, reader: CollectorReader, text: bytes) -> None:
    """Another file under the name of one that was removed or renamed is read, after the rest of that."""
    path = collector.begin("server.log", b"old\n")
    assert rest(reader) == b"old\n"
    collector.write(b"last\n")
    os.rename(path, f"{path}.1")
    collector.begin("server.log", text)
    assert (rest(reader), reader.place) == (b"last\n" + text, f"{len(text)} {path}")


def test_no_collector_any_more(collector: FakeCollector, reader: CollectorReader) -> None:
    """A server that is started without a collector writes to none of its files; with one again, that is read."""
    collector.begin("1.log", b"one\n")
    rest(reader)
    collector.write(b"last\n")
    collector.end()
    assert rest(reader) == b"last\n"
    collector.begin("2.log", b"two\n")
    assert rest(reader) == b"two\n"


def test_another_kind(tmp_path: Path, collector: FakeCollector, reader: CollectorReader) -> None:
    """When log_destination is another, the file of that kind is read."""
    collector.begin("1.log", b"one\n")
    rest(reader)
    with closing(FakeCollector(tmp_path, "csvlog")) as another:
        another.begin("1.csv", b"1,2\n")
    assert (rest(reader), reader.path) == (b"1,2\n", str(tmp_path / "log" / "1.csv"))


def test_from_a_place_in_a_file(tmp_path: Path, collector: FakeCollector) -> None:
    """Who has left off somewhere goes on there; at a place behind the end, the file was begun anew."""
    first = collector.begin("1.log", b"0123456789")
    collector.begin("2.log", b"abc")
    for offset, text in ((0, b"0123456789abc"), (4, b"456789abc"), (10, b"abc"), (11, b"0123456789abc")):
        with closing(CollectorReader(str(tmp_path), None, first, offset)) as reader:
            assert rest(reader) == text


def test_a_file_that_is_not_there(tmp_path: Path, collector: FakeCollector, reader: CollectorReader) -> None:
    """A file that was removed while the collector writes to it is nothing to read, until there is another."""
    os.unlink(collector.begin("1.log", b"one\n"))
    assert rest(reader) == b""
    collector.begin("2.log", b"two\n")
    assert rest(reader) == b"two\n"
    with closing(CollectorReader(str(tmp_path), None, str(tmp_path / "log" / "1.log"), 2)) as gone:
        assert rest(gone) == b"two\n"


@needs_root
def test_somebody_elses_file(short_directory: Path) -> None:
    """A file that the owner could not read is refused, also as the next one: who names it could name any."""
    assert SERVER_USER is not None
    reader = CollectorReader(str(short_directory), SERVER_USER)
    with closing(reader), closing(FakeCollector(short_directory)) as collector:
        collector.begin("1.log", b"one\n")
        assert rest(reader) == b"one\n"
        os.chmod(collector.begin("2.log", b"secret\n"), 0o600)
        with pytest.raises(PermissionError):
            reader.read()
    (short_directory / "current_logfiles").write_text("stderr /etc/shadow\n")
    with closing(CollectorReader(str(short_directory), SERVER_USER)) as another, pytest.raises(PermissionError):
        another.read()


def _symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "Is a directory"),
        (os.mkfifo, "it is no regular file"),
        (_symlink, "Too many levels of symbolic links"),
        (lambda _path: None, "No such file"),
    ],
)
def test_what_is_no_file(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    """A directory, a FIFO, a symlink and what is not there are refused, and hold nobody up."""
    make(tmp_path / "1.log")
    with pytest.raises(OSError, match=why):
        open_collected(str(tmp_path / "1.log"), None)


class ScriptedReader:
    """One who reads what a test gives him, and shows when there was no more."""

    def __init__(self, path: Path | None) -> None:
        self.path = None if path is None else str(path)
        self.place = ""
        self.closed = False
        self.at_end = threading.Event()
        self.given: list[bytes | Exception | Path] = []

    def read(self) -> bytes:
        """Return what is given; a path is where he reads from then on."""
        while self.given:
            match self.given.pop(0):
                case Path() as path:
                    self.path = str(path)
                case bytes(piece):
                    return piece
                case Exception() as error:
                    raise error
        self.at_end.set()
        return b""

    def close(self) -> None:
        """Show that it was closed."""
        self.closed = True


def test_without_news(tmp_path: Path) -> None:
    """Who does not follow gets what there is, and that is all."""
    reader = ScriptedReader(tmp_path / "log")
    reader.given += [b"one", b"two"]

    async def play(watcher: Watcher) -> None:
        assert [piece async for piece in pieces(reader, watcher, None)] == [b"one", b"two"]

    watching(play)
    assert reader.closed


def test_what_is_written_later(tmp_path: Path) -> None:
    """Who follows is woken by what is written, also to the file that he has come to read from meanwhile."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.touch()
    second.touch()
    reader = ScriptedReader(first)
    news = News()

    async def play(watcher: Watcher) -> None:
        async with asyncio.timeout(LIMIT), aclosing(pieces(reader, watcher, news)) as following:
            for path in (first, second, second, first):
                reader.given += [path, b"piece"]
                assert await anext(following) == b"piece"
                reader.at_end.clear()
                waiting = asyncio.create_task(anext(following))
                assert await asyncio.to_thread(reader.at_end.wait, LIMIT)
                reader.given.append(b"later")
                append(path)
                assert await waiting == b"later"

    watching(play)
    assert reader.closed


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("x")


def test_the_end_of_news(tmp_path: Path) -> None:
    """When it is over, what has come until then is yielded, and then nothing more."""
    (tmp_path / "log").touch()
    reader = ScriptedReader(tmp_path / "log")
    news = News()

    async def play(watcher: Watcher) -> None:
        async with asyncio.timeout(LIMIT), aclosing(pieces(reader, watcher, news)) as following:
            reader.given.append(b"one")
            assert await anext(following) == b"one"
            reader.given += [b"two", b"three"]
            news.end()
            assert [piece async for piece in following] == [b"two", b"three"]

    watching(play)


@pytest.mark.parametrize("path", [None, "nowhere"])
def test_no_file_yet(tmp_path: Path, path: str | None) -> None:
    """While there is no file, it is waited for news; and nothing is missed that has come before it was waited for."""
    reader = ScriptedReader(None if path is None else tmp_path / path)
    news = News()

    async def play(watcher: Watcher) -> None:
        async with asyncio.timeout(LIMIT), aclosing(pieces(reader, watcher, news)) as following:
            waiting = asyncio.create_task(anext(following))
            await asyncio.sleep(0)
            reader.given.append(b"one")
            news.come()
            assert await waiting == b"one"

    watching(play)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """An error ends it, and what was open is closed."""
    reader = ScriptedReader(tmp_path / "log")
    reader.given += [b"one", PermissionError("no")]

    async def play(watcher: Watcher) -> None:
        following = pieces(reader, watcher, News())
        assert await anext(following) == b"one"
        with pytest.raises(PermissionError):
            await anext(following)

    watching(play)
    assert reader.closed


def test_cancelled_while_it_reads(tmp_path: Path) -> None:
    """Who is cancelled while somebody reads for him does not close what that one reads."""
    begun, go_on = threading.Event(), threading.Event()

    class SlowReader(ScriptedReader):
        """One who reads until he may go on."""

        def read(self) -> bytes:
            begun.set()
            go_on.wait(LIMIT)
            assert not self.closed
            self.at_end.set()
            raise PermissionError

    reader = SlowReader(tmp_path / "log")

    async def play(watcher: Watcher) -> None:
        following = asyncio.create_task(anext(pieces(reader, watcher, None)))
        assert await asyncio.to_thread(begun.wait, LIMIT)
        following.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await following
        assert (reader.at_end.is_set(), reader.closed) == (True, True)

    watching(play)
