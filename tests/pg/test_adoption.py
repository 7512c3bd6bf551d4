"""Servers outlive daemons: whatever runs when a daemon starts is taken over as it is."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import cast

from daemons import LIMIT, Site, ends, held
from machine import SERVER_USER
from servers import client, sql
from watching import appears

from pgsupervisor.postgres import Installation, command, pidfile


def start_by_hand(site: Site, name: str) -> int:
    """Start the server of a cluster with pg_ctl, as somebody without a daemon would, and return its pid."""
    cluster = site.cluster(name)
    pg_ctl = [cluster.installation.require("pg_ctl"), "start", "-w", "-D", cluster.data_directory]
    options = ["-l", f"{cluster.data_directory}/by_hand.log", "-o", f"--port={site.clusters[name]['port']}"]
    finished = subprocess.run(
        [*pg_ctl, *options],
        cwd="/",
        env=command.environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=LIMIT,
        **({} if SERVER_USER is None else {"user": SERVER_USER.uid, "group": SERVER_USER.gid}),
    )
    pid = cluster.pid()
    assert (finished.returncode, pid is not None) == (0, True)
    return cast("int", pid)


def test_a_server_started_by_hand_is_adopted(site: Site, installation: Installation) -> None:
    """A server that runs already is neither started twice nor stopped; its port is known, its end is noticed."""
    site.add("shop", installation)
    pid = start_by_hand(site, "shop")
    daemon = site.run()
    record = site.status("shop")
    shown = (record["state"], record["pid"], record["port"], record["restarts"])
    assert shown == ("RUNNING", pid, site.clusters["shop"]["port"], 0)
    with held(pid) as process:
        process.signal(signal.SIGKILL)
        assert ends(process)
    again = site.wait_for("shop", lambda each: each["restarts"] == 1 and each["state"] == "RUNNING")
    assert again["pid"] != pid
    assert len(daemon.logged(cluster="shop", on="Start")) <= 1


def test_a_server_that_nobody_wanted_is_adopted_too(site: Site) -> None:
    """A server that runs although it is not to be started is watched like any other, and can be stopped."""
    site.add("shop", autostart=False)
    pid = start_by_hand(site, "shop")
    site.start()
    assert site.wait_for_state("shop", "RUNNING")["pid"] == pid
    site.order("Stop", "shop")
    assert site.cluster("shop").running() is False


def test_a_server_started_by_hand_meanwhile(site: Site) -> None:
    """A start of what somebody has started meanwhile takes that server over."""
    site.add("shop", autostart=False)
    site.start()
    pid = start_by_hand(site, "shop")
    finished = site.pgsupctl("start", "shop")
    assert (finished.returncode, site.pid("shop")) == (0, pid)
    site.order("Stop", "shop")


def test_an_adopted_server_without_its_pid_file(site: Site) -> None:
    """A kill reaches the server that is held, also when postmaster.pid is gone."""
    data_directory = site.add("shop")
    start_by_hand(site, "shop")
    site.run()
    (data_directory / "postmaster.pid").unlink()
    with held(site.pid("shop")) as postmaster:
        site.order("Kill", "shop")
        assert ends(postmaster)


def test_a_daemon_that_leaves(site: Site) -> None:
    """With on_exit = leave the servers, and their clients, never notice that a daemon went and another came."""
    site.daemon_keys["on_exit"] = "leave"
    for name in ("blog", "shop"):
        site.add(name)
    first = site.run()
    before = [site.pid(name) for name in site.clusters]
    with client(site.cluster("shop")) as connected:
        assert first.end() == 0
        site.run()
        assert [site.pid(name) for name in site.clusters] == before
        assert connected.poll() is None
        assert sql(site.cluster("shop"), "select count(*) from pg_stat_activity where application_name = 'psql'") == "2"
    site.order("Stop", "all")


def test_a_daemon_that_is_killed(site: Site) -> None:
    """SIGKILL of the daemon costs no server anything: the next daemon finds them all, at work."""
    for name in ("blog", "shop"):
        site.add(name)
    first = site.run()
    before = [site.pid(name) for name in site.clusters]
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    assert os.path.exists(site.socket), "a killed daemon cannot remove its socket"
    site.run()
    assert [site.pid(name) for name in site.clusters] == before
    assert [site.status(name)["restarts"] for name in site.clusters] == [0, 0]


def test_stop_daemon_with_leave(site: Site) -> None:
    """`pgsupctl daemon stop --leave` ends the daemon alone, whatever the inventory says."""
    site.add("shop")
    daemon = site.run()
    pid = site.pid("shop")
    finished = site.pgsupctl("daemon", "stop", "--leave")
    assert (finished.returncode, daemon.wait()[0], site.cluster("shop").pid()) == (0, 0, pid)


def test_an_adopted_server_that_is_shut_down(site: Site) -> None:
    """An adopted server has no exit status for us; that it shut down in order, its control file tells."""
    site.add("shop")
    pid = start_by_hand(site, "shop")
    site.run()
    with held(pid) as process:
        process.signal(signal.SIGINT)
        assert ends(process)
    assert site.wait_for_state("shop", "STOPPED")["reason"] == "stopped by someone else"


def test_an_adopted_server_whose_log_is_replaced(site: Site) -> None:
    """A server that runs is held, whatever is in the place of its log: a FIFO would keep waiting who opens it."""
    site.add("shop")
    first = site.run()
    pid = site.pid("shop")
    first.end(signal.SIGKILL)
    site.logfile("shop").unlink()
    os.mkfifo(site.logfile("shop"))
    site.start()
    assert site.wait_for_state("shop", "RUNNING")["pid"] == pid


def test_a_server_that_is_shutting_down(site: Site, installation: Installation) -> None:
    """A server that was told to stop, and waits for a client, is waited for, and said; then it is started again."""
    site.add("shop", installation)
    pid = start_by_hand(site, "shop")
    cluster = site.cluster("shop")
    with client(cluster):
        cluster.stop()
        appears(Path(cluster.data_directory, pidfile.NAME), "stopping")
        site.start()
        waiting = site.wait_for_state("shop", "BACKOFF")
        how = "it may be waiting for its clients, which `pg_ctl stop -m fast` disconnects"
        why = f"a server is shutting down on {cluster.data_directory}, with the pid {pid}"
        assert waiting["reason"] == f"{why}; {how}; the server is started then"
        assert site.status("shop")["restarts"] == 0
    again = site.wait_for_state("shop", "RUNNING")
    assert (again["pid"] != pid, again["restarts"]) == (True, 0)
