"""A postmaster.pid that was left behind: whatever its number is by now, a server starts, and nobody else notices."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import Site
from machine import SERVER_USER
from servers import sleeper, write, write_pid_file

from pgsupervisor.postgres import Cluster, Installation
from pgsupervisor.system.process import run

LINES = ("/elsewhere", 1, 5432, "", "", "1 1", "ready")
"""What stands below the number in a file that was left behind: a server that never was."""


@contextlib.contextmanager
def nobody(_cluster: Cluster) -> Iterator[int]:
    """Have a number that is no process's any more."""
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
        yield process.pid


@contextlib.contextmanager
def stranger(_cluster: Cluster) -> Iterator[int]:
    """Have the number of another program of the server's user."""
    with sleeper(SERVER_USER) as process:
        yield process.pid


@contextlib.contextmanager
def stranger_there(cluster: Cluster) -> Iterator[int]:
    """Have the number of another program of the server's user, which works in the data directory, as a shell may."""
    with sleeper(SERVER_USER, cluster.data_directory) as process:
        yield process.pid


@contextlib.contextmanager
def zombie(_cluster: Cluster) -> Iterator[int]:
    """Have the number of a process of the server's user that has ended, and was not reaped."""
    uid = None if SERVER_USER is None else SERVER_USER.uid
    with subprocess.Popen(["/bin/true"], user=uid) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid


@contextlib.contextmanager
def thread(_cluster: Cluster) -> Iterator[int]:
    """Have the number of a thread, of a program of the server's user: no process has it, and kill(2) finds it."""
    code = "import threading; t = threading.Timer(9999, print); t.start(); print(t.native_id, flush=True)"
    uid = None if SERVER_USER is None else SERVER_USER.uid
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    with subprocess.Popen([python, "-c", code], user=uid, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextlib.contextmanager
def server_elsewhere(cluster: Cluster) -> Iterator[int]:
    """Have the number of the server of another data directory, which goes on."""
    data = Path(cluster.data_directory)
    run(["cp", "-a", str(data), str(data.with_name("other"))], environment=os.environ)
    other = Cluster(cluster.installation, data.with_name("other"))
    other.start(settings={"port": "6543"})
    other.wait_until_started()
    pid = other.pid()
    assert pid is not None
    try:
        yield pid
        assert (other.pid(), other.ready_for_connections()) == (pid, True)
    finally:
        other.shutdown()
        other.wait_until_stopped()


def test_whose_number_it_is_by_now(cluster: Cluster) -> None:
    """The file of a server or single-user backend that was killed is in nobody's way, whoever has its number now."""
    for whose in (nobody, stranger, stranger_there, zombie, thread, server_elsewhere):
        with whose(cluster) as number:
            for written in (number, -number):
                write_pid_file(Path(cluster.data_directory), written, *LINES, run_as=SERVER_USER)
                assert cluster.pid() is None, whose
                cluster.start()
                cluster.wait_until_started()
                assert cluster.pid() not in {None, number}, whose
                cluster.shutdown()
                cluster.wait_until_stopped()


def test_half_a_file(cluster: Cluster) -> None:
    """Over a file that ends in the midst of a number, a server starts, if that number is nobody's."""
    write_pid_file(Path(cluster.data_directory), run_as=SERVER_USER).write_text("99999999")
    with cluster:
        assert cluster.ready_for_connections()


def test_a_daemon_and_the_number_of_another_server(site: Site) -> None:
    """A server whose number is another's by now is started again, and the other one is left alone."""
    site.add("blog")
    shop = site.add("shop", autostart=False)
    site.start()
    site.order("Start", "blog")
    write_pid_file(shop, site.pid("blog"), *LINES, run_as=SERVER_USER)
    blog = site.pid("blog")
    site.order("Start", "shop")
    assert (site.status("blog")["pid"], site.status("shop")["pid"] != blog) == (blog, True)
    assert [site.status(name)["restarts"] for name in ("blog", "shop")] == [0, 0]


def test_what_names_no_process(site: Site) -> None:
    """Over such a file PostgreSQL starts nothing: it is said what to do, and once that is done, the server starts."""
    path = write_pid_file(site.add("shop"), run_as=SERVER_USER)
    path.write_text("\0" * 4096)
    daemon = site.start()
    refused = site.pgsupctl("start", "shop")
    record = site.status("shop")
    why = f"{path} names no process, as after a crash of the machine, and PostgreSQL starts no server over that"
    reason = f"{why}: make sure that none runs there, and remove the file; the server is started then"
    assert (record["state"], record["reason"]) == ("BACKOFF", reason)
    path.unlink()
    again = site.wait_for_state("shop", "RUNNING")
    assert (again["reason"], again["restarts"]) == ("", 0)
    assert (refused.returncode, daemon.logged(now="FATAL")) == (1, [])


@pytest.mark.parametrize(("make", "remove"), [(os.mkfifo, os.unlink), (os.mkdir, os.rmdir)], ids=["FIFO", "directory"])
def test_what_is_no_file(site: Site, make: Callable[[Path], None], remove: Callable[[Path], None]) -> None:
    """In its place may be what is no file, and what a server would wait for without end: nobody waits for it."""
    path = site.add("shop") / "postmaster.pid"
    site.add("blog")
    make(path)
    daemon = site.start()
    refused = site.pgsupctl("start", "all")
    assert site.states() == {"shop": "BACKOFF", "blog": "RUNNING"}
    assert site.status("shop")["reason"].startswith(f"{path} names no process")
    remove(path)
    site.wait_for_state("shop", "RUNNING")
    assert (refused.returncode, daemon.logged(now="FATAL")) == (1, [])


def test_what_a_server_was_killed_over(site: Site, installation: Installation) -> None:
    """Lock files that a server was killed over before it had written into them are in no server's way."""
    data_directory = site.add("shop", installation)
    written = write_pid_file(data_directory, run_as=SERVER_USER)
    socket_lock = write(site.directory / f".s.PGSQL.{site.clusters['shop']['port']}.lock", "", data_directory)
    site.run()
    pid = site.pid("shop")
    assert [int(path.read_text().split()[0]) for path in (written, socket_lock)] == [pid, pid]
    assert site.status("shop")["restarts"] == 0
