"""One log that is kept from growing without end: when it is looked at, rotated, and what is told of that."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fakes import live, settle
from hypothesis import given
from hypothesis import strategies as st
from logs import BLOCK, TEXT, put_together, write
from rotations import AtOnce, FullDiskLog, World

from pgsupervisor.daemon.rotating import next_look
from pgsupervisor.system.happenings import Inotify
from pgsupervisor.system.rotation import Rotated, RotatedLog
from pgsupervisor.system.watch import Watcher

LOSSY = "rotating the log may lose lines, as tmpfs cannot take off the beginning of a file (ext4 and xfs can)"


@pytest.mark.parametrize(
    ("grown", "elapsed", "left", "delay"),
    [
        (0, 1.0, 1000, None),
        (-50, 1.0, 1000, None),
        (100, 1.0, 200, 1.0),
        (100, 1.0, 300, 1.5),
        (100, 0.5, 200, 0.5),
        (1, 1.0, 10**9, 2.0),
        (10**9, 1.0, 1, 0.1),
        (100, 1.0, 0, 0.1),
        (100, 1.0, -500, 0.1),
        (100, 0.0, 200, 0.1),
    ],
)
def test_the_next_look(grown: int, elapsed: float, left: int, delay: float | None) -> None:
    """A log that grows is looked at in half the time that it has, within limits; one that does not, when it does."""
    assert next_look(grown, elapsed, left) == delay


@given(grown=st.integers(1, 10**12), elapsed=st.floats(0, 10**6), left=st.integers(-(10**9), 10**12))
def test_looks_in_time(grown: int, elapsed: float, left: int) -> None:
    """At the same pace, a log is seen before it is too large, or a tenth of a second later."""
    delay = next_look(grown, elapsed, left)
    assert delay is not None
    assert 0.1 <= delay <= 2.0
    assert delay * grown <= max(left * elapsed, 0.1 * grown) * (1 + 1e-9)


SOON = 0.2
"""Seconds in which what was said is minded."""


def no_inotify() -> Inotify:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def in_virtual_time(log: RotatedLog, play: Callable[[World], Awaitable[None]]) -> World:
    """Play something with a log in a time that passes at once, without a thread; it grows unseen for five seconds."""

    async def world() -> World:
        watcher = Watcher(asyncio.get_running_loop(), inotify=no_inotify)
        made = World(log, watcher, AtOnce())
        task = asyncio.create_task(made.rotation.run())
        await settle()
        await play(made)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        watcher.close()
        return made

    return live(world)


@pytest.fixture
def log(tmp_path: Path) -> RotatedLog:
    """An empty log."""
    made = RotatedLog(str(tmp_path / "log"))
    write(made, b"")
    return made


@pytest.fixture
def in_memory() -> Iterator[str]:
    """The path of a log that can only be emptied."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield f"{directory}/log"


def test_it_grows(log: RotatedLog) -> None:
    """It is rotated when it has become too large, and not before, as often as that is so."""

    async def play(world: World) -> None:
        write(log, TEXT[: 2 * BLOCK])
        await asyncio.sleep(60)
        assert world.told == []
        write(log, TEXT[2 * BLOCK : 2 * BLOCK + 1])
        await asyncio.sleep(8)
        assert world.told == [Rotated(f"{log.path}.1", 2 * BLOCK, 0)]
        write(log, TEXT[2 * BLOCK + 1 : 7 * BLOCK])
        await asyncio.sleep(8)
        assert world.archived == [2 * BLOCK] * 3
        assert put_together(Path(log.path)) == TEXT[: 7 * BLOCK]
        assert world.rotation.trouble == ""

    in_virtual_time(log, play)


def test_it_is_too_large_already(log: RotatedLog) -> None:
    """One that has become too large while nobody looked is rotated at once."""
    write(log, TEXT[: 3 * BLOCK])

    async def play(world: World) -> None:
        assert world.archived == [2 * BLOCK]

    in_virtual_time(log, play)


def test_a_log_that_grows_slowly(log: RotatedLog) -> None:
    """It is looked at every two seconds at least while it grows, so it is never much larger than it may be."""

    async def play(world: World) -> None:
        for start in range(0, 8 * BLOCK, 256):
            write(log, TEXT[start : start + 256])
            await asyncio.sleep(0.5)
            assert os.stat(log.path).st_size <= 2 * BLOCK + 10 * 256
        assert world.archived == [2 * BLOCK] * 3
        assert put_together(Path(log.path)) == TEXT[: 8 * BLOCK]

    in_virtual_time(log, play)


def test_never(log: RotatedLog) -> None:
    """With a size of 0 it is left alone, and nobody even waits for it to grow."""

    async def play(world: World) -> None:
        world.go_by(log, logfile_maxbytes=0)
        await asyncio.sleep(SOON)
        write(log, TEXT)
        await asyncio.sleep(1000)
        assert (world.told, world.rotation.trouble, os.stat(log.path).st_size) == ([], "", len(TEXT))

    in_virtual_time(log, play)


def test_another_spec_counts_at_once(log: RotatedLog) -> None:
    """A smaller size, or one where there was none, counts at once; so does how many archives are kept."""
    write(log, TEXT[: 2 * BLOCK])

    async def play(world: World) -> None:
        world.go_by(log, logfile_maxbytes=BLOCK)
        await asyncio.sleep(SOON)
        assert world.archived == [BLOCK]
        world.go_by(log, logfile_maxbytes=0)
        await asyncio.sleep(SOON)
        write(log, TEXT[2 * BLOCK : 5 * BLOCK])
        await asyncio.sleep(100)
        assert world.archived == [BLOCK]
        world.go_by(log, logfile_maxbytes=BLOCK, logfile_backups=1)
        await asyncio.sleep(SOON)
        assert world.told[1:] == [Rotated(f"{log.path}.1", BLOCK, 2 * BLOCK)]
        assert put_together(Path(log.path)) == TEXT[3 * BLOCK : 5 * BLOCK]

    in_virtual_time(log, play)


def test_it_comes_to_be_later(tmp_path: Path) -> None:
    """A log that is not there is no trouble, and is looked after as soon as somebody says that he has made it."""
    log = RotatedLog(str(tmp_path / "log"))

    async def play(world: World) -> None:
        assert (world.told, world.rotation.trouble) == ([], "")
        write(log, TEXT[: 3 * BLOCK])
        world.go_by(log)
        await asyncio.sleep(SOON)
        assert world.archived == [2 * BLOCK]
        os.unlink(log.path)
        await asyncio.sleep(100)
        assert (len(world.told), "removed" in world.rotation.trouble) == (1, True)
        write(log, TEXT[: 3 * BLOCK])
        world.go_by(log)
        await asyncio.sleep(SOON)
        assert world.archived == [2 * BLOCK] * 2

    in_virtual_time(log, play)


class CountedLog(RotatedLog):
    """A log that counts how often it was made ready."""

    times = 0

    def make_ready(self) -> str:
        """Do it once more."""
        self.times += 1
        return super().make_ready()


def test_the_same_log_again(tmp_path: Path) -> None:
    """A log that is looked after is made ready once, unless it is another file, or there is something to recover."""
    log, part = CountedLog(str(tmp_path / "log")), tmp_path / "log.part"
    write(log, b"")

    async def again(world: World, times: int) -> None:
        world.go_by(log)
        await asyncio.sleep(SOON)
        assert (log.times, world.rotation.trouble) == (times, "")

    async def play(world: World) -> None:
        await again(world, 1)
        part.touch()
        await again(world, 2)
        assert os.listdir(tmp_path) == ["log"]
        os.rename(log.path, f"{log.path}.old")
        write(log, b"")
        await again(world, 3)
        write(log, TEXT[: 3 * BLOCK])
        await again(world, 3)
        await asyncio.sleep(8)
        assert world.archived == [2 * BLOCK]

    in_virtual_time(log, play)


def test_another_log(log: RotatedLog, in_memory: str) -> None:
    """When the server writes elsewhere, that is looked after, and the old one is left as it is."""
    other = RotatedLog(in_memory)
    write(other, TEXT[: 3 * BLOCK])

    async def play(world: World) -> None:
        world.go_by(other)
        await asyncio.sleep(SOON)
        write(log, TEXT[: 3 * BLOCK])
        await asyncio.sleep(100)
        assert world.told == [Rotated(f"{other.path}.1", 3 * BLOCK, 0)]
        assert world.rotation.trouble == LOSSY
        world.go_by(None)
        await asyncio.sleep(SOON)
        write(other, TEXT[: 3 * BLOCK])
        await asyncio.sleep(100)
        assert (len(world.told), world.rotation.trouble) == (1, "")

    in_virtual_time(log, play)


def test_it_begins_where_another_was_killed(log: RotatedLog) -> None:
    """What one has begun who was killed is brought to its end, before anything else."""
    Path(f"{log.path}.part").write_bytes(b"half")
    copy = Path(f"{log.path}.0")
    copy.write_bytes(TEXT[:BLOCK])
    os.setxattr(copy, "user.pgsupervisor.block", b"4096")
    write(log, TEXT[BLOCK : 2 * BLOCK])

    async def play(world: World) -> None:
        assert world.told == []
        assert put_together(Path(log.path)) == TEXT[: 2 * BLOCK]
        assert sorted(os.listdir(os.path.dirname(log.path))) == ["log", "log.1"]

    in_virtual_time(log, play)


def test_compression(log: RotatedLog) -> None:
    """Archives are compressed if that is wanted, all that there are."""
    write(log, TEXT[: 5 * BLOCK])

    async def play(world: World) -> None:
        assert sorted(os.listdir(os.path.dirname(log.path))) == ["log", "log.1", "log.2"]
        write(log, TEXT[5 * BLOCK : 7 * BLOCK])
        world.go_by(log, logfile_compress=True)
        await asyncio.sleep(SOON)
        assert sorted(os.listdir(os.path.dirname(log.path))) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
        assert put_together(Path(log.path)) == TEXT[: 7 * BLOCK]

    in_virtual_time(log, play)


@pytest.mark.parametrize("lossy", [False, True])
def test_no_room(tmp_path: Path, in_memory: str, *, lossy: bool) -> None:
    """That it cannot be rotated is told once, and said as long as it is so; it is tried again and again."""
    log = FullDiskLog(in_memory if lossy else str(tmp_path / "log"))
    write(log, TEXT[: 3 * BLOCK])
    why = "the log is not rotated: No space left on device"

    async def play(world: World) -> None:
        for minute in range(10):
            assert ([str(each) for each in world.told], world.rotation.trouble) == (
                ["[Errno 28] No space left on device"],
                why,
            )
            await asyncio.sleep(59 if minute == 0 else 60)
        log.full = False
        await asyncio.sleep(61)
        assert world.archived == [3 * BLOCK if lossy else 2 * BLOCK]
        assert world.rotation.trouble == (LOSSY if lossy else "")
        log.full = True
        write(log, TEXT[3 * BLOCK : 6 * BLOCK])
        await asyncio.sleep(8)
        assert (len(world.told), world.rotation.trouble) == (3, why)

    in_virtual_time(log, play)


def test_somebody_else_has_the_lock(log: RotatedLog) -> None:
    """Whose log it is may have a lock on it for ever: that keeps nobody waiting, is said, and ends with the lock."""
    write(log, TEXT[: 3 * BLOCK])

    async def play(world: World) -> None:
        assert (world.told, world.rotation.trouble) == (
            [],
            "the log is not rotated: somebody else has a lock on it (flock)",
        )
        fcntl.flock(others, fcntl.LOCK_UN)
        await asyncio.sleep(3)
        assert (world.archived, world.rotation.trouble) == ([2 * BLOCK], "")

    with Path(log.path).open("rb") as others:
        fcntl.flock(others, fcntl.LOCK_SH)
        in_virtual_time(log, play)


def test_no_room_and_another_spec(tmp_path: Path) -> None:
    """Whoever is told to go by another spec meanwhile does so at once."""
    log = FullDiskLog(str(tmp_path / "log"))
    write(log, TEXT[: 3 * BLOCK])

    async def play(world: World) -> None:
        world.go_by(log, logfile_maxbytes=9 * BLOCK)
        await asyncio.sleep(SOON)
        assert (len(world.told), world.rotation.trouble) == (1, "")

    in_virtual_time(log, play)


def test_what_is_in_the_way(log: RotatedLog) -> None:
    """What keeps the log from being rotated is said in the kernel's words, also before it is too large."""
    os.unlink(log.path)
    os.symlink("/etc/passwd", log.path)

    async def play(world: World) -> None:
        assert world.rotation.trouble == "the log is not rotated: Too many levels of symbolic links"
        os.unlink(log.path)
        write(log, b"")
        await asyncio.sleep(61)
        assert (len(world.told), world.rotation.trouble) == (1, "")

    in_virtual_time(log, play)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_log_that_is_taken_away(log: RotatedLog, *, replaced: bool) -> None:
    """That a log was removed or renamed under a server is said, whatever is in its place, until that is restarted."""
    write(log, TEXT[:BLOCK])

    async def play(world: World) -> None:
        os.rename(log.path, f"{log.path}.old")
        if replaced:
            write(log, TEXT)
        await asyncio.sleep(10)
        gone = "its log was removed or renamed: what the server writes now is not to be seen until it is restarted"
        assert (world.rotation.trouble, world.told) == (gone, [])
        write(log, b"of the next server\n")
        world.go_by(log, logfile_maxbytes=2 * len(TEXT))
        await asyncio.sleep(SOON)
        assert world.rotation.trouble == ""

    in_virtual_time(log, play)
