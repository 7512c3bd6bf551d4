"""Logs that are rotated while somebody writes into them; by one who is killed at any moment, too."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from logs import BLOCK, TEXT, killed_at, put_together, rotate_all, write
from machine import make_directory, remove_directory

from pgsupervisor.system import collapse
from pgsupervisor.system.archives import archives
from pgsupervisor.system.collapse import danger
from pgsupervisor.system.identity import NOBODY, acting_as, user
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.rotation import Rotated, RotatedLog, end_of, parts

SAME = b"the same line, every time, as a server may well write it......\n" * 1000
"""A text that is the same wherever it is looked at."""


@pytest.fixture
def log(tmp_path: Path) -> RotatedLog:
    """A log that is not there yet, where files can lose their beginning."""
    with open_for_append(str(tmp_path / "probe"), None) as probe:
        if not collapse.collapses(probe.fileno()):
            pytest.skip("this file system cannot take off the beginning of a file")
    return RotatedLog(str(tmp_path / "log"))


def read(log: RotatedLog) -> bytes:
    return put_together(Path(log.path))


def names(log: RotatedLog) -> list[str]:
    return sorted(os.listdir(os.path.dirname(log.path)))


def test_what_is_not_too_large_is_left_alone(log: RotatedLog) -> None:
    """Nothing happens to a log of no more than the size that is allowed."""
    write(log, TEXT[: 2 * BLOCK])
    assert log.rotate(2 * BLOCK, 5) is None
    assert (names(log), read(log)) == (["log", "probe"], TEXT[: 2 * BLOCK])


def test_pieces(log: RotatedLog) -> None:
    """Whole blocks become archives, the youngest with the lowest number, and all together are what was written."""
    write(log, TEXT[: 5 * BLOCK])
    archive = f"{log.path}.1"
    assert log.rotate(2 * BLOCK + 100, 5) == Rotated(archive, 2 * BLOCK, 0)
    write(log, TEXT[5 * BLOCK : 6 * BLOCK])
    assert rotate_all(log, 2 * BLOCK + 100, 5) == [Rotated(archive, 2 * BLOCK, 0)]
    sizes = [(each.path.removeprefix(log.path), each.begin, each.size) for each in parts(log.path)]
    assert sizes == [(".2", 0, 2 * BLOCK), (".1", 2 * BLOCK, 2 * BLOCK), ("", 4 * BLOCK, 2 * BLOCK)]
    assert read(log) == TEXT[: 6 * BLOCK]


def test_no_more_than_are_kept(log: RotatedLog) -> None:
    """The oldest archives go; a log that has become larger than all of them is not copied to be thrown away."""
    write(log, TEXT[: 3 * BLOCK])
    assert rotate_all(log, BLOCK, 2) == [Rotated(f"{log.path}.1", BLOCK, 0)] * 2
    write(log, TEXT[3 * BLOCK : 10 * BLOCK])
    assert rotate_all(log, BLOCK, 2) == [Rotated(f"{log.path}.1", BLOCK, 5 * BLOCK), Rotated(f"{log.path}.1", BLOCK, 0)]
    assert (names(log), read(log)) == (["log", "log.1", "log.2", "probe"], TEXT[7 * BLOCK : 10 * BLOCK])
    with open(log.path, "rb") as file:
        assert end_of(file.fileno()) == 10 * BLOCK
    write(log, b"more")
    assert rotate_all(log, BLOCK, 1) == [Rotated(f"{log.path}.1", BLOCK, 0)]
    assert (names(log), read(log)) == (["log", "log.1", "probe"], TEXT[9 * BLOCK : 10 * BLOCK] + b"more")


def test_none_is_kept(log: RotatedLog) -> None:
    """Without archives, what is too much is thrown away."""
    write(log, TEXT[: 3 * BLOCK])
    assert rotate_all(log, BLOCK, 0) == [Rotated(None, 0, 2 * BLOCK)]
    assert (names(log), read(log)) == (["log", "probe"], TEXT[2 * BLOCK : 3 * BLOCK])


def test_compression(log: RotatedLog) -> None:
    """Archives are compressed, the oldest first, and are moved and removed like others; what they say stays."""
    write(log, TEXT[: 4 * BLOCK])
    rotate_all(log, BLOCK, 5)
    assert log.compress()
    assert names(log) == ["log", "log.1", "log.2", "log.3.gz", "probe"]
    while log.compress():
        pass
    write(log, TEXT[4 * BLOCK : 5 * BLOCK])
    rotate_all(log, BLOCK, 3)
    assert names(log) == ["log", "log.1", "log.2.gz", "log.3.gz", "probe"]
    assert read(log) == TEXT[BLOCK : 5 * BLOCK]
    facts, archive = Path(log.path).stat(), Path(f"{log.path}.2.gz").stat()
    assert (archive.st_uid, archive.st_mode) == (facts.st_uid, facts.st_mode)


def test_who_writes_meanwhile_loses_nothing(log: RotatedLog) -> None:
    """What is written while a log is rotated and compressed, is all there, and in its order."""

    def flood() -> None:
        with open_for_append(log.path, None) as file:
            for start in range(0, len(TEXT), 64):
                for _ in range(20):
                    file.write(TEXT[start : start + 64])

    write(log, b"")
    writer = threading.Thread(target=flood)
    writer.start()
    rotations = 0
    while writer.is_alive() or rotations < 100:
        rotations += log.rotate(BLOCK, 1000) is not None
        log.compress()
    writer.join()
    assert read(log) == b"".join(TEXT[start : start + 64] * 20 for start in range(0, len(TEXT), 64))


@pytest.fixture
def emptied() -> Iterator[RotatedLog]:
    """A log that is not there yet, where files cannot lose their beginning."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield RotatedLog(f"{directory}/log")


@pytest.fixture(params=["collapsed", "emptied"])
def any_log(request: pytest.FixtureRequest) -> RotatedLog:
    """Either."""
    found: RotatedLog = request.getfixturevalue("log" if request.param == "collapsed" else "emptied")
    return found


@pytest.mark.parametrize(
    ("act", "text"),
    [("rotate", TEXT), ("rotate", SAME), ("compress", TEXT), ("drop", TEXT)],
    ids=["rotate", "rotate what is the same everywhere", "compress", "drop"],
)
def test_killed_at_any_moment(any_log: RotatedLog, text: bytes, act: str) -> None:
    """Wherever whoever rotates is killed: nothing is lost and nothing is there twice, and another one goes on."""
    log = any_log
    acts: dict[str, Callable[[], object]] = {
        "rotate": lambda: log.rotate(2 * BLOCK, 9),
        "compress": log.compress,
        "drop": lambda: log.rotate(2 * BLOCK, 0),
    }
    for line in count(1):
        for each in Path(log.path).parent.iterdir():
            each.unlink()
        write(log, text[: 3 * BLOCK])
        log.rotate(2 * BLOCK, 9)
        write(log, text[3 * BLOCK : 5 * BLOCK])
        killed = killed_at(line, acts[act])
        log.recover()
        assert {name for name in names(log) if not name.startswith("probe")} <= {"log", "log.1", "log.2", "log.1.gz"}
        if act == "drop":
            assert text[: 5 * BLOCK].endswith(read(log))
        else:
            assert read(log) == text[: 5 * BLOCK]
        write(log, text[5 * BLOCK : 9 * BLOCK])
        rotate_all(log, 5 * BLOCK, 99)
        if act != "drop":
            assert read(log) == text[: 9 * BLOCK]
            assert parts(log.path)[0].begin == 0
        if not killed:
            break
    assert line > 10


def test_where_a_file_can_only_be_emptied(emptied: RotatedLog) -> None:
    """All of it becomes one archive, and it is said that this is not without danger."""
    log = emptied
    write(log, TEXT[: 3 * BLOCK])
    assert rotate_all(log, BLOCK, 5) == [Rotated(f"{log.path}.1", 3 * BLOCK, 0)]
    write(log, TEXT[3 * BLOCK : 4 * BLOCK])
    assert (names(log), read(log)) == (["log", "log.1"], TEXT[: 4 * BLOCK])
    assert rotate_all(log, 100, 0) == [Rotated(None, 0, BLOCK)]
    assert (names(log), read(log)) == (["log"], b"")
    assert danger(log.path) == (
        "rotating the log may lose lines, as tmpfs cannot take off the beginning of a file (ext4 and xfs can)"
    )
    os.unlink(log.path)
    assert "tmpfs" in danger(log.path)


def test_no_danger(log: RotatedLog) -> None:
    """Where a file can lose its beginning there is nothing to be said, whether it is there already or not."""
    assert danger(log.path) == ""
    write(log, TEXT)
    assert danger(log.path) == ""
    assert read(log) == TEXT


def test_nobody_writes_there() -> None:
    """That we may not write where a log is, is told, whatever is known of its file system."""
    directory = make_directory()
    try:
        log = str(directory / "log")
        danger(log)
        os.chown(directory, os.geteuid(), -1)
        directory.chmod(0o555)
        with acting_as(NOBODY if os.geteuid() == 0 else None), pytest.raises(PermissionError):
            danger(log)
    finally:
        remove_directory(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_archive_belongs_to_whom_the_log_does(log: RotatedLog) -> None:
    """Owner, group and mode of an archive are the log's, compressed or not."""
    nobody = user("nobody")
    with open_for_append(log.path, nobody) as file:
        file.write(TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 2)
    log.compress()
    facts = [os.stat(each) for each in (log.path, *archives(log.path))]
    assert {(each.st_uid, each.st_gid, each.st_mode & 0o777) for each in facts} == {(nobody.uid, nobody.gid, 0o640)}


def test_a_symlink_is_not_followed(log: RotatedLog, tmp_path: Path) -> None:
    """What lies in the way of an archive is replaced or refused, and never written through."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    write(log, TEXT[: 3 * BLOCK])
    os.symlink(secret, f"{log.path}.part")
    with pytest.raises(FileExistsError):
        log.rotate(BLOCK, 5)
    log.recover()
    rotate_all(log, BLOCK, 5)
    assert (secret.read_bytes(), read(log)) == (b"secret", TEXT[: 3 * BLOCK])


def test_a_log_that_is_not_there(log: RotatedLog) -> None:
    """There is nothing to rotate then, and that is told; to recover there is nothing, either."""
    log.recover()
    with pytest.raises(FileNotFoundError):
        log.rotate(1, 1)


def test_one_who_cuts_it_meanwhile(log: RotatedLog) -> None:
    """A copy whose log was removed before anything could be taken off is all that there is, and is kept."""
    write(log, TEXT[: 3 * BLOCK])
    for line in count(1):
        assert killed_at(line, lambda: log.rotate(BLOCK, 5))
        if "log.0" in names(log):
            break
        log.recover()
    os.unlink(log.path)
    log.recover()
    write(log, b"")
    assert read(log) == TEXT[:BLOCK]
