"""Log files that servers write into directly, and those who read them."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from pgsupervisor.system.identity import user
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.logreader import LogReader
from pgsupervisor.system.rotation import RotatedLog


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
        LogReader(RotatedLog(str(link)), 0).read()
    assert target.read_bytes() == b"secret\n"


def test_a_fifo_holds_nobody_up(tmp_path: Path) -> None:
    """A FIFO at the log's place is an error, and no wait for its other end."""
    path = tmp_path / "log"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        open_for_append(str(path), None)
    with closing(LogReader(RotatedLog(str(path)), 0)) as reader, pytest.raises(OSError, match="seek"):
        reader.read()


def test_the_descriptor_is_not_inherited(tmp_path: Path) -> None:
    """Only who is given the descriptor on purpose gets it."""
    with open_for_append(str(tmp_path / "log"), None) as log:
        assert not os.get_inheritable(log.fileno())
