"""Who has a data directory, by its lock file and by what is seen of the machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from servers import sleeper, write_pid_file

from pgsupervisor.postgres import datalock, pidfile
from pgsupervisor.postgres.pidfile import PidFile

UP = 1000.0
"""When this machine came up."""

WRITTEN = PidFile(
    pid=4711,
    data_directory="/srv/pg/shop",
    started=1500,
    port=5432,
    socket_directory="/run/postgresql",
    listen_address=None,
    shared_memory=(2151772, 65539),
    status="ready",
)


@pytest.fixture
def postgres(tmp_path: Path) -> str:
    """A program named postgres, that does nothing."""
    program = tmp_path / "bin/postgres"
    program.parent.mkdir()
    shutil.copy("/bin/sleep", program)
    return str(program)


@pytest.mark.parametrize(
    ("started", "memory_here", "foreign"),
    [(1500, False, True), (1500, True, False), (500, False, False), (500, True, False), (None, False, False)],
)
def test_of_another_machine(started: int | None, foreign: bool, memory_here: bool) -> None:  # noqa: FBT001 - cells
    """What started since we are up, and left no memory here, was never here; of what came before nobody knows."""
    written = replace(WRITTEN, started=started)
    assert datalock.is_foreign(written, up_since=UP, memory_here=memory_here) is foreign


@pytest.mark.parametrize("text", ["47", "999999999\n", "-999999999\n", "+999999999x\n", " 999999999\n", "9" * 5000])
def test_what_postgresql_reads_a_number_in(tmp_path: Path, text: str) -> None:
    """A number of nobody's is no obstacle, however it is written: PostgreSQL starts over it."""
    (tmp_path / pidfile.NAME).write_text(text)
    assert datalock.problem(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("\n", "names no process"), ("x\n", "names no process"), ("0\n", "names no"), ("0" * 9000, "names no")],
)
def test_what_names_no_process(tmp_path: Path, text: str, wrong: str) -> None:
    """Over what names no process PostgreSQL starts no server, so it is said what to do about it."""
    (tmp_path / pidfile.NAME).write_text(text)
    why = str(datalock.problem(str(tmp_path)))
    assert why.startswith(f"{tmp_path}/postmaster.pid {wrong}")
    assert "remove the file" in why


def test_an_empty_file(tmp_path: Path, postgres: str) -> None:
    """An empty file is the lock of a server that is being started, if one is there, and else of one that was killed."""
    (tmp_path / pidfile.NAME).write_text("")
    with sleeper(directory=str(tmp_path)), sleeper(directory="/tmp", program=postgres):
        assert datalock.problem(str(tmp_path)) is None
    with sleeper(directory=str(tmp_path), program=postgres):
        assert str(datalock.problem(str(tmp_path))).startswith(f"{tmp_path}/postmaster.pid is empty")


def test_no_lock_file(tmp_path: Path) -> None:
    """Without a lock file, or a directory, nobody has it."""
    assert [datalock.problem(str(path)) for path in (tmp_path, tmp_path / "missing")] == [None, None]


def test_a_single_user_backend(tmp_path: Path, postgres: str) -> None:
    """A single-user backend is named with its pid, and held until it has ended; a server is no obstacle, it runs."""
    with sleeper(directory=str(tmp_path), program=postgres) as backend:
        write_pid_file(tmp_path, -backend.pid, tmp_path, 1)
        found = datalock.obstacle(str(tmp_path))
        assert found is not None
        assert found.process is not None
        advice = "let it finish, or end it"
        assert found.why == f"a single-user backend works on {tmp_path}, with the pid {backend.pid}: {advice}"
        assert (found.process.pid, found.process.alive()) == (backend.pid, True)
        found.close()
        write_pid_file(tmp_path, backend.pid, tmp_path, 1)
        assert datalock.obstacle(str(tmp_path)) is None


def test_a_number_that_is_another_s_by_now(tmp_path: Path, postgres: str) -> None:
    """The number of a single-user backend that was killed may be a stranger's, or another cluster's server's."""
    with sleeper() as stranger, sleeper(directory="/tmp", program=postgres) as server_elsewhere:
        for other in (stranger, server_elsewhere):
            write_pid_file(tmp_path, -other.pid, tmp_path, 1)
            assert datalock.obstacle(str(tmp_path)) is None
