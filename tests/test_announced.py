"""What a server says of itself, written by hand into the files of a data directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgsupervisor.daemon.announced import news
from pgsupervisor.daemon.running import Running
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.supervision.life import Fact, Ready, Recovering
from pgsupervisor.system.process import Process
from tests.fakes import SPEC

IN_CRASH_RECOVERY, IN_PRODUCTION = 4, 6


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A process that is held as the server of a data directory, in which no more is written than that it starts."""
    (tmp_path / "global").mkdir()
    cluster = Cluster(Installation({"version": "PostgreSQL 15.18"}), tmp_path)
    described = replace(SPEC, data_directory=str(tmp_path))
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program,
        Process(program.pid) as process,
    ):
        made = Running(described, cluster.installation, cluster, process, program, 0, None)
        _write(made, IN_PRODUCTION, program.pid, "starting")
        yield made
        program.kill()


def _write(running: Running, state: int, pid: int, status: str) -> None:
    directory = Path(running.spec.data_directory)
    (directory / "postmaster.pid").write_text(f"{pid}\n{directory}\n1\n5433\n\n\n1 1\n{status}\n", encoding="ascii")
    (directory / "global" / "pg_control").write_bytes(bytes(16) + bytes([state, 0, 0, 0]))


def told(running: Running) -> list[Fact]:
    """Return what is news in either file."""
    return [*news(running, control=True), *news(running, control=False)]


def test_each_is_told_once(running: Running) -> None:
    """That it recovers, and that it is ready, is news for one time."""
    assert told(running) == []
    for state, status, fact in (
        (IN_CRASH_RECOVERY, "starting", Recovering("crash")),
        (IN_PRODUCTION, "ready", Ready(standby=False)),
    ):
        _write(running, state, running.process.pid, status)
        assert [told(running), told(running)] == [[fact], []]


def test_what_another_has_written(running: Running) -> None:
    """Nothing that stands there under another number is of the server that is held."""
    _write(running, IN_PRODUCTION, os.getpid(), "ready")
    assert told(running) == []


def test_one_that_has_ended(running: Running) -> None:
    """A server that has ended is not ready any more, whatever it has left."""
    _write(running, IN_PRODUCTION, running.process.pid, "ready")
    running.process.signal(signal.SIGKILL)
    assert running.process.wait(60)
    assert told(running) == []
