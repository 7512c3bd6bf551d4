"""Reading a log on, while it is rotated, compressed, cut, replaced, and its archives are removed."""

from __future__ import annotations

import gzip
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from logs import BLOCK, TEXT, rotate_all, write

from pgsupervisor.errors import LogLostError
from pgsupervisor.system.collapse import collapses
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.logreader import LogReader, written_since
from pgsupervisor.system.rotation import RotatedLog, parts


@pytest.fixture(params=["collapsed", "emptied"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RotatedLog]:
    """An empty log, where files can lose their beginning, and where they cannot."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as in_memory:
        made = RotatedLog(str((tmp_path if request.param == "collapsed" else Path(in_memory)) / "log"))
        with open_for_append(made.path, None) as file:
            if collapses(file.fileno()) != (request.param == "collapsed"):
                pytest.skip("this file system cannot take off the beginning of a file")
        yield made


@pytest.fixture
def reader(log: RotatedLog) -> Iterator[LogReader]:
    """One who reads the log from its beginning."""
    with closing(LogReader(log, 0)) as made:
        yield made


def rest(reader: LogReader) -> bytes:
    """Read to the end."""
    return b"".join(iter(reader.read, b""))


def compress_all(log: RotatedLog) -> None:
    while log.compress():
        pass


def test_to_the_end_and_on(log: RotatedLog, reader: LogReader) -> None:
    """Who is at the end gets nothing, and later what was written since; his place is how much that is in all."""
    assert (reader.read(), reader.place, reader.path) == (b"", "0", log.path)
    write(log, b"one\n")
    assert (reader.read(), reader.read(), reader.place) == (b"one\n", b"", "4")
    write(log, b"two\n")
    assert (reader.read(), reader.read(), reader.place) == (b"two\n", b"", "8")


def test_from_any_position(log: RotatedLog) -> None:
    """From each position on, be it in the log, in a plain or in a compressed archive, all that follows is read."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    compress_all(log)
    write(log, TEXT[3 * BLOCK : 6 * BLOCK])
    rotate_all(log, BLOCK, 9)
    for position in {0, 1, 6 * BLOCK, *(each + near for each in range(BLOCK, 6 * BLOCK, BLOCK) for near in (-1, 0, 1))}:
        with closing(LogReader(log, position)) as reader:
            assert rest(reader) == TEXT[position : 6 * BLOCK]
            assert reader.position == 6 * BLOCK


def test_over_a_rotation(log: RotatedLog, reader: LogReader) -> None:
    """Who stands in the middle of what is rotated away goes on there, and in what comes then."""
    write(log, TEXT[:100])
    assert rest(reader) == TEXT[:100]
    write(log, TEXT[100 : 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    write(log, TEXT[3 * BLOCK : 4 * BLOCK])
    assert rest(reader) == TEXT[100 : 4 * BLOCK]


def test_in_an_archive_that_goes(log: RotatedLog, reader: LogReader) -> None:
    """The archive that somebody reads stays his, while it gets another number, is compressed, and is removed."""
    size = 40 * BLOCK
    text = TEXT * 4
    write(log, text[:size])
    rotate_all(log, size // 2, 9)
    first = reader.read()
    compress_all(log)
    write(log, text[size : size + size // 2])
    rotate_all(log, size // 2, 9)
    oldest = parts(log.path)[0]
    os.unlink(oldest.path)
    assert first + rest(reader) == text[: size + size // 2]


def test_lost(log: RotatedLog, reader: LogReader) -> None:
    """Who is so far behind that what comes next was removed is told so, and gets nothing that stands elsewhere."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    write(log, TEXT[3 * BLOCK : 9 * BLOCK])
    rotate_all(log, BLOCK, 1)
    with pytest.raises(LogLostError) as raised:
        reader.read()
    assert raised.value.path == log.path
    begin = parts(log.path)[0].begin
    with closing(LogReader(log, begin)) as another:
        assert rest(another) == TEXT[begin : 9 * BLOCK]


def test_cut(log: RotatedLog, reader: LogReader) -> None:
    """A log that somebody has cut is read from its beginning."""
    write(log, TEXT[:1000])
    rest(reader)
    os.truncate(log.path, 0)
    assert (reader.read(), reader.position) == (b"", 0)
    write(log, b"new\n")
    assert (rest(reader), reader.position) == (b"new\n", 4)


def test_cut_after_rotations(log: RotatedLog, reader: LogReader) -> None:
    """The positions of a log that has been rotated go on where they were, also when it is cut."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    begin = parts(log.path)[-1].begin
    write(log, TEXT[:1000])
    rest(reader)
    os.truncate(log.path, 0)
    write(log, b"new\n")
    assert (rest(reader), reader.position) == (b"new\n", begin + 4)


@pytest.mark.parametrize("size", [3, 1000, 5000])
def test_replaced(log: RotatedLog, reader: LogReader, size: int) -> None:
    """Another file at the log's place is read from its beginning, be it shorter or longer than what was read."""
    write(log, TEXT[:1000])
    rest(reader)
    new = Path(f"{log.path}.new")
    new.write_bytes(TEXT[2000 : 2000 + size])
    new.rename(log.path)
    assert (rest(reader), reader.position) == (TEXT[2000 : 2000 + size], size)


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("size", [3, 1000, 5000])
def test_removed(log: RotatedLog, reader: LogReader, size: int, *, looked: bool) -> None:
    """While the log is not there, there is nothing to read; one that is made anew is read from its beginning."""
    write(log, TEXT[:1000])
    rest(reader)
    os.unlink(log.path)
    if looked:
        assert rest(reader) == b""
    write(log, TEXT[2000 : 2000 + size])
    assert (rest(reader), reader.position) == (TEXT[2000 : 2000 + size], size)


def test_the_rest_of_the_last_one(log: RotatedLog, reader: LogReader) -> None:
    """What was written to a log before it was renamed, or after that by one who has it open, is read, too."""
    assert reader.read() == b""
    with open_for_append(log.path, None) as file:
        file.write(b"one\n")
        os.rename(log.path, f"{log.path}.old")
        assert rest(reader) == b"one\n"
        file.write(b"two\n")
        assert rest(reader) == b"two\n"
        file.write(b"three\n")
        write(log, b"new\n")
        assert (rest(reader), reader.position) == (b"three\nnew\n", 4)


def test_a_damaged_archive(log: RotatedLog, reader: LogReader) -> None:
    """What cannot be read is an error, and not skipped."""
    write(log, TEXT[: 2 * BLOCK])
    rotate_all(log, BLOCK, 9)
    compress_all(log)
    archive = Path(parts(log.path)[0].path)
    archive.write_bytes(archive.read_bytes()[:50] + bytes(50) + archive.read_bytes()[100:])
    with pytest.raises(gzip.BadGzipFile, match="is damaged"):
        rest(reader)


def test_an_archive_that_ends_too_early(log: RotatedLog) -> None:
    """An archive that somebody has cut holds nobody up: what there is, is read, and then what comes after it."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 9)
    *_, archive, last = parts(log.path)
    os.truncate(archive.path, 10)
    with closing(LogReader(log, last.begin - 10)) as reader:
        assert rest(reader) == Path(archive.path).read_bytes() + Path(log.path).read_bytes()


@pytest.mark.parametrize("log", ["collapsed"], indirect=True)
def test_while_somebody_writes_and_rotates(log: RotatedLog, reader: LogReader) -> None:
    """Who follows reads all, once and in its order, while others write, rotate and compress."""
    text = TEXT * 5
    written = threading.Event()

    def flood() -> None:
        with open_for_append(log.path, None) as file:
            for start in range(0, len(text), 640):
                file.write(text[start : start + 640])
        written.set()

    def rotate() -> None:
        while not written.is_set():
            rotate_all(log, 4 * BLOCK, 10_000)
            log.compress()

    workers = [threading.Thread(target=flood), threading.Thread(target=rotate)]
    for worker in workers:
        worker.start()
    seen = b""
    while not written.is_set():
        seen += reader.read()
    for worker in workers:
        worker.join()
    assert seen + rest(reader) == text


acts = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 3 * BLOCK)),
    st.tuples(st.just("read"), st.integers(1, 3)),
    st.tuples(st.just("rotate"), st.integers(1, 2 * BLOCK)),
    st.tuples(st.just("compress"), st.just(0)),
    st.tuples(st.just("again"), st.just(0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(play=st.lists(acts, max_size=25))
@example(play=[("write", 10_002), ("rotate", 1)])
def test_any_play(log: RotatedLog, play: list[tuple[str, int]]) -> None:
    """Whatever is done, in whatever order, one who reads gets what was written; so does who goes on in his place."""
    for path in Path(log.path).parent.iterdir():
        path.unlink()
    write(log, b"")
    text = TEXT * 10
    written = 0
    seen = b""
    reader = LogReader(log, 0)
    for act, number in play:
        if act == "write":
            write(log, text[written : written + number])
            written += number
        elif act == "read":
            seen += b"".join(reader.read() for _ in range(number))
        elif act == "rotate":
            rotate_all(log, number, 10**6)  # more than there can be: nothing is thrown away
        elif act == "compress":
            log.compress()
        else:
            reader.close()
            reader = LogReader(log, int(reader.place))
    seen += rest(reader)
    assert (seen, reader.position) == (text[:written], written)
    reader.close()


class TestWrittenSince:
    """What was written to a log since a position."""

    def test_all_of_it(self, log: RotatedLog) -> None:
        """All of it comes as text, also what was rotated away since."""
        write(log, TEXT[: 3 * BLOCK])
        rotate_all(log, BLOCK, 9)
        compress_all(log)
        for position in (0, 100, BLOCK, 3 * BLOCK):
            assert written_since(log, position) == TEXT[position : 3 * BLOCK].decode()

    def test_a_long_text(self, log: RotatedLog) -> None:
        """Of a long text only the end comes."""
        write(log, TEXT[: 3 * BLOCK])
        rotate_all(log, BLOCK, 9)
        assert written_since(log, 0, limit=100) == TEXT[3 * BLOCK - 100 : 3 * BLOCK].decode()
        assert written_since(log, 3 * BLOCK - 50, limit=100) == TEXT[3 * BLOCK - 50 : 3 * BLOCK].decode()

    def test_bytes_that_are_no_text(self, log: RotatedLog) -> None:
        """What is no UTF-8 is replaced."""
        write(log, b"caf\xe9\n")
        assert written_since(log, 0) == "caf\N{REPLACEMENT CHARACTER}\n"

    def test_a_log_that_was_cut(self, log: RotatedLog) -> None:
        """Of a log that became shorter, all that is there was written since."""
        write(log, b"new\n")
        assert written_since(log, 1000) == "new\n"

    def test_what_cannot_be_read(self, log: RotatedLog) -> None:
        """A log that is lost, damaged, or not there, is empty."""
        write(log, TEXT[: 3 * BLOCK])
        rotate_all(log, BLOCK, 9)
        compress_all(log)
        Path(parts(log.path)[0].path).write_bytes(b"nonsense")
        assert written_since(log, 0) == ""
        os.unlink(log.path)
        assert written_since(log, 0) == ""
