"""pg_upgrade starts and stops the servers of two clusters several times, and must be left alone while it does."""

from __future__ import annotations

import pytest
from by_hand import by_hand, owner_environment
from daemons import Site
from machine import INSTALLATIONS, SERVER_USER
from servers import new_directory, sql

from pgsupervisor.postgres import Installation
from pgsupervisor.postgres.controldata import controldata
from pgsupervisor.system.process import run

OLD, NEW = (choose(INSTALLATIONS, key=lambda installation: installation.major) for choose in (min, max))


def test_a_server_of_pg_upgrade(site: Site, installation: Installation) -> None:
    """A server in binary upgrade mode is neither adopted, nor signalled, nor asked; who orders a start is told why."""
    site.add("shop", installation, restart="always")
    site.run()
    site.order("Stop", "shop")
    cluster = site.cluster("shop")
    directory, log = cluster.data_directory, site.directory / "shop" / "upgrade.log"
    by_hand(installation, "pg_ctl", "start", "-w", "-D", directory, "-l", str(log), "-o", "-p 50432 -b")
    refused = site.pgsupctl("start", "shop")
    assert (refused.returncode, f"pg_upgrade is at work on {directory}" in refused.stdout) == (1, True), refused
    by_hand(installation, "pg_ctl", "stop", "-w", "-D", directory)
    assert site.pgsupctl("stop", "shop").returncode == 0
    assert (site.states(), cluster.running()) == ({"shop": "STOPPED"}, False)
    assert "received SIGHUP" not in log.read_text()
    site.order("Start", "shop")


@pytest.mark.skipif(OLD.major == NEW.major, reason="there is only one major version of PostgreSQL here")
def test_pg_upgrade(site: Site) -> None:
    """It succeeds, also where a server that somebody stops is always started again; then the new cluster starts."""
    always = {"restart": "always", "restart_delay": "10ms"}
    old, new = (site.add(name, one, **always) for name, one in (("old", OLD), ("new", NEW)))
    if len({controldata(one, str(at), None)["Data page checksum version"] for one, at in ((OLD, old), (NEW, new))}) > 1:
        by_hand(NEW, "pg_checksums", "--disable", "-D", str(new))  # on by default since 18
    site.run()
    for name in ("old", "new"):
        # It wants the databases that the tests' data directories go without.
        for template in ("template1", "template0"):
            sql(site.cluster(name), f"create database {template} template postgres is_template true")
        sql(site.cluster(name), "alter database template0 allow_connections false")
    sql(site.cluster("old"), "create table bought as select 1")
    site.order("Stop", "all")
    # It leaves what it has to say in the working directory.
    work = new_directory(site.directory / "work", old)
    where = ["-b", OLD.bindir, "-B", NEW.bindir, "-d", str(old), "-D", str(new), "-U", "postgres"]
    upgrade = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(work), NEW.require("pg_upgrade"), *where]
    finished = run(upgrade, environment=owner_environment(), run_as=SERVER_USER)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert (site.states(), site.status("new")["restarts"]) == ({"old": "STOPPED", "new": "STOPPED"}, 0)
    site.order("Start", "new")
    assert sql(site.cluster("new"), "select count(*) from bought") == "1"
