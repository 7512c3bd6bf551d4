"""A user who would have root get hold of another user's server for him, by what he writes and where his links lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machine import SERVER_USER
from people import as_root
from servers import sleeper, write_pid_file

from pgsupervisor.postgres import Cluster, pidfile
from pgsupervisor.postgres.orphans import left_behind
from pgsupervisor.system.identity import User, acting_as

pytestmark = as_root

STRANGER = User("stranger", 65533, 65533, (), "/")


def test_a_server_of_another_user(short_directory: Path) -> None:
    """A server that a postmaster.pid names is not held for a user whose it is not, though it works in the directory."""
    short_directory.chmod(0o755)
    program = short_directory / "postgres"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with sleeper(STRANGER, str(short_directory), str(program)) as server:
        write_pid_file(short_directory, server.pid, short_directory, 1)
        os.chown(short_directory / "postmaster.pid", STRANGER.uid, -1)
        with acting_as(STRANGER):
            found = pidfile.postmaster(str(short_directory))
        assert found is not None
        found.close()
        write_pid_file(short_directory, server.pid, short_directory, 1, run_as=SERVER_USER)
        with acting_as(SERVER_USER), pytest.raises(PermissionError, match="names a server of 65533's"):
            pidfile.postmaster(str(short_directory))


def test_processes_of_another_user(cluster: Cluster) -> None:
    """Processes that use the shared memory which a postmaster.pid names are nobody's orphans but their own user's."""
    cluster.start()
    cluster.wait_until_started()
    written = pidfile.read(cluster.data_directory)
    assert written is not None
    found = []
    for who in (SERVER_USER, STRANGER):
        with acting_as(who):
            left = left_behind(cluster.data_directory, written.shared_memory)
        found.append(len(left) > 1)
        for process in left:
            process.close()
    assert found == [True, False]
