"""Where one begins to read a log: the end, a moment, a position; in the logfile, or in a collector's files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_collector import FakeCollector
from fakes import SPEC
from logs import BLOCK, TEXT, rotate_all, write

from pgsupervisor.daemon.logstart import encoded, readers
from pgsupervisor.errors import LogLostError, LogUntimedError
from pgsupervisor.inventory import ClusterSpec, FrozenMapping
from pgsupervisor.supervision.kept import LogSource, LogStart
from pgsupervisor.system.rotation import RotatedLog

HOUR = 1_709_640_000
"""2024-03-05 12:00:00 UTC."""


def line(minute: int, text: str = "x") -> bytes:
    """Return a line that was written in a minute of that hour."""
    return f"2024-03-05 12:{minute:02}:00.000 UTC [7] LOG:  {text}\n".encode()


@pytest.fixture
def log(tmp_path: Path) -> RotatedLog:
    """A logfile that is not there yet."""
    return RotatedLog(str(tmp_path / "shop.log"))


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    """A data directory whose server has no collector."""
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def collector(data_directory: Path) -> Iterator[FakeCollector]:
    """A collector that has not begun."""
    with closing(FakeCollector(data_directory)) as made:
        yield made


def described(data_directory: Path, log_timezone: str = "UTC") -> ClusterSpec:
    """Return the spec of a cluster."""
    settings = FrozenMapping({"log_timezone": log_timezone})
    return replace(SPEC, data_directory=str(data_directory), settings=settings)


def read(log: RotatedLog | None, data_directory: Path, start: LogStart, *, follow: bool = False) -> dict[str, bytes]:
    """Return what is read from there on, by source."""
    found: dict[str, bytes] = {}
    for source, reader in readers(log, described(data_directory), start, follow=follow).items():
        with closing(reader):
            found[source] = b"".join(iter(reader.read, b""))
    return found


def places(log: RotatedLog | None, data_directory: Path, start: LogStart) -> dict[LogSource, str]:
    """Return where those begin who follow from there on."""
    return {key: each.place for key, each in readers(log, described(data_directory), start, follow=True).items()}


def age(path: str, minutes: int) -> None:
    """Have a file last written so many minutes before that hour."""
    os.utime(path, (HOUR - 60 * minutes, HOUR - 60 * minutes))


def test_the_last_lines(log: RotatedLog, data_directory: Path) -> None:
    """A server without a collector has its log in the logfile and its archives."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    for lines in (0, 1, 100):
        expected = {"logfile": TEXT[3 * BLOCK - 64 * lines : 3 * BLOCK]}
        assert read(log, data_directory, LogStart(lines)) == expected
        assert read(log, data_directory, LogStart(lines), follow=True) == {**expected, "collector": b""}


def test_no_more_than(log: RotatedLog, data_directory: Path) -> None:
    """However many lines are asked for, no more bytes are read than may be."""
    write(log, TEXT)
    assert read(log, data_directory, LogStart(100, most=100)) == {"logfile": TEXT[-100:]}


def test_of_two_the_one_that_was_written_last(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """Of two places, the last lines are those of the one that was written to last."""
    write(log, b"a hint\n")
    path = collector.begin("1.log", b"one\ntwo\n")
    age(log.path, 1)
    assert read(log, data_directory, LogStart(1)) == {"collector": b"two\n"}
    assert read(log, data_directory, LogStart(1), follow=True) == {"logfile": b"", "collector": b"two\n"}
    age(path, 2)
    assert read(log, data_directory, LogStart(1)) == {"logfile": b"a hint\n"}
    assert read(log, data_directory, LogStart(1), follow=True) == {"logfile": b"a hint\n", "collector": b""}


def test_the_files_of_a_collector(data_directory: Path, collector: FakeCollector) -> None:
    """They are read as one, also where the server has no logfile."""
    collector.begin("1.log", b"one\ntwo\n")
    collector.begin("2.log", b"three\n")
    for lines, text in ((1, b"three\n"), (2, b"two\nthree\n"), (9, b"one\ntwo\nthree\n")):
        assert read(None, data_directory, LogStart(lines)) == {"collector": text}


def test_since(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """Since a moment, both places have lines."""
    write(log, line(1) + line(3))
    collector.begin("1.log", line(2) + line(4))
    collector.begin("2.log", line(6))
    for minute, expected in (
        (0, (line(1) + line(3), line(2) + line(4) + line(6))),
        (3, (line(3), line(4) + line(6))),
        (5, (b"", line(6))),
        (7, (b"", b"")),
    ):
        start = LogStart(0, since=HOUR + 60 * minute)
        assert read(log, data_directory, start) == dict(zip(("logfile", "collector"), expected, strict=True))


def test_since_without_times(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """Of a place whose lines have no time there is nothing; if that is so of all, it is said."""
    write(log, b"no time\n")
    with pytest.raises(LogUntimedError) as raised:
        read(log, data_directory, LogStart(0, since=HOUR))
    assert raised.value.path == log.path
    collector.begin("1.log", line(1))
    assert read(log, data_directory, LogStart(0, since=HOUR)) == {"logfile": b"", "collector": line(1)}
    os.truncate(log.path, 0)
    collector.begin("1.log", b"no time\n", truncate=True)
    assert read(log, data_directory, LogStart(0, since=HOUR)) == {"logfile": b"", "collector": b""}


def test_since_in_the_zone_of_the_log(log: RotatedLog, data_directory: Path) -> None:
    """The time of a line is one of log_timezone, as far as that is known."""
    write(log, b"2024-03-05 21:00:00.000 JST [7] LOG:  x\n2024-03-05 21:01:00.000 JST [7] LOG:  y\n")
    start = LogStart(0, since=HOUR + 30)
    (reader,) = readers(log, described(data_directory, "Asia/Tokyo"), start, follow=False).values()
    assert reader.read() == b"2024-03-05 21:01:00.000 JST [7] LOG:  y\n"
    reader.close()


def test_going_on(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """Who left off somewhere goes on there, in both places, whatever has been rotated, begun or removed since."""
    write(log, TEXT[:100])
    collector.begin("1.log", b"one\n")
    start = LogStart(5, position=encoded(places(log, data_directory, LogStart(0))))
    assert read(log, data_directory, start, follow=True) == {"logfile": b"", "collector": b""}
    write(log, TEXT[100 : 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    collector.write(b"two\n")
    collector.begin("2.log", b"three\n")
    expected = {"logfile": TEXT[100 : 3 * BLOCK], "collector": b"two\nthree\n"}
    assert read(log, data_directory, start, follow=True) == expected
    os.unlink(data_directory / "log" / "1.log")
    assert read(log, data_directory, start, follow=True) == {**expected, "collector": b"three\n"}


def test_going_on_where_there_was_no_collector(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """A collector that came after one had left off is read from the beginning of its file."""
    write(log, b"one\n")
    start = LogStart(5, position=encoded(places(log, data_directory, LogStart(0))))
    collector.begin("1.log", b"two\n")
    assert read(log, data_directory, start, follow=True) == {"logfile": b"", "collector": b"two\n"}


def test_going_on_too_late(log: RotatedLog, data_directory: Path) -> None:
    """Where what comes next has been removed, that is told when it is read."""
    write(log, TEXT[: 5 * BLOCK])
    rotate_all(log, BLOCK, 1)
    with pytest.raises(LogLostError):
        read(log, data_directory, LogStart(0, position='{"logfile": "0"}'), follow=True)


@pytest.mark.parametrize(
    "position",
    [
        "",
        "nonsense",
        "5",
        "null",
        "[]",
        '{"logfile": 5}',
        '{"logfile": null}',
        '{"logfile": ""}',
        '{"logfile": "x"}',
        '{"logfile": "1.5"}',
        '{"collector": ""}',
        '{"collector": "x PATH"}',
        '{"collector": "-1 PATH"}',
        '{"collector": "-1 /etc/passwd"}',
        '{"logfile": "' + "9" * 5000 + '"}',
        '{"collector": "' + "9" * 5000 + ' PATH"}',
        "[" * 100_000,
    ],
)
def test_no_position(log: RotatedLog, data_directory: Path, collector: FakeCollector, position: str) -> None:
    """What is no position, in either place, is refused as such."""
    write(log, b"one\n")
    path = collector.begin("1.log", b"two\n")
    with pytest.raises(ValueError, match=r"."):
        read(log, data_directory, LogStart(0, position=position.replace("PATH", path)), follow=True)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ({}, (b"one\n", b"two\n")),
        ({"other": "x"}, (b"one\n", b"two\n")),
        ({"collector": "0 /etc/passwd"}, (b"one\n", b"two\n")),
        ({"collector": "3"}, (b"one\n", b"two\n")),
        ({"collector": "0 None"}, (b"one\n", b"two\n")),
        ({"collector": "2 PATH"}, (b"one\n", b"o\n")),
        ({"collector": "99 PATH"}, (b"one\n", b"")),
        ({"logfile": "99"}, (b"one\n", b"two\n")),
        ({"logfile": "2"}, (b"e\n", b"two\n")),
    ],
)
def test_what_may_be_a_position(
    log: RotatedLog,
    data_directory: Path,
    collector: FakeCollector,
    position: dict[str, str],
    expected: tuple[bytes, bytes],
) -> None:
    """A place in a file that is none of the collector's, or behind the end, leads to no other file than the current."""
    write(log, b"one\n")
    path = collector.begin("1.log", b"two\n")
    start = LogStart(0, position=json.dumps(position).replace("PATH", path))
    assert read(log, data_directory, start, follow=True) == dict(zip(("logfile", "collector"), expected, strict=True))


def test_nothing_to_read(log: RotatedLog, data_directory: Path, tmp_path: Path) -> None:
    """Without a logfile and a collector, or without their files, there is nothing to read, and that is told."""
    for each in (log, None):
        for follow in (False, True):
            with pytest.raises(FileNotFoundError) as raised:
                read(each, data_directory, LogStart(5), follow=follow)
            assert raised.value.filename == (None if each is None else log.path)
    with pytest.raises(FileNotFoundError):
        read(log, tmp_path / "nowhere", LogStart(5))


def test_a_collectors_file_that_is_gone(log: RotatedLog, data_directory: Path, collector: FakeCollector) -> None:
    """Where the collector's files have been removed, the logfile is what there is, until there is another."""
    write(log, b"one\n")
    os.unlink(collector.begin("1.log", b"two\n"))
    assert read(log, data_directory, LogStart(5)) == {"logfile": b"one\n"}
    assert read(log, data_directory, LogStart(5), follow=True) == {"logfile": b"one\n", "collector": b""}
    os.rmdir(data_directory / "log")
    assert read(log, data_directory, LogStart(5)) == {"logfile": b"one\n"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("lines", [0, 5])
def test_a_file_of_somebody_elses(short_directory: Path, lines: int) -> None:
    """A server can name any file as its collector's; only what its owner may read is read."""
    (short_directory / "current_logfiles").write_text("stderr /etc/shadow\n")
    with pytest.raises(PermissionError):
        read(None, short_directory, LogStart(lines))
    with pytest.raises(PermissionError):
        read(None, short_directory, LogStart(lines, since=HOUR))


def test_no_data_directory(log: RotatedLog, tmp_path: Path) -> None:
    """The logfile is read also where the data directory is missing."""
    write(log, b"one\n")
    assert read(log, tmp_path / "nowhere", LogStart(5), follow=True) == {"logfile": b"one\n"}
