"""Log files that servers write into directly, and those who read them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.system.logfile import LogReader, open_for_append, written_since
from pgsupervisor.system.process import user

MOST = 1024 * 1024


@contextlib.contextmanager
def _reader(path: Path, lines: int, most: int = MOST) -> Iterator[LogReader]:
    reader = LogReader(str(path), lines, most)
    try:
        yield reader
    finally:
        reader.close()


def _rest(reader: LogReader) -> bytes:
    return b"".join(iter(reader.read, b""))


def test_a_new_log(tmp_path: Path) -> None:
    """A log is made with mode 0640, and is ours where no owner is given."""
    path = tmp_path / "log"
    mask = os.umask(0o022)
    try:
        with open_for_append(str(path), None) as log:
            log.write(b"one\n")
    finally:
        os.umask(mask)
    facts = path.stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (0o640, os.geteuid())
    assert path.read_bytes() == b"one\n"


def test_append(tmp_path: Path) -> None:
    """What is there stays; two who write share the end; a file that is cut goes on at its beginning."""
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    with open_for_append(str(path), None) as one, open_for_append(str(path), None) as other:
        one.write(b"one\n")
        other.write(b"other\n")
        one.write(b"again\n")
        assert path.read_bytes() == b"old\none\nother\nagain\n"
        os.truncate(path, 0)
        other.write(b"new\n")
    assert path.read_bytes() == b"new\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_owner(tmp_path: Path) -> None:
    """Root makes the log for the server's user, also where it has made one for itself before."""
    nobody = user("nobody")
    path = tmp_path / "log"
    open_for_append(str(path), None).close()
    open_for_append(str(path), nobody).close()
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid) == (nobody.uid, nobody.gid)


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    """A symlink at the log's place leads nobody elsewhere, neither to write nor to read."""
    target = tmp_path / "target"
    target.write_bytes(b"secret\n")
    link = tmp_path / "log"
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        open_for_append(str(link), None)
    with pytest.raises(OSError, match="symbolic links"):
        LogReader(str(link), 10, MOST)
    assert target.read_bytes() == b"secret\n"


def test_a_fifo_holds_nobody_up(tmp_path: Path) -> None:
    """A FIFO at the log's place is an error, and no wait for its other end."""
    path = tmp_path / "log"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        open_for_append(str(path), None)
    with pytest.raises(OSError, match="seek"):
        LogReader(str(path), 10, MOST)


def test_the_descriptor_is_not_inherited(tmp_path: Path) -> None:
    """Only who is given the descriptor on purpose gets it."""
    with open_for_append(str(tmp_path / "log"), None) as log:
        assert not os.get_inheritable(log.fileno())


@pytest.mark.parametrize(
    ("offset", "limit", "text"),
    [(0, 100, "0123456789"), (4, 100, "456789"), (4, 3, "789"), (0, 10, "0123456789"), (10, 5, ""), (99, 5, "")],
)
def test_written_since(tmp_path: Path, offset: int, limit: int, text: str) -> None:
    """What was written after an offset is returned; of a long text, the end."""
    path = tmp_path / "log"
    path.write_text("0123456789")
    assert written_since(str(path), offset, limit) == text


def test_written_since_reads_anything(tmp_path: Path) -> None:
    """A file that is not there is empty, and bytes that are no UTF-8 are no error."""
    assert written_since(str(tmp_path / "none"), 0) == ""
    (tmp_path / "log").write_bytes(b"caf\xe9")
    assert written_since(str(tmp_path / "log"), 0) == "caf\ufffd"


LINES = st.lists(st.sampled_from([b"", b"a", b"bc" * 3, b"\r"]), max_size=8).map(b"\n".join)


@given(content=LINES, end=st.sampled_from([b"", b"\n"]), lines=st.integers(0, 10))
def test_last_lines(tmp_path_factory: pytest.TempPathFactory, content: bytes, end: bytes, lines: int) -> None:
    """The last lines are those that anybody would count, whether the last one has ended or not."""
    path = tmp_path_factory.getbasetemp() / "log"
    path.write_bytes(content + end)
    with _reader(path, lines) as reader:
        all_lines = [line + b"\n" for line in (content + end).split(b"\n")]
        all_lines[-1] = all_lines[-1].removesuffix(b"\n")
        if not all_lines[-1]:
            all_lines.pop()
        assert _rest(reader) == b"".join(all_lines[len(all_lines) - min(lines, len(all_lines)) :])


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5])
def test_last_lines_over_blocks(tmp_path: Path, lines: int) -> None:
    """Lines longer than what is read at a time are found all the same."""
    text = [bytes([65 + number]) * size + b"\n" for number, size in enumerate([10, 70_000, 65_535, 65_536, 5])]
    path = tmp_path / "log"
    path.write_bytes(b"".join(text))
    with _reader(path, lines) as reader:
        assert _rest(reader) == b"".join(text[-lines:])


def test_no_more_than_most(tmp_path: Path) -> None:
    """However long the lines are, no more than `most` bytes are read from the end."""
    path = tmp_path / "log"
    path.write_bytes(b"x" * 200_000 + b"\nlast\n")
    with _reader(path, 2, most=100_000) as reader:
        assert _rest(reader) == b"x" * 99_994 + b"\nlast\n"


def test_following(tmp_path: Path) -> None:
    """A reader goes on from where it was, and at the beginning of a file that was cut."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    with _reader(path, 1) as reader, open_for_append(str(path), None) as log:
        assert _rest(reader) == b"two\n"
        assert reader.read() == b""
        log.write(b"three\n")
        assert _rest(reader) == b"three\n"
        os.truncate(path, 0)
        assert reader.read() == b""
        log.write(b"four\n")
        assert _rest(reader) == b"four\n"


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    """There is nothing to read then, and the error says so."""
    with pytest.raises(FileNotFoundError):
        LogReader(str(tmp_path / "none"), 1, MOST)
