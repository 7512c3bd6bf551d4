"""Fuzzers of what a server says of itself, in files that its user can write: whatever he does, nothing goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from fuzzing import examples, mangled
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.postgres import collector, controldata, datalock, pidfile
from pgsupervisor.postgres.orphans import left_behind
from pgsupervisor.system.sharedmemory import attached, may_have_been

PID_FILE = b"%d\n/srv/data\n1795364165\n5433\n/run/postgresql\nlocalhost\n  2151772     65539\nready   \n"
LOGFILES = b"stderr log/postgresql-2026-11-27_000000.log\ncsvlog /var/log/a.csv\njsonlog log/a.json\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory."""
    made = tmp_path_factory.mktemp("data")
    (made / "log").mkdir()
    (made / "global").mkdir()
    return made


@given(content=mangled(*(PID_FILE % pid for pid in (os.getpid(), -os.getpid(), 1, 999999999))))
@examples(100)
def test_postmaster_pid(directory: Path, content: bytes) -> None:
    """Whatever postmaster.pid says, it is told what it means, and what of it is a number fits 64 bits."""
    (directory / pidfile.NAME).write_bytes(content)
    assert pidfile.postmaster(str(directory)) is None
    found = datalock.obstacle(str(directory))
    if found is not None:
        found.close()
    written = pidfile.read(str(directory))
    assert pidfile.ignoring(written, str(directory)).keys() <= {"PG_GRANDPARENT_PID"}
    if written is None:
        return
    numbers = [written.pid, written.started or 0, written.port or 0, *(written.shared_memory or ())]
    assert all(-(2**63) <= number < 2**63 for number in numbers)
    json.dumps(asdict(written))
    known = pidfile.facts(os.getpid())
    assert known is not None
    # As one that another user has, and that is judged by when it began.
    assert pidfile.wrote(hidden(known), written, str(directory)) in {True, False}
    datalock.is_foreign(written, up_since=1e9, memory_here=False)
    if written.shared_memory is not None:
        may_have_been(written.shared_memory)
        assert attached(written.shared_memory) >= 0
    assert left_behind(str(directory), written.shared_memory) == []


def hidden(known: pidfile.Facts) -> pidfile.Facts:
    """Return the facts of a process as they are where its program may not be looked at."""
    return pidfile.Facts(**{**asdict(known), "executable": None, "directory": None})


@given(content=mangled(LOGFILES, b"stderr \0\n", b"stderr ../../../../../../proc/self/fd\n"))
@examples(100)
def test_current_logfiles(directory: Path, content: bytes) -> None:
    """Whatever current_logfiles says, there are files of the collector's, or an OSError."""
    (directory / collector.NAME).write_bytes(content)
    current = collector.current_logfile(str(directory))
    if current is not None:
        with contextlib.suppress(OSError):
            assert collector.logfiles(current)[-1] == current


@given(content=st.binary(max_size=40))
@examples(50)
def test_pg_control(directory: Path, content: bytes) -> None:
    """Whatever pg_control holds, it tells of a recovery or of none."""
    (directory / "global" / "pg_control").write_bytes(content)
    assert controldata.recovery(str(directory)) in {None, "crash", "archive"}
