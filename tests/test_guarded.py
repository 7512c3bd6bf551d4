"""Files of somebody else's: whatever has their names, nobody waits for it, and no more is read than may be."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pgsupervisor.postgres import collector, controldata, datalock, pidfile
from pgsupervisor.postgres.addresses import unix_problems
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.system.guarded import Allowance, beginning_of, content_of, read_once


def sparse(path: Path) -> None:
    """Make a file of a terabyte that costs nothing."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


def socketed(path: Path) -> None:
    """Leave a Unix socket."""
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(path))


NO_FILES: dict[str, Callable[[Path], None]] = {
    "directory": Path.mkdir,
    "FIFO": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "socket": socketed,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_no_file(short_directory: Path, make: Callable[[Path], None]) -> None:
    """A directory, a FIFO or a device is an error at once, and names itself."""
    path = short_directory / "file"
    make(path)
    for read in (content_of, beginning_of):
        with pytest.raises(OSError, match=str(path)):
            read(str(path), 100)


def test_a_file_in_pieces(tmp_path: Path) -> None:
    """A file is read as a whole, or up to what may be read of it."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert (content_of(str(path), 3), beginning_of(str(path), 3), beginning_of(str(path), 2)) == (b"abc", b"abc", b"ab")
    with pytest.raises(OSError, match="File too large"):
        content_of(str(path), 2)
    sparse(path)
    assert beginning_of(str(path), 3) == bytes(3)


def test_a_file_without_a_size() -> None:
    """What says that it has no size, as files in /proc do, is read to its end all the same."""
    path = Path("/proc/filesystems")
    assert content_of(str(path), 1 << 16) == path.read_bytes()


def test_what_comes_in_short_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that gives less than was asked for, and fails then, is not taken for the end of the file."""
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    read = os.read
    monkeypatch.setattr(os, "read", lambda file, most: read(file, min(most, 2)))
    assert (content_of(str(path), 100), beginning_of(str(path), 5)) == (b"abcdef", b"abcde")


def test_files_that_are_read_once(tmp_path: Path) -> None:
    """Whoever decides by a file has one content of it all the time, unless that is more than may be read now."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with read_once():
        assert content_of(str(path), 3) == b"one"
        path.write_bytes(b"another")
        assert (content_of(str(path), 3), beginning_of(str(path), 3)) == (b"one", b"ano")
        with pytest.raises(OSError, match="File too large"):
            content_of(str(path), 2)
    assert content_of(str(path), 7) == b"another"


def test_an_allowance(tmp_path: Path) -> None:
    """Empty files, short lines and names have an end as well; what there is no allowance left for is too large."""
    (tmp_path / "empty").touch()
    (tmp_path / "lines").write_bytes(b"\n" * 1000)
    allowance = Allowance(10_000)
    assert [allowance.content_of(str(tmp_path / "empty")) for _ in range(20)] == [b""] * 20
    assert len(allowance.entries_of(str(tmp_path))) == 2
    for too_much in (lambda: allowance.content_of(str(tmp_path / "lines")), lambda: named(Allowance(511), tmp_path)):
        with pytest.raises(OSError, match="File too large") as caught:
            too_much()
        assert caught.value.errno == errno.EFBIG


def named(allowance: Allowance, directory: Path) -> list[os.DirEntry[str]]:
    return allowance.entries_of(str(directory))


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_a_data_directory_without_files(short_directory: Path, make: Callable[[Path], None]) -> None:
    """Whatever its owner puts in the place of a server's files, he gets an answer, and no server is started over it."""
    directory = str(short_directory)
    (short_directory / "global").mkdir()
    for name in ("postmaster.pid", "current_logfiles", "global/pg_control", "postgresql.conf", ".s.PGSQL.1.lock"):
        make(short_directory / name)
    assert (pidfile.read(directory), pidfile.postmaster(directory)) == (None, None)
    obstacle = datalock.problem(directory)
    assert obstacle is not None
    assert "names no process" in obstacle
    for read in (collector.current_logfile, controldata.recovery, settings_of):
        with pytest.raises(OSError, match=directory):
            read(directory)
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(f"{directory}/.s.PGSQL.1")
        server.listen()
        assert "is in use;" in unix_problems([directory], 1, None)[0]


def settings_of(data_directory: str) -> dict[str, str]:
    return dict(ConfigFile(f"{data_directory}/postgresql.conf"))


def test_a_data_directory_of_large_files(short_directory: Path) -> None:
    """A file without an end is read as far as it may say something."""
    directory = str(short_directory)
    (short_directory / "global").mkdir()
    for name in ("postmaster.pid", "current_logfiles", "global/pg_control", "postgresql.conf", "PG_VERSION"):
        sparse(short_directory / name)
    assert [read(directory) for read in (pidfile.read, collector.current_logfile, controldata.recovery)] == [None] * 3
    assert len(pidfile.text(directory) or "") == 8192
    with pytest.raises(OSError, match="File too large"):
        settings_of(directory)
