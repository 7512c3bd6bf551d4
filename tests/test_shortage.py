"""What the machine refuses, in words; and disks that are not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pgsupervisor.daemon.last_words import last_words
from pgsupervisor.daemon.shortage import absence, names_shortage, refusal


@pytest.mark.parametrize(
    "text",
    [
        'exited with status 1: FATAL:  could not write to file "pg_wal/xlogtemp.7": No space left on device',
        'could not create lock file "postmaster.pid": Read-only file system',
        "FATAL:  insufficient file descriptors available to start server process",
        "[Errno 12] Cannot allocate memory",
    ],
)
def test_what_names_a_shortage(text: str) -> None:
    """The kernel's words for what there is no more of are known."""
    assert names_shortage(text)


def test_what_names_none() -> None:
    """Other errors are mistakes of somebody's."""
    assert not names_shortage('could not open file "/x/pg_hba.conf": No such file or directory')


def test_a_refusal_says_what_to_do() -> None:
    """Where a limit was hit, it is told which can be raised; any other error is told as it is."""
    fork = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    advice = "raise the limit of processes (ulimit -u, TasksMax, pids.max), or end some"
    assert refusal(fork) == f"Resource temporarily unavailable: {advice}"
    missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/x")
    assert refusal(missing) == "[Errno 2] No such file or directory: '/x'"


def test_a_data_directory_that_is_absent(tmp_path: Path) -> None:
    """A directory that is missing, or empty as a mount point is, is told of; what has anything in it is there."""
    assert absence(f"{tmp_path}/data") == f"{tmp_path}/data does not exist: mount its disk, or make it with initdb"
    assert absence(str(tmp_path)) == f"{tmp_path} is empty: mount its disk, or make a cluster there with initdb"
    (tmp_path / "data").touch()
    assert (absence(str(tmp_path)), absence(str(tmp_path / "data"))) == (None, None)


@pytest.mark.parametrize("process", ["startup process", '"startup" process'], ids=["15", "18"])
def test_a_postmaster_that_cannot_fork(process: str) -> None:
    """A postmaster that cannot start its first process says so in a mere remark, and ends (postmaster.c)."""
    said = f"could not fork {process}: Resource temporarily unavailable"
    log = f"LOG:  starting PostgreSQL\n2026-01-01 UTC [7] LOG:  {said}\nLOG:  database system is shut down\n"
    assert last_words(log) == said
