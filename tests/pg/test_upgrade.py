"""`pgsupctl daemon upgrade`: another program in the same process, and nobody is the worse for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import cast

import psutil
import pytest
from daemons import Daemon, Record, Site, installation_number, new_site
from machine import NewDataDirectory
from servers import add_clock, append, client, new_directory, reloads, write

from pgsupervisor import __version__
from pgsupervisor.control import protocol
from pgsupervisor.control.client import Client
from pgsupervisor.errors import RemoteError
from pgsupervisor.postgres.controldata import clean_shutdown


@dataclass
class Upgraded:
    """A site whose daemon was upgraded once, and what was seen before and afterwards."""

    site: Site
    daemon: Daemon
    before: dict[str, Record]
    after: dict[str, Record]
    told: CompletedProcess[str]
    daemons: tuple[Record, Record]
    waiting: RemoteError
    watching: Record


def clusters(site: Site) -> dict[str, Record]:
    """Return what is known of every cluster; times are whole seconds, since they are told as differences."""
    found = cast("list[Record]", site.call("GetStatus", names=[])["clusters"])
    return {str(each["name"]): {**each, "since": round(cast("float", each["since"]))} for each in found}


def prepare(site: Site) -> Daemon:
    """Have a cluster in each state."""
    for number, name in enumerate(("blog", "shop")):
        site.add(name, installation_number(number))
    site.add("stopping", stop_mode="smart", stop_timeout="1h")
    site.add("backoff", restart_delay="1h", restart_max_delay="1h")
    for name in ("fatal", "stopped"):
        ancient = new_directory(site.directory / name, site.directory)
        ancient.chmod(0o700)
        write(ancient / "PG_VERSION", "9.6\n", ancient)
        site.declare(name, ancient)
    add_clock(site)
    daemon = site.start()
    site.order("Start", "blog", "shop", "stopping", "backoff", "clock")
    site.order("Stop", "stopped")
    for name in ("blog", "backoff"):
        os.kill(site.pid(name), signal.SIGKILL)
    site.wait_for("blog", lambda each: (each["state"], each["restarts"]) == ("RUNNING", 1))
    site.wait_for_state("backoff", "BACKOFF")
    site.wait_for_state("fatal", "FATAL")
    return daemon


def upgrade(site: Site, connected: Client, watcher: Client) -> Upgraded:
    """Upgrade a daemon while one client waits for a stop, and another watches a cluster."""
    daemon = site.daemons[-1]
    stopping = connected.stream("Stop", names=["stopping"])
    assert "progress" in next(stopping)
    watching = watcher.stream("Monitor", names=["fatal"])
    next(watching)
    before, first = clusters(site), site.call("GetDaemon")
    told = site.pgsupctl("daemon", "upgrade")
    with pytest.raises(RemoteError) as waiting:
        next(stopping)
    return Upgraded(
        site,
        daemon,
        before,
        clusters(site),
        told,
        (first, site.call("GetDaemon")),
        waiting.value,
        dict(next(watching)),
    )


@pytest.fixture(scope="module")
def upgraded(new_data_directory: NewDataDirectory) -> Iterator[Upgraded]:
    """A daemon with a cluster in each state, upgraded while clients were connected, to it and to servers."""
    with new_site(new_data_directory) as site:
        prepare(site)
        with client(site.cluster("stopping")) as patient, site.client() as one, site.client() as other:
            done = upgrade(site, one, other)
            assert patient.poll() is None
            yield done


def test_the_same_process_says_so(upgraded: Upgraded) -> None:
    """The process is the same one, began when it began, and tells from which version to which it went."""
    pid = upgraded.daemon.pid
    assert (upgraded.told.returncode, upgraded.told.stderr) == (0, "")
    assert upgraded.told.stdout == f"pgsupervisord {__version__} → {__version__}, still with pid {pid}\n"
    assert upgraded.daemons[0] == upgraded.daemons[1]
    assert upgraded.daemons[0]["pid"] == pid


def test_every_cluster_is_as_it_was(upgraded: Upgraded) -> None:
    """States, wishes, counters, reasons, pids: nothing that is told of a cluster is different."""
    states = {name: record["state"] for name, record in upgraded.before.items()}
    assert states == {
        "blog": "RUNNING",
        "shop": "RUNNING",
        "stopped": "STOPPED",
        "stopping": "STOPPING",
        "backoff": "BACKOFF",
        "fatal": "FATAL",
        "clock": "RUNNING",
    }
    assert upgraded.after == upgraded.before


def test_servers_stay_children_and_notice_nothing(upgraded: Upgraded) -> None:
    """A server is still the daemon's child, and was not even told to reload, as nothing had changed."""
    assert reloads(upgraded.site) == 0
    parents = {psutil.Process(upgraded.site.pid(name)).ppid() for name in ("blog", "shop", "stopping")}
    assert parents == {upgraded.daemon.pid}


def test_who_waits_hears_that_it_goes_on(upgraded: Upgraded) -> None:
    """Who waits for an order hears why he waits no longer; who watches goes on to watch."""
    assert upgraded.waiting.name == protocol.UPGRADING
    assert [each["name"] for each in cast("list[Record]", upgraded.watching["clusters"])] == ["fatal"]


def test_files_are_watched(upgraded: Upgraded) -> None:
    """A configuration file that is saved after the upgrade is applied, and the change is told."""
    append(Path(str(upgraded.site.clusters["blog"]["data_directory"])) / "postgresql.conf", "work_mem = 5MB\n")
    record = upgraded.daemon.wait_for_log(event="reloaded", cluster="blog")
    assert record["changes"] == ["work_mem 4MB → 5MB"]


def test_the_end_of_a_server_is_noticed(upgraded: Upgraded) -> None:
    """How a server ends that another version has started is known: it is our child as before."""
    os.kill(upgraded.site.pid("shop"), signal.SIGKILL)
    record = upgraded.daemon.wait_for_log(cluster="shop", now="BACKOFF")
    assert str(record["reason"]).startswith("killed by SIGKILL")
    upgraded.site.wait_for("shop", lambda each: (each["state"], each["restarts"]) == ("RUNNING", 1))


def test_orders_overtake_what_was_begun_before(upgraded: Upgraded) -> None:
    """A stop that was begun before goes on, and a harder one overtakes it; a cluster that waits can be started."""
    upgraded.site.order("Stop", "stopping", mode="fast")
    upgraded.site.order("Start", "backoff")


def test_the_end(upgraded: Upgraded) -> None:
    """SIGTERM stops every server in order, and the daemon ends with 0."""
    upgraded.site.order("Stop", "stopping", mode="fast")  # or it would wait for its client
    upgraded.site.order("Start", "backoff")  # or nobody would recover what it crashed with
    assert upgraded.daemon.end() == 0
    found = [upgraded.site.cluster(name) for name in ("blog", "shop", "stopping", "backoff")]
    assert [clean_shutdown(each.installation, each.data_directory, each.run_as) for each in found] == [True] * 4
    assert not os.path.exists(upgraded.site.socket)
