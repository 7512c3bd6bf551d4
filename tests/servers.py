"""What tests with real servers need beside the fixtures: SQL, a client that stays, a process that is no server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pgsupervisor.postgres import Cluster, Installation, command
from pgsupervisor.system.process import User, run


def psql_arguments(cluster: Cluster, *arguments: str) -> list[str]:
    """Return what starts psql on the cluster's Unix socket."""
    written = cluster.announced()
    assert written is not None
    assert written.socket_directory is not None
    where = ["-h", written.socket_directory, "-p", str(written.port)]
    return [cluster.installation.require("psql"), "-X", "-A", "-t", *where, "-U", "postgres", *arguments, "postgres"]


def sql(cluster: Cluster, statement: str) -> str:
    """Run a statement and return what it answers."""
    finished = run(psql_arguments(cluster, "-c", statement), environment=command.environment(os.environ))
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@contextlib.contextmanager
def client(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    """Have a client connected that stays until the end, or until the server throws it out."""
    with subprocess.Popen(
        psql_arguments(cluster),
        env=command.environment(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("select 'connected';\n")
        process.stdin.flush()
        assert process.stdout.readline() == "connected\n"
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def sleeper(
    run_as: User | None = None, directory: str = "/", program: str = "sleep"
) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process that is no server of PostgreSQL, and see that nobody ended it."""
    uid = None if run_as is None else run_as.uid
    with subprocess.Popen([program, "1000"], cwd=directory, user=uid) as process:
        try:
            yield process
            assert process.poll() is None, "a process that is no server was ended"
        finally:
            process.kill()


def write_pid_file(data_directory: Path, *lines: object, run_as: User | None = None) -> Path:
    """Write a postmaster.pid of these lines, as the server's user would."""
    path = data_directory / "postmaster.pid"
    path.write_text("".join(f"{line}\n" for line in lines))
    if run_as is not None:
        os.chown(path, run_as.uid, run_as.gid)
    path.chmod(0o600)
    return path


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code, with the package at hand, in a process of its own."""
    root = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def owner_name(user: User | None) -> str | None:
    """Return whom a new cluster is made for."""
    return None if user is None else user.name


def new_cluster(installation: Installation, data_directory: Path, user: User | None) -> Cluster:
    """Return a cluster whose directory need not exist yet."""
    return Cluster(installation, data_directory, user=owner_name(user))
