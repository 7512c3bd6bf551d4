"""What tests with real servers need beside the fixtures: SQL, a client that stays, a process that is no server.

And files that belong to the server's user, and a count of how often the server was told to read them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Site
from machine import INSTALLATIONS

from pgsupervisor.postgres import Cluster, Installation, command
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run


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


def sql_that_fails(cluster: Cluster, statement: str) -> str:
    """Run a statement that ends in an error, perhaps with its server, and return what is said of it."""
    finished = run(psql_arguments(cluster, "-c", statement), environment=command.environment(os.environ))
    assert finished.returncode != 0, finished.stdout
    return finished.stderr


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


def owned(path: Path, like: Path) -> Path:
    """Give a file or directory, which must be there, to the owner of another."""
    facts = like.stat()
    os.chown(path, facts.st_uid, facts.st_gid)
    return path


def new_directory(path: Path, like: Path) -> Path:
    """Make a directory that belongs to the owner of another."""
    path.mkdir()
    return owned(path, like)


def write(path: Path, text: str, like: Path) -> Path:
    """Write a file that belongs to the owner of another."""
    path.write_text(text)
    return owned(path, like)


def append(path: Path, text: str) -> int:
    """Add text to a file, as `echo >>` does, and return how many lines it has then."""
    with path.open("a") as file:
        file.write(text)
    return len(path.read_text().splitlines())


def reason(site: Site, text: str) -> str:
    """Wait until status has something with this text in it to say of the cluster `shop`, and return it."""
    return str(site.wait_for("shop", lambda each: text in str(each["reason"]))["reason"])


def mended(site: Site) -> None:
    """Wait until status has nothing to say of the cluster `shop` any more."""
    site.wait_for("shop", lambda each: (each["state"], each["reason"]) == ("RUNNING", ""))


def linked_installation(site: Site, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Make an installation of links to the programs of another, which a test may change; the site knows it."""
    bindir = site.directory / "bin"
    bindir.mkdir()
    for program in Path(installation.bindir).iterdir():
        (bindir / program.name).symlink_to(program)
    made = Installation.from_bindir(bindir)
    monkeypatch.setattr("daemons.INSTALLATIONS", [*INSTALLATIONS, made])
    return made


def add_clock(site: Site, delay: str = "600ms") -> None:
    """Add a cluster that is reloaded long after another whose file was saved at the same time."""
    site.add("clock", reload_delay=delay)


def reloads(site: Site) -> int:
    """Return how often the server `shop` was told to read its files, by its own word, once that is settled.

    A reload that should not be is no event to wait for. But the clock is saved after all that could lead to one, and
    told later, so whatever is to come has come by then.
    """
    daemon = site.daemons[-1]
    path = Path(str(site.clusters["clock"]["data_directory"]), "pg_ident.conf")
    count = len(daemon.logged(event="reloaded", cluster="clock"))
    append(path, "# tick\n")
    daemon.wait_for_log(count + 1, event="reloaded", cluster="clock", files=[str(path)])
    return site.logfile("shop").read_text().count("received SIGHUP")
