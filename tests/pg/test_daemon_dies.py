"""The daemon is killed: its servers run on and go on logging, and the next daemon has them all, and their ends."""

from __future__ import annotations

import signal

from daemons import Site, ends, held
from servers import client, sql

from pgsupervisor.postgres import Installation

MORE_THAN_A_PIPE_HOLDS = 200_000
"""Bytes of log: whoever wrote them into a pipe that nobody reads would be blocked by then (64 KiB, pipe(7))."""


def test_servers_go_on_logging(site: Site, installation: Installation) -> None:
    """While there is no daemon, a server logs as ever, and its client works on; the next daemon notices its end."""
    site.add("shop", installation)
    daemon = site.run()
    pid = site.pid("shop")
    with client(site.cluster("shop")) as connected:
        daemon.end(signal.SIGKILL)
        before = site.logfile("shop").stat().st_size
        sql(site.cluster("shop"), "do $$ begin for n in 1..100 loop raise log '%', repeat('x', 2000); end loop; end $$")
        assert site.logfile("shop").stat().st_size - before > MORE_THAN_A_PIPE_HOLDS
        assert (site.cluster("shop").pid(), connected.poll()) == (pid, None)
        site.run()
        record = site.status("shop")
        assert (record["pid"], record["restarts"], connected.poll()) == (pid, 0, None)
    sql(site.cluster("shop"), "do $$ begin raise log 'still here'; end $$")
    site.wait_for_line("shop", "still here")
    with held(pid) as postmaster:
        postmaster.signal(signal.SIGKILL)
        assert ends(postmaster)
    site.wait_for("shop", lambda each: each["restarts"] == 1 and each["state"] == "RUNNING")


def test_a_server_that_starts(site: Site) -> None:
    """A server that was not ready yet when the daemon was killed is adopted too, and not started twice."""
    data_directory = site.add("shop")
    (data_directory / "recovery.signal").touch()
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write("restore_command = 'exec sleep 1000'\n")
    first = site.start()
    site.wait_for("shop", lambda each: each["pid"] is not None)
    pid = site.pid("shop")
    first.end(signal.SIGKILL)
    site.start()
    record = site.wait_for("shop", lambda each: each["pid"] is not None)
    assert (record["state"], record["pid"], record["restarts"]) == ("STARTING", pid, 0)
    site.order("Stop", "shop", mode="immediate")


def test_ended_while_there_was_no_daemon(site: Site) -> None:
    """A server that ended meanwhile, by whatever, is started by the next daemon, which starts what is to run."""
    site.add("shop")
    site.run().end(signal.SIGKILL)
    cluster = site.cluster("shop")
    cluster.kill()
    cluster.wait_until_stopped()
    site.start()
    record = site.wait_for_state("shop", "RUNNING")
    assert (record["restarts"], sql(cluster, "select 1")) == (0, "1")
