"""A crash inside a server: it mends itself, is left alone, and is counted."""

from __future__ import annotations

import re
import signal

from daemons import Site, ends, held
from servers import client, sql

from pgsupervisor.postgres import Installation


def kill_a_backend(site: Site) -> None:
    """Kill a backend that serves a client, and wait until it has ended."""
    with client(site.cluster("shop")) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write("select pg_backend_pid();\n")
        session.stdin.flush()
        with held(int(session.stdout.readline())) as backend:
            backend.signal(signal.SIGKILL)
            assert ends(backend)


def wait_until_it_answers(site: Site, times: int) -> None:
    """Wait until a server has said so many times that it lets clients in."""
    seen = ""
    with site.client() as reader:
        for reply in reader.stream("GetLog", names=["shop"], lines=10_000, follow=True):
            seen += str(reply["text"])
            if seen.count("ready to accept connections") == times:
                break
    assert sql(site.cluster("shop"), "select 1") == "1"


def test_a_backend_is_killed(site: Site, installation: Installation) -> None:
    """The server stays RUNNING under its pid; that it began anew is counted, shown and logged; a restart forgets it."""
    site.add("shop", installation)
    daemon = site.run()
    pid = site.pid("shop")
    for count in (1, 2):
        kill_a_backend(site)
        record = site.wait_for("shop", lambda each, count=count: each["crashes"] == count)
        assert (record["state"], record["pid"], record["restarts"]) == ("RUNNING", pid, 0)
        assert re.fullmatch(rf"crash-restarted {count}×, last \d\d:\d\d", str(record["reason"]))  # noqa: RUF001
        wait_until_it_answers(site, count + 1)
    assert [each["crashes"] for each in daemon.logged(event="crash within")] == [1, 2]
    assert daemon.logged(now="BACKOFF") == []
    site.order("Restart", "shop")
    again = site.status("shop")
    assert (again["crashes"], again["crashed"], again["reason"]) == (0, None, "")


def test_what_is_no_crash(site: Site, installation: Installation) -> None:
    """A reload, and a client that is disconnected, are no crash."""
    site.add("shop", installation)
    site.run()
    with held(site.pid("shop")) as server:
        server.signal(signal.SIGHUP)
    site.wait_for_line("shop", "received SIGHUP")
    with client(site.cluster("shop")):
        sql(
            site.cluster("shop"), "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
    assert (site.pgsupctl("reload", "shop").returncode, site.status("shop")["crashes"]) == (0, 0)
