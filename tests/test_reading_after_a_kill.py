"""A log that is read when nobody has looked yet at what a process left behind that was killed while it rotated it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from pgsupervisor.system import collapse
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.logreader import LogReader
from pgsupervisor.system.rotation import RotatedLog

BLOCK = 4096

TEXT = b"".join(b"%08d %s\n" % (number, b"x" * 54) for number in range(1000))
"""A thousand lines of 64 bytes, all different."""


@pytest.fixture
def log(tmp_path: Path) -> RotatedLog:
    """A log whose beginning was copied and taken off by one who was killed in that moment."""
    path = tmp_path / "log"
    with open_for_append(str(path), None) as file:
        if not collapse.collapses(file.fileno()):
            pytest.skip("this file system cannot take off the beginning of a file")
        file.write(TEXT)
    with path.open("r+b") as file:
        copy = tmp_path / "log.0"
        copy.write_bytes(TEXT[:BLOCK])
        os.setxattr(copy, "user.pgsupervisor.block", b"%d" % collapse.first_block(file.fileno()))
        collapse.take_off(file.fileno(), BLOCK)
    return RotatedLog(str(path))


@pytest.mark.parametrize("position", [0, 100, BLOCK, 3 * BLOCK + 1, len(TEXT)])
def test_who_goes_on_at_a_position(log: RotatedLog, position: int) -> None:
    """One who has left off at a position goes on there, whoever comes first."""
    with contextlib.closing(LogReader(log, position)) as reader:
        assert b"".join(iter(reader.read, b"")) == TEXT[position:]
    assert sorted(os.listdir(os.path.dirname(log.path))) == ["log", "log.1"]
