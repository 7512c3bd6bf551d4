"""Clusters that wait for somebody else's processes go on waiting in the new version of the daemon."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack

import psutil
from daemons import Site, ends, held
from machine import SERVER_USER
from servers import psql_arguments

from pgsupervisor.postgres import command
from pgsupervisor.system.process import Process

_BUSY = "do $$ begin raise notice '%', pg_backend_pid(); loop end loop; end $$"


def busy_backend(site: Site, name: str, until: ExitStack) -> Process:
    """Have a backend that computes, and notices nothing."""
    psql = psql_arguments(site.cluster(name), "-c", _BUSY)
    connected = until.enter_context(
        subprocess.Popen(psql, env=command.environment(os.environ), stderr=subprocess.PIPE, text=True)
    )
    until.callback(connected.kill)
    assert connected.stderr is not None
    backend = until.enter_context(held(int(connected.stderr.readline().rpartition(" ")[2])))
    until.callback(backend.signal, signal.SIGKILL)
    return backend


def single_user(site: Site, name: str, until: ExitStack) -> subprocess.Popen[str]:
    """Have a single-user backend at work on a cluster."""
    cluster = site.cluster(name)
    backend = until.enter_context(
        subprocess.Popen(
            [cluster.installation.require("postgres"), "--single", "-D", cluster.data_directory, "postgres"],
            cwd="/",
            user=None if SERVER_USER is None else SERVER_USER.uid,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    until.callback(backend.kill)
    assert backend.stdout is not None
    backend.stdout.read(1)  # its prompt
    return backend


def test_orphans_and_a_single_user_backend(site: Site) -> None:
    """Orphans that do not end by themselves are ended; who works on a data directory is waited for, undisturbed."""
    site.add("crashed")
    site.add("locked", autostart=False)
    daemon = site.start()
    site.wait_for_state("crashed", "RUNNING")
    with ExitStack() as until:
        backend = single_user(site, "locked", until)
        assert site.pgsupctl("start", "locked").returncode == 1
        orphan = busy_backend(site, "crashed", until)
        os.kill(site.pid("crashed"), signal.SIGKILL)
        site.wait_for("crashed", lambda each: "orphan" in str(each["reason"]))
        assert site.call("UpgradeDaemon")["pid"] == daemon.pid
        assert ends(orphan)
        again = site.wait_for_state("crashed", "RUNNING")
        assert again["restarts"] == 1
        waiting = site.wait_for_state("locked", "BACKOFF")
        assert f"a single-user backend works on {site.clusters['locked']['data_directory']}" in str(waiting["reason"])
        assert backend.poll() is None
        backend.kill()
        site.wait_for_state("locked", "RUNNING")
    postmasters = {site.pid(name) for name in site.clusters}
    assert {child.pid for child in psutil.Process(daemon.pid).children()} == postmasters, "all orphans were reaped"
