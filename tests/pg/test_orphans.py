"""Backends that outlive a postmaster that was killed: waited for, ended, and then the server runs again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
from daemons import Daemon, Site, ends, held
from servers import psql_arguments, sql

from pgsupervisor.postgres import Installation, command
from pgsupervisor.system.process import Process

_BUSY = "do $$ begin raise notice '%', pg_backend_pid(); loop end loop; end $$"


@contextlib.contextmanager
def busy_backend(site: Site) -> Iterator[Process]:
    """Have a backend of the server `shop` that computes, and notices nothing."""
    psql = psql_arguments(site.cluster("shop"), "-c", _BUSY)
    with subprocess.Popen(psql, env=command.environment(os.environ), stderr=subprocess.PIPE, text=True) as connected:
        assert connected.stderr is not None
        backend = int(connected.stderr.readline().rpartition(" ")[2])
        with held(backend) as process:
            try:
                yield process
            finally:
                process.signal(signal.SIGKILL)
                connected.kill()


def kill(pid: int) -> None:
    """Kill a postmaster and nothing else, as the kernel does when memory runs out."""
    with held(pid) as postmaster:
        postmaster.signal(signal.SIGKILL)
        assert ends(postmaster)


def reasons(daemon: Daemon) -> list[object]:
    """Return what has been said about orphans of the server `shop`, in order."""
    said = [each.get("reason", "") for each in daemon.logged(event="state changed", cluster="shop")]
    return [each for each in said if "orphan" in str(each)]


def test_a_busy_backend_is_told_to_quit(site: Site, installation: Installation) -> None:
    """A backend that outlives its postmaster is waited for, then told to quit; then the server runs again."""
    site.add("shop", installation)
    daemon = site.run()
    with busy_backend(site) as backend:
        kill(site.pid("shop"))
        waiting = site.wait_for("shop", lambda each: "orphan" in str(each["reason"]))
        assert (waiting["state"], waiting["reason"]) == ("BACKOFF", "waiting for 1 orphaned backend")
        assert ends(backend)
    again = site.wait_for_state("shop", "RUNNING")
    assert (again["restarts"], sql(site.cluster("shop"), "select 1")) == (1, "1")
    assert reasons(daemon) == ["waiting for 1 orphaned backend", "waiting for 1 orphaned backend after SIGQUIT"]
    assert "still in use" not in site.logfile("shop").read_text()


def test_backends_that_wait_are_no_orphans(site: Site, installation: Installation) -> None:
    """A backend that waits notices at once that its postmaster is gone: nobody waits for it, and no zombie stays."""
    site.add("shop", installation)
    daemon = site.run()
    for count in (1, 2):
        kill(site.pid("shop"))
        site.wait_for("shop", lambda each, count=count: (each["state"], each["restarts"]) == ("RUNNING", count))
    assert reasons(daemon) == []
    assert "still in use" not in site.logfile("shop").read_text()
    # What the kernel gave us to reap has been reaped before the server was ready again.
    postmaster = psutil.Process(site.pid("shop"))
    assert psutil.Process(daemon.process.pid).children() == [postmaster]


def test_a_backend_that_does_not_answer_is_killed(site: Site) -> None:
    """A backend on which SIGQUIT has no effect is killed; here it is stopped."""
    site.add("shop")
    daemon = site.run()
    with busy_backend(site) as backend:
        backend.signal(signal.SIGSTOP)
        kill(site.pid("shop"))
        assert ends(backend)
    site.wait_for_state("shop", "RUNNING")
    assert reasons(daemon)[-1] == "waiting for 1 orphaned backend after SIGKILL"


def test_a_stop_ends_them(site: Site) -> None:
    """A stop while orphans are in the way does not wait for them, and is done when they are gone."""
    site.add("shop")
    site.run()
    with busy_backend(site) as backend:
        kill(site.pid("shop"))
        site.wait_for("shop", lambda each: "orphan" in str(each["reason"]))
        site.order("Stop", "shop")
        assert not backend.alive()
    assert site.status("shop")["state"] == "STOPPED"


def test_an_immediate_stop_leaves_none(site: Site) -> None:
    """Where a backend outlives an order to kill, STOPPED is said only when it is gone."""
    site.add("shop")
    site.run()
    with busy_backend(site) as backend:
        site.order("Kill", "shop")
        assert not backend.alive()


def test_orphans_of_a_server_that_another_daemon_started(site: Site, installation: Installation) -> None:
    """Where daemon and postmaster are killed together, the next daemon deals with what they left."""
    site.add("shop", installation)
    first = site.run()
    pid = site.pid("shop")
    with busy_backend(site) as backend:
        first.end(signal.SIGKILL)
        kill(pid)
        second = site.start()
        second.wait_for_log(cluster="shop", reason="waiting for 1 orphaned backend")
        assert ends(backend)
    record = site.wait_for_state("shop", "RUNNING")
    assert (record["restarts"], sql(site.cluster("shop"), "select 1")) == (0, "1")


def test_without_a_pid_file(site: Site) -> None:
    """A postmaster.pid that somebody removed does not hide the orphans of a server that we held."""
    data_directory = site.add("shop")
    daemon = site.run()
    with busy_backend(site) as backend:
        (data_directory / "postmaster.pid").unlink()
        kill(site.pid("shop"))
        assert ends(backend)
    site.wait_for_state("shop", "RUNNING")
    assert reasons(daemon)[0] == "waiting for 1 orphaned backend"


def test_a_backend_of_another_cluster_is_left_alone(site: Site) -> None:
    """What is ended belongs to the cluster whose postmaster was killed, and to no other."""
    for name in ("blog", "shop"):
        site.add(name)
    site.run()
    with busy_backend(site) as backend:
        kill(site.pid("blog"))
        site.wait_for("blog", lambda each: (each["state"], each["restarts"]) == ("RUNNING", 1))
        assert backend.alive()


def test_orphans_that_no_pid_file_names(site: Site) -> None:
    """The data directory itself tells the shared memory of the server that was on it, where no postmaster.pid does."""
    data_directory = site.add("shop")
    first = site.run()
    pid = site.pid("shop")
    with busy_backend(site) as backend:
        first.end(signal.SIGKILL)
        kill(pid)
        (data_directory / "postmaster.pid").unlink()
        site.start().wait_for_log(cluster="shop", reason="waiting for 1 orphaned backend")
        assert ends(backend)
    assert site.wait_for_state("shop", "RUNNING")["restarts"] == 0


def test_a_server_that_cannot_be_told_is_no_orphan(site: Site, installation: Installation) -> None:
    """A server whose postmaster.pid is gone is left alone, with all its processes; what is to be done is said."""
    data_directory = site.add("shop", installation)
    site.run().end(signal.SIGKILL)
    pid = site.cluster("shop").pid()
    assert pid is not None
    (data_directory / "postmaster.pid").unlink()
    with held(pid) as postmaster:
        site.start()
        record = site.wait_for_state("shop", "BACKOFF")
        assert str(record["reason"]).startswith(f"a server works on {data_directory}, with the pid {pid}, and cannot")
        assert postmaster.alive()
        postmaster.signal(signal.SIGINT)
    assert site.wait_for_state("shop", "RUNNING")["pid"] != pid
