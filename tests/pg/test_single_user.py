"""A single-user backend on a cluster: whoever works there is left alone, and the server starts when he has left."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import LIMIT, Site
from machine import SERVER_USER
from servers import sql

from pgsupervisor.postgres import Installation


@contextlib.contextmanager
def single_user(site: Site) -> Iterator[subprocess.Popen[str]]:
    """Have a single-user backend at work on the cluster `shop`, and see that it ends only when it is told to."""
    cluster = site.cluster("shop")
    program = cluster.installation.require("postgres")
    with subprocess.Popen(
        [program, "--single", "-D", cluster.data_directory, "postgres"],
        cwd="/",
        user=None if SERVER_USER is None else SERVER_USER.uid,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as backend:
        assert backend.stdout is not None
        backend.stdout.read(1)  # its prompt: it is up, and has written its file
        assert Path(cluster.data_directory, "postmaster.pid").read_text().startswith(f"-{backend.pid}\n")
        try:
            yield backend
        finally:
            backend.kill()


def told(backend: subprocess.Popen[str], statement: str = "") -> int:
    """Have a single-user backend run a statement, tell it to end, and return its exit status."""
    assert backend.stdin is not None
    backend.stdin.write(f"{statement}\n")
    backend.stdin.close()
    return backend.wait(LIMIT)


def test_a_cluster_that_is_to_run(site: Site, installation: Installation) -> None:
    """A start names the backend and waits for its end, which is no failure; what it did is there afterwards."""
    site.add("shop", installation, autostart=False)
    daemon = site.start()
    with single_user(site) as backend:
        refused = site.pgsupctl("start", "shop")
        why = f"a single-user backend works on {site.clusters['shop']['data_directory']}, with the pid {backend.pid}"
        reason = f"{why}: let it finish, or end it; the server is started then"
        record = site.status("shop")
        assert (record["state"], record["reason"], refused.returncode) == ("BACKOFF", reason, 1)
        assert reason in refused.stdout
        assert told(backend, "create table mine (number int)") == 0
    again = site.wait_for_state("shop", "RUNNING")
    assert (again["restarts"], daemon.logged(now="FATAL")) == (0, [])
    assert sql(site.cluster("shop"), "select count(*) from mine") == "0"


def test_one_that_is_killed(site: Site) -> None:
    """A single-user backend that is killed leaves its file: its end is noticed all the same, and the server starts."""
    site.add("shop", autostart=False)
    site.start()
    with single_user(site) as backend:
        assert site.pgsupctl("start", "shop").returncode == 1
        backend.kill()
        site.wait_for_state("shop", "RUNNING")


@pytest.mark.parametrize("state", ["STOPPED", "called off"])
def test_a_cluster_that_is_not_to_run(site: Site, state: str) -> None:
    """On a cluster that is to be down, nothing happens, neither while a single-user backend works nor afterwards."""
    site.add("shop", autostart=False)
    site.add("clock", autostart=False)
    daemon = site.start()
    with single_user(site) as backend:
        if state == "called off":
            assert site.pgsupctl("start", "shop").returncode == 1
            site.order("Stop", "shop")
            daemon.wait_for_log(cluster="shop", now="STOPPED")
        before = daemon.logged(cluster="shop")
        assert told(backend) == 0
        # Whatever was to come of it has come when another order has been carried out.
        site.order("Start", "clock")
    record = site.status("shop")
    assert (record["state"], record["wanted"], record["reason"]) == ("STOPPED", False, "")
    assert daemon.logged(cluster="shop") == before
