"""The log of one cluster, as its host opens it: read, followed in both of its places, and come to an end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_collector import FakeCollector
from fakes import spec
from logs import BLOCK, TEXT, put_together, rotate_all, write
from watching import LIMIT, watching

from pgsupervisor.daemon.log import HostedLog
from pgsupervisor.errors import LogLostError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.supervision.kept import LogPiece, LogStart
from pgsupervisor.system.rotation import Rotated, RotatedLog
from pgsupervisor.system.watch import Watcher


class Follower:
    """One who follows a log; `seen` is what he has read, by source, and `position` where he is."""

    def __init__(self) -> None:
        self.seen = {"logfile": b"", "collector": b""}
        self.position = ""
        self._news = asyncio.Event()

    async def follow(self, source: AsyncGenerator[LogPiece, None]) -> None:
        """Take what comes from one source."""
        async with aclosing(source):
            async for piece in source:
                self.seen[piece.source] += piece.text
                self.position = piece.position
                self._news.set()

    async def sees(self, logfile: bytes = b"", collector: bytes = b"") -> None:
        """Wait until this is what he has read, and see that it is no more and nothing else."""
        expected = {"logfile": logfile, "collector": collector}
        try:
            async with asyncio.timeout(LIMIT):
                while any(len(self.seen[key]) < len(text) for key, text in expected.items()):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        assert self.seen == expected


class World:
    """A cluster's directory, its log, and its collector."""

    def __init__(self, directory: Path, watcher: Watcher, rotating: ThreadPoolExecutor) -> None:
        self.data = directory / "data"
        self.data.mkdir()
        (directory / "log").mkdir()
        self.logfile = RotatedLog(str(directory / "log" / "shop.log"))
        self.collector = FakeCollector(self.data)
        self.told: list[Rotated | OSError] = []
        self._told = asyncio.Event()
        self.log = HostedLog(self.spec(), watcher, rotating, self._tell)

    def spec(self, **facts: object) -> ClusterSpec:
        """Return a spec of the cluster."""
        known: dict[str, object] = {"data_directory": str(self.data), "logfile": self.logfile.path}
        return replace(spec("shop"), **{**known, "logfile_maxbytes": 0, **facts})

    def _tell(self, what: Rotated | OSError) -> None:
        self.told.append(what)
        self._told.set()

    async def rotated(self, size: int) -> None:
        """Wait until that many bytes are in archives."""
        async with asyncio.timeout(LIMIT):
            while sum(each.size for each in self.told if isinstance(each, Rotated)) < size:
                self._told.clear()
                await self._told.wait()

    @asynccontextmanager
    async def followed(self, lines: int = 0, position: str | None = None) -> AsyncIterator[Follower]:
        """Have somebody follow the log."""
        follower = Follower()
        async with asyncio.TaskGroup() as tasks:
            sources = await self.log.open(LogStart(lines, position=position), follow=True)
            reading = [tasks.create_task(follower.follow(source)) for source in sources]
            yield follower
            for each in reading:
                each.cancel()


def hosted(tmp_path: Path, play: Callable[[World], Awaitable[None]]) -> None:
    """Play something with the log of a cluster."""

    async def world(watcher: Watcher) -> None:
        with ThreadPoolExecutor(1) as rotating:
            made = World(tmp_path, watcher, rotating)
            with closing(made.collector):
                try:
                    async with asyncio.timeout(3 * LIMIT):
                        await play(made)
                finally:
                    made.log.close()

    watching(world)


def test_what_is_there(tmp_path: Path) -> None:
    """Who does not follow gets the last lines, with the position behind them, and that is all."""

    async def play(world: World) -> None:
        write(world.logfile, b"one\ntwo\nthree\n")
        (source,) = await world.log.open(LogStart(2), follow=False)
        found = [(piece.source, piece.text, json.loads(piece.position)) async for piece in source]
        assert found == [("logfile", b"", {"logfile": "4"}), ("logfile", b"two\nthree\n", {"logfile": "14"})]
        (source,) = await world.log.open(LogStart(9, position='{"logfile": "10"}'), follow=False)
        assert b"".join([piece.text async for piece in source]) == b"ree\n"

    hosted(tmp_path, play)


def test_what_is_written_later(tmp_path: Path) -> None:
    """Who follows gets each write, from the lines on with which he begins."""

    async def play(world: World) -> None:
        write(world.logfile, b"one\ntwo\n")
        async with world.followed(1) as follower:
            await follower.sees(b"two\n")
            text = b"two\n"
            for number in range(50):
                write(world.logfile, b"%d\n" % number)
                text += b"%d\n" % number
                if number % 7 == 0:
                    await follower.sees(text)
            await follower.sees(text)

    hosted(tmp_path, play)


def test_over_rotations(tmp_path: Path) -> None:
    """Who follows misses nothing and gets nothing twice while the log is rotated as it grows."""

    async def play(world: World) -> None:
        write(world.logfile, b"")
        world.log.attend(world.spec(logfile_maxbytes=2 * BLOCK, logfile_backups=99, logfile_compress=True))
        async with world.followed() as follower:
            for start in range(0, len(TEXT), 1000):
                write(world.logfile, TEXT[start : start + 1000])
                if start % 8000 == 0:
                    await follower.sees(TEXT[: start + 1000])
            await follower.sees(TEXT)
            await world.rotated(len(TEXT) - 2 * BLOCK)
        assert put_together(Path(world.logfile.path)) == TEXT

    hosted(tmp_path, play)


def test_a_log_that_is_removed(tmp_path: Path) -> None:
    """Who follows a log that is removed or renamed goes on with the next of that name."""

    async def play(world: World) -> None:
        write(world.logfile, b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"one\n")
            os.unlink(world.logfile.path)
            write(world.logfile, b"two and more\n")
            await follower.sees(b"one\ntwo and more\n")
            os.rename(world.logfile.path, f"{world.logfile.path}.old")
            write(world.logfile, b"3\n")
            await follower.sees(b"one\ntwo and more\n3\n")
            write(world.logfile, b"4\n")
            await follower.sees(b"one\ntwo and more\n3\n4\n")

    hosted(tmp_path, play)


@pytest.mark.parametrize("began", [None, 8])
def test_another_log(tmp_path: Path, began: int | None) -> None:
    """Who follows the log of a server that is started with another one reads that from there on, after the last."""

    async def play(world: World) -> None:
        other = RotatedLog(str(tmp_path / "log" / "other.log"))
        write(other, b"of old.\n")
        write(world.logfile, b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"one\n")
            write(world.logfile, b"last\n")
            world.log.attend(world.spec(logfile=other.path), began)
            write(other, b"two\n")
            await follower.sees(b"one\nlast\ntwo\n")
            write(other, b"three\n")
            await follower.sees(b"one\nlast\ntwo\nthree\n")
            write(world.logfile, b"nobody's\n")
            write(other, b"four\n")
            await follower.sees(b"one\nlast\ntwo\nthree\nfour\n")
            world.log.attend(world.spec(logfile="none"))

    hosted(tmp_path, play)


def test_a_log_that_is_cut(tmp_path: Path) -> None:
    """Who follows a log that somebody empties goes on at its beginning."""

    async def play(world: World) -> None:
        write(world.logfile, b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"one\n")
            os.truncate(world.logfile.path, 0)
            write(world.logfile, b"2\n")
            await follower.sees(b"one\n2\n")

    hosted(tmp_path, play)


def test_a_collector_begins(tmp_path: Path) -> None:
    """Who follows a server that is started with a collector gets the hint in the logfile, and then its files."""

    async def play(world: World) -> None:
        write(world.logfile, b"before\n")
        async with world.followed(9) as follower:
            await follower.sees(b"before\n")
            write(world.logfile, b"hint\n")
            world.collector.begin("1.log", b"one\n")
            await follower.sees(b"before\nhint\n", b"one\n")
            world.collector.write(b"two\n")
            await follower.sees(b"before\nhint\n", b"one\ntwo\n")

    hosted(tmp_path, play)


def test_the_files_of_a_collector(tmp_path: Path) -> None:
    """Who follows a collector goes from file to file, with what was still written to the last, also after several."""

    async def play(world: World) -> None:
        write(world.logfile, b"hint\n")
        world.collector.begin("1.log", b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"", b"one\n")
            text = b"one\n"
            for number in range(2, 8):
                world.collector.write(b"last of it\n")
                for name in ("1", "2", "3")[: number % 4]:
                    world.collector.begin(f"{number}{name}.log", b"first of it\n")
                world.collector.write(b"more\n")
                text += b"last of it\n" + b"first of it\n" * (number % 4) + b"more\n"
                await follower.sees(b"", text)
                world.collector.write(b"and more\n")
                text += b"and more\n"
                await follower.sees(b"", text)

    hosted(tmp_path, play)


def test_the_collector_ends(tmp_path: Path) -> None:
    """Who follows a server that is started again without a collector, and with one again, gets all of it."""

    async def play(world: World) -> None:
        write(world.logfile, b"")
        world.collector.begin("1.log", b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"", b"one\n")
            world.collector.write(b"shut down\n")
            world.collector.end()
            write(world.logfile, b"ready\n")
            await follower.sees(b"ready\n", b"one\nshut down\n")
            world.collector.begin("2.log", b"two\n")
            await follower.sees(b"ready\n", b"one\nshut down\ntwo\n")

    hosted(tmp_path, play)


def test_the_same_name_again(tmp_path: Path) -> None:
    """Who follows a collector whose file is begun anew under its name gets what is in it from then on."""

    async def play(world: World) -> None:
        world.collector.begin("mon.log", b"last week\n")
        async with world.followed(9) as follower:
            await follower.sees(b"", b"last week\n")
            world.collector.begin("mon.log", b"now\n", truncate=True)
            await follower.sees(b"", b"last week\nnow\n")
            os.unlink(world.collector.path)
            world.collector.begin("mon.log", b"another file\n")
            await follower.sees(b"", b"last week\nnow\nanother file\n")
            world.collector.write(b"more\n")
            await follower.sees(b"", b"last week\nnow\nanother file\nmore\n")

    hosted(tmp_path, play)


def test_going_on(tmp_path: Path) -> None:
    """Who goes on from a position of somebody's gets, with what that one had, all, once, and from both places."""

    async def play(world: World) -> None:
        write(world.logfile, TEXT[:100])
        world.collector.begin("1.log", b"one\n")
        async with world.followed(99) as first:
            await first.sees(b"", b"one\n")
            write(world.logfile, TEXT[100:200])
            await first.sees(TEXT[100:200], b"one\n")
        write(world.logfile, TEXT[200 : 3 * BLOCK])
        rotate_all(world.logfile, BLOCK, 9)
        world.collector.write(b"two\n")
        world.collector.begin("2.log", b"three\n")
        async with world.followed(99, first.position) as second:
            await second.sees(TEXT[200 : 3 * BLOCK], b"two\nthree\n")
        async with world.followed(99, second.position) as third:
            write(world.logfile, b"last\n")
            await third.sees(b"last\n")

    hosted(tmp_path, play)


def test_nothing_has_come_yet(tmp_path: Path) -> None:
    """Who has got nothing yet knows all the same where he is."""

    async def play(world: World) -> None:
        write(world.logfile, b"old\n")
        async with world.followed() as first:
            while not first.position:  # noqa: ASYNC110  # the test is about the first piece alone
                await asyncio.sleep(0)
        write(world.logfile, b"new\n")
        async with world.followed(99, first.position) as second:
            await second.sees(b"new\n")

    hosted(tmp_path, play)


@pytest.mark.parametrize("begun", [False, True])
def test_the_end(tmp_path: Path, *, begun: bool) -> None:
    """When the cluster is kept no more, who follows gets what was written, and that is all; also if he comes late."""

    async def play(world: World) -> None:
        write(world.logfile, b"one\n")
        world.collector.begin("1.log", b"two\n")
        sources = await world.log.open(LogStart(9), follow=True)
        first = [await anext(source) for source in sources] if begun else []
        write(world.logfile, b"last\n")
        world.log.close()
        pieces = [*first, *[piece for source in sources async for piece in source]]
        found = {
            name: b"".join(each.text for each in pieces if each.source == name) for name in ("logfile", "collector")
        }
        assert found == {"logfile": b"last\n", "collector": b"two\n"}

    hosted(tmp_path, play)


def test_lost(tmp_path: Path) -> None:
    """Who is so slow that what comes next has been removed is told that, at the place where it was."""

    async def play(world: World) -> None:
        write(world.logfile, b"")
        (source, _) = await world.log.open(LogStart(0), follow=True)
        await anext(source)
        write(world.logfile, TEXT[: 5 * BLOCK])
        rotate_all(world.logfile, BLOCK, 1)
        with pytest.raises(LogLostError):
            await anext(source)

    hosted(tmp_path, play)


def test_no_log(tmp_path: Path) -> None:
    """Where there is no log, or no such position, it cannot be opened."""

    async def play(world: World) -> None:
        with pytest.raises(FileNotFoundError):
            await world.log.open(LogStart(9), follow=True)
        write(world.logfile, b"one\n")
        world.collector.begin("1.log")
        for position in ("nonsense", json.dumps({"collector": f"-1 {world.collector.path}"})):
            with pytest.raises(ValueError, match=r"."):
                await world.log.open(LogStart(9, position=position), follow=True)

    hosted(tmp_path, play)


def test_a_log_elsewhere(tmp_path: Path) -> None:
    """A server whose log is in no file has what its collector writes."""

    async def play(world: World) -> None:
        world.log.attend(world.spec(logfile="none", logfile_maxbytes=BLOCK))
        with pytest.raises(FileNotFoundError):
            await world.log.open(LogStart(9), follow=True)
        world.collector.begin("1.log", b"one\n")
        async with world.followed(9) as follower:
            await follower.sees(b"", b"one\n")
            world.collector.write(b"two\n")
            await follower.sees(b"", b"one\ntwo\n")
        assert world.log.trouble == ""

    hosted(tmp_path, play)
