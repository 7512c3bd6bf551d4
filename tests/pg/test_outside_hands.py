"""Servers that somebody else starts, stops or restarts: the daemon follows the facts, and fights with nobody."""

from __future__ import annotations

import os

from daemons import Site
from machine import SERVER_USER
from servers import sql

from pgsupervisor.postgres import Installation, command
from pgsupervisor.system.process import run


def pg_ctl(site: Site, *arguments: str) -> None:
    """Run pg_ctl on the cluster shop, as its owner would."""
    cluster = site.cluster("shop")
    directory, log = cluster.data_directory, f"{cluster.data_directory}/by_hand"
    options = ("-o", f"-p {site.clusters['shop']['port']}") if arguments[0] != "stop" else ()
    finished = run(
        [cluster.installation.require("pg_ctl"), *arguments, "-D", directory, "-l", log, *options],
        environment=command.environment(os.environ, run_as=SERVER_USER),
        run_as=SERVER_USER,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_started_by_hand(site: Site, installation: Installation) -> None:
    """A cluster that is STOPPED and that somebody starts is taken into care; so is one that was never started."""
    site.add("shop", installation, autostart=False)
    site.start()
    for _ in range(2):
        pg_ctl(site, "start", "-w")
        record = site.wait_for_state("shop", "RUNNING")
        assert (record["wanted"], record["pid"]) == (True, site.cluster("shop").pid())
        site.order("Stop", "shop")
        assert site.cluster("shop").running() is False


def test_restarted_by_hand(site: Site, installation: Installation) -> None:
    """Where somebody else restarts a server, nothing is started in its place, and the new one is kept."""
    site.add("shop", installation)
    daemon = site.run()
    pid = site.pid("shop")
    for _ in range(3):
        pg_ctl(site, "restart", "-w")
        record = site.wait_for("shop", lambda each, pid=pid: each["state"] == "RUNNING" and each["pid"] != pid)
        assert (record["pid"], record["restarts"]) == (site.cluster("shop").pid(), 0)
        pid = site.pid("shop")
    assert (sql(site.cluster("shop"), "select 1"), daemon.logged(event="mistake in pgsupervisor")) == ("1", [])


def test_restarted_by_hand_where_it_always_runs(site: Site, installation: Installation) -> None:
    """With restart = always, a server that somebody stops is started again, and that one is kept."""
    site.add("shop", installation, restart="always", restart_delay="10ms")
    site.run()
    pid = site.pid("shop")
    for _ in range(3):
        pg_ctl(site, "stop", "-W")
        record = site.wait_for("shop", lambda each, pid=pid: each["state"] == "RUNNING" and each["pid"] != pid)
        pid = site.pid("shop")
        assert (record["pid"], site.cluster("shop").pid()) == (pid, pid)
