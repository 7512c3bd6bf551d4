"""A server in another container: PostgreSQL does not see it, and would start a second one on its data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence

import pytest
from containers import CONTAINER, first_of, need_containers
from daemons import Daemon, Site, ends, held, installation_number
from machine import SERVER_USER
from servers import sql

from pgsupervisor.postgres import Cluster, Installation, command, pidfile
from pgsupervisor.system.process import Process, facts


@pytest.fixture(autouse=True)
def _containers() -> None:
    """Have what a container is made of."""
    need_containers()


@contextlib.contextmanager
def server_in_a_container(cluster: Cluster, container: Sequence[str]) -> Iterator[Process]:
    """Have the server of a cluster run as the first process of a container; hold it."""
    who = () if SERVER_USER is None else (f"--reuid={SERVER_USER.uid}", f"--regid={SERVER_USER.gid}", "--clear-groups")
    server = command.postgres_command(cluster.installation.require("postgres"), cluster.data_directory)
    with subprocess.Popen(
        [*container, "setpriv", *who, *server],
        cwd="/",
        env=command.environment(os.environ),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stderr is not None
        assert any("ready to accept connections" in line for line in keeper.stderr)
        with held(first_of(keeper.pid)) as first:
            try:
                yield first
            finally:
                keeper.kill()


OUR_MEMORY = [option for option in CONTAINER if option != "--ipc"]
"""What makes a container that shares its shared memory with us: a server's processes there look like orphans here."""


@pytest.mark.parametrize(
    ("which", "container", "number"), [(0, CONTAINER, signal.SIGINT), (1, OUR_MEMORY, signal.SIGKILL)]
)
def test_from_outside(site: Site, which: int, container: Sequence[str], number: signal.Signals) -> None:
    """No second server is started beside one in a container: that one is named, let alone, and its end is noticed."""
    data_directory = site.add("shop", installation_number(which))
    with server_in_a_container(site.cluster("shop"), container) as server:
        daemon = site.start()
        refused = site.pgsupctl("start", "shop")
        record = site.status("shop")
        why = f"a server in another container works on {data_directory}, with the pid {server.pid}: stop it there"
        assert (record["state"], record["reason"]) == ("BACKOFF", f"{why}; the server is started then")
        assert (refused.returncode, server.alive(), site.logfile("shop").exists()) == (1, True, False)
        server.signal(number)
        assert ends(server)
        record = site.wait_for_state("shop", "RUNNING")
    assert (record["restarts"], sql(site.cluster("shop"), "select 1"), daemon.logged(now="FATAL")) == (0, "1", [])


def start_after(cluster: Cluster, container: int) -> None:
    """Start a server outside of a container, and see that by its lock file it is the younger one, in whole seconds."""
    first = facts(first_of(container))
    assert first is not None
    cluster.start(settings={"port": "6543"})
    cluster.wait_until_started()
    while (written := cluster.announced()) is None or written.started is None or written.started <= first.started:
        cluster.restart(settings={"port": "6543"})


@pytest.fixture
def daemon_in_a_container(site: Site, installation: Installation) -> Iterator[Daemon]:
    """Have a daemon run in a container, with the cluster `shop`, which is not to be started."""
    site.add("shop", installation, autostart=False)
    daemon = site.launch(through=CONTAINER)
    yield daemon
    first = first_of(daemon.pid)
    with held(first) as inside:
        daemon.process.kill()  # it would not pass on a SIGTERM; all that runs in the container ends with it
        assert ends(inside)


def test_from_inside(site: Site, daemon_in_a_container: Daemon) -> None:
    """A daemon in a container starts no second server beside one that it cannot see; one of its own it starts again."""
    daemon_in_a_container.wait_for_log(event="daemon started")
    outside = site.cluster("shop")
    start_after(outside, daemon_in_a_container.pid)
    refused = site.pgsupctl("start", "shop")
    record = site.status("shop")
    path = f"{outside.data_directory}/{pidfile.NAME}"
    why = f"{path} is of a server that was started on another machine, or in another container"
    assert (record["state"], str(record["reason"]).startswith(why), refused.returncode) == ("BACKOFF", True, 1)
    assert (outside.ready_for_connections(), site.logfile("shop").exists()) == (True, False)
    outside.shutdown()
    outside.wait_until_stopped()
    site.wait_for_state("shop", "RUNNING")
    for _ in range(2):
        site.order("Kill", "shop")
        site.order("Start", "shop")
