"""Empty lock files: only those are written into that a server may have left."""

from __future__ import annotations

import os
from pathlib import Path

from machine import INSTALLATIONS

from pgsupervisor.postgres.lockfile import _fill, take_over


def test_only_an_empty_file(tmp_path: Path) -> None:
    """An empty file gets our process id; one that says something, a link, and what is no file stay as they are."""
    empty, written, link, fifo = (tmp_path / name for name in ("empty", "written", "link", "fifo"))
    empty.touch()
    written.write_text("1234\n")
    (tmp_path / "target").touch()
    link.symlink_to("target")
    os.mkfifo(fifo)  # nobody reads it: whoever opened it to write would wait for ever
    for path in (empty, written, link, fifo, tmp_path / "missing"):
        _fill(str(path))
    texts = [path.read_text() for path in (empty, written, link)]
    assert (texts, (tmp_path / "missing").exists()) == ([f"{os.getpid()}\n", "1234\n", ""], False)


def test_sockets_that_are_given(tmp_path: Path) -> None:
    """A configuration that cannot be read keeps no lock file from being taken over whose place is given."""
    lock = tmp_path / ".s.PGSQL.5439.lock"
    for settings in ({"port": "5439"}, {"port": "5439", "Unix-Socket-Directories": str(tmp_path)}):
        lock.write_text("")
        take_over(INSTALLATIONS[0], str(tmp_path / "none"), None, settings, left_empty=False)
    assert lock.read_text() == f"{os.getpid()}\n"
