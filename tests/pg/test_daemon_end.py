"""How servers are stopped, one by one and all at once."""

from __future__ import annotations

import os
import signal
import subprocess

from daemons import Site, ends, held
from servers import client, psql_arguments

from pgsupervisor.postgres import Installation, command
from pgsupervisor.postgres.controldata import clean_shutdown


def was_shut_down(site: Site, name: str) -> bool:
    """Ask pg_controldata whether a cluster was shut down in order."""
    cluster = site.cluster(name)
    return clean_shutdown(cluster.installation, cluster.data_directory, cluster.run_as)


def test_sigterm_stops_everything(site: Site, installation: Installation) -> None:
    """SIGTERM shuts every server down in order, removes the socket, and ends the daemon with 0."""
    for name in ("blog", "shop"):
        site.add(name, installation)
    daemon = site.run()
    assert [was_shut_down(site, name) for name in site.clusters] == [False, False]
    assert daemon.end(signal.SIGTERM) == 0
    assert [was_shut_down(site, name) for name in site.clusters] == [True, True]
    assert [site.cluster(name).running() for name in site.clusters] == [False, False]
    assert site.pgsupctl("status").returncode == 4


def test_the_lowest_priority_number_stops_last(site: Site) -> None:
    """A server with a lower priority number starts earlier and stops later."""
    site.daemon_keys["start_concurrency"] = 1
    for name, priority in (("last", 30), ("first", 10), ("second", 20)):
        site.add(name, priority=priority)
    daemon = site.start()
    daemon.wait_for_log(count=3, now="RUNNING")
    daemon.end()
    assert [each["cluster"] for each in daemon.logged(now="RUNNING")] == ["first", "second", "last"]
    assert [each["cluster"] for each in daemon.logged(now="STOPPED")] == ["last", "second", "first"]


def test_a_second_sigint_is_immediate(site: Site) -> None:
    """While a smart shutdown waits for a client, a second Ctrl-C makes the stop an immediate one."""
    site.add("shop", stop_mode="smart", stop_timeout="1h")
    daemon = site.run()
    with client(site.cluster("shop")):
        daemon.process.send_signal(signal.SIGINT)
        daemon.wait_for_log(cluster="shop", now="STOPPING")
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.wait()[0] == 0
    assert (was_shut_down(site, "shop"), site.cluster("shop").running()) == (False, False)


def test_status_while_the_daemon_ends(site: Site) -> None:
    """While servers are being stopped for the end, one can look, but no order is taken."""
    site.add("shop", stop_mode="smart", stop_timeout="1h")
    daemon = site.run()
    with client(site.cluster("shop")):
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait_for_log(cluster="shop", now="STOPPING")
        refused = site.pgsupctl("start", "shop")
        assert (site.states(), refused.returncode) == ({"shop": "STOPPING"}, 1)
        assert "takes no more orders" in refused.stderr
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.wait()[0] == 0


def test_a_smart_stop_becomes_a_fast_one(site: Site, installation: Installation) -> None:
    """A smart shutdown that a client holds up is made a fast one after stop_timeout, which throws the client out."""
    site.add("shop", installation, stop_mode="smart", stop_timeout="200ms")
    daemon = site.run()
    with client(site.cluster("shop")):
        site.order("Stop", "shop")
    reasons = [each["reason"] for each in daemon.logged(cluster="shop", now="STOPPING")]
    assert (reasons, was_shut_down(site, "shop")) == (["smart shutdown", "fast shutdown"], True)


def test_mode_and_timeout_of_one_stop(site: Site) -> None:
    """`stop --mode --timeout` is for this stop alone, whatever the inventory says."""
    site.add("shop", stop_mode="immediate")
    daemon = site.run()
    with client(site.cluster("shop")):
        finished = site.pgsupctl("stop", "shop", "--mode", "smart", "--timeout", "200ms")
    site.order("Start", "shop")
    site.order("Stop", "shop")
    assert finished.returncode == 0
    reasons = [each["reason"] for each in daemon.logged(cluster="shop", now="STOPPING")]
    assert reasons == ["smart shutdown", "fast shutdown", "immediate shutdown"]


def test_a_harder_stop_overtakes(site: Site) -> None:
    """A stop that waits for a client is overtaken by a harder one; both who ordered learn that it is down."""
    site.add("shop")
    daemon = site.run()
    with client(site.cluster("shop")), site.client() as patient:
        waiting = patient.stream("Stop", names=["shop"], mode="smart", timeout=3600.0)
        assert next(waiting)["progress"] == {"name": "shop", "state": "STOPPING", "reason": "smart shutdown"}
        site.order("Stop", "shop", mode="fast")
        assert list(waiting)[-1]["outcomes"] == [{"name": "shop", "ok": True, "state": "STOPPED", "message": ""}]
    assert len(daemon.logged(cluster="shop", now="STOPPED")) == 1


def test_kill_takes_the_backends_along(site: Site) -> None:
    """A kill ends a busy backend too: it would live on and keep the shared memory, and no server could start."""
    site.add("shop")
    site.run()
    cluster = site.cluster("shop")
    busy = "do $$ begin raise notice '%', pg_backend_pid(); loop end loop; end $$"
    psql = psql_arguments(cluster, "-c", busy)
    with subprocess.Popen(psql, env=command.environment(os.environ), stderr=subprocess.PIPE, text=True) as connected:
        assert connected.stderr is not None
        backend = int(connected.stderr.readline().rpartition(" ")[2])
        with held(site.pid("shop")) as postmaster, held(backend) as orphan:
            site.order("Kill", "shop")
            assert [ends(postmaster), ends(orphan)] == [True, True]
    site.order("Start", "shop")
