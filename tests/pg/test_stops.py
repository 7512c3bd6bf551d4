"""Stops that end: whoever holds on, whenever they are ordered, and also if nobody waits for them any more."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
from by_hand import family, owner_environment
from daemons import LIMIT, Site, ends, held, installation_number
from machine import SERVER_USER
from servers import client, new_directory, psql_arguments, sql

from pgsupervisor.postgres import Installation
from pgsupervisor.system.process import run


@pytest.fixture
def shop(site: Site, installation: Installation) -> Site:
    """A site with a cluster `shop` that runs and has something to lose."""
    # A commit waits for pg_receivewal, where it asks for that.
    settings = {"synchronous_standby_names": "pg_receivewal", "synchronous_commit": "local"}
    site.add("shop", installation, settings={"log_replication_commands": "on", **settings})
    site.run()
    sql(site.cluster("shop"), "create table bought as select 1")
    return site


@contextlib.contextmanager
def taking(site: Site, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have a program of PostgreSQL's run that takes what the server `shop` sends."""
    cluster = site.cluster("shop")
    target = new_directory(site.directory / "taken", site.directory / "shop")
    where = ["-D", str(target), "-h", str(site.directory), "-p", str(site.status("shop")["port"]), "-U", "postgres"]
    with subprocess.Popen(
        [cluster.installation.require(program), *where, *arguments],
        cwd="/",
        env=owner_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=None if SERVER_USER is None else SERVER_USER.uid,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def hanging(site: Site) -> Iterator[None]:
    """Have somebody who took all the WAL of `shop` until now, takes no more, and does not go away."""
    with taking(site, "pg_receivewal", "--synchronous") as receiver:
        until_taken = psql_arguments(site.cluster("shop"), "-c", "set synchronous_commit = on; create table taken ()")
        assert run(until_taken, environment=owner_environment(), timeout=LIMIT).returncode == 0
        receiver.send_signal(signal.SIGSTOP)
        yield


def reasons(site: Site) -> list[object]:
    """Return how the server `shop` was asked to stop."""
    return [each["reason"] for each in site.daemons[-1].logged(cluster="shop", now="STOPPING")]


def assert_comes_back(site: Site) -> None:
    """See that the server starts again, and has what was committed."""
    site.order("Start", "shop")
    assert sql(site.cluster("shop"), "select count(*) from bought") == "1"


def test_while_a_base_backup_is_taken(shop: Site) -> None:
    """A fast stop ends a base backup that would take an hour."""
    slowly = ["--max-rate=32k", "-c", "fast", "-X", "none", "--no-sync"]
    with taking(shop, "pg_basebackup", *slowly) as backup:
        shop.wait_for_line("shop", "BASE_BACKUP")
        shop.order("Stop", "shop")
        assert (reasons(shop), backup.wait(LIMIT)) == (["fast shutdown"], 1)
    assert_comes_back(shop)


def test_while_somebody_does_not_take_the_wal(shop: Site) -> None:
    """A fast shutdown waits until all WAL has been taken; who does not take any is not waited for longer than told."""
    with hanging(shop):
        shop.order("Stop", "shop", timeout=0.2)
        assert reasons(shop) == ["fast shutdown", "immediate shutdown"]
    assert_comes_back(shop)


def test_overtaken_and_abandoned(shop: Site) -> None:
    """Neither ends a stop that the client who ordered it hangs up, nor does a softer order; a harder one overtakes."""
    with hanging(shop):
        with shop.client() as hasty:
            assert next(hasty.stream("Stop", names=["shop"], timeout=3600.0))["progress"]
        with shop.client() as soft:
            next(soft.stream("Stop", names=["shop"], mode="smart"))
            assert shop.status("shop")["reason"] == "fast shutdown"
            shop.order("Stop", "shop", mode="immediate")
    assert (reasons(shop), shop.states()) == (["fast shutdown", "immediate shutdown"], {"shop": "STOPPED"})
    assert_comes_back(shop)


def test_a_client_that_hangs_up(shop: Site) -> None:
    """A stop that waits for clients of the server goes on waiting for them when nobody waits for the stop."""
    with client(shop.cluster("shop")):
        with shop.client() as hasty:
            assert next(hasty.stream("Stop", names=["shop"], mode="smart", timeout=3600.0))["progress"]
        assert shop.status("shop")["reason"] == "smart shutdown"
    shop.wait_for_state("shop", "STOPPED")
    assert reasons(shop) == ["smart shutdown"]


def test_while_it_starts(site: Site, installation: Installation) -> None:
    """A stop at any moment of a start leaves no server behind, and nothing that keeps the next from starting."""
    site.add("shop", installation, autostart=False)
    site.start()
    for progress in (1, 1, 1, 2, 2, 2):
        with site.client() as hopeful:
            start = hopeful.stream("Start", names=["shop"])
            for _ in range(progress):
                next(start)
            site.order("Stop", "shop")
            assert list(start)[-1]["outcomes"], "whoever waits for the start hears what came of it"
        assert (site.states(), site.cluster("shop").running()) == ({"shop": "STOPPED"}, False)
    site.order("Start", "shop")


def test_everything_is_killed_at_once(site: Site) -> None:
    """Kill -9 of the daemon and of every process of every server: the next daemon brings all of them back."""
    for number, name in enumerate(("blog", "shop")):
        site.add(name, installation_number(number))
    daemon = site.run()
    for name in site.clusters:
        sql(site.cluster(name), "create table bought as select 1")
    with family(site, "blog") as blog, family(site, "shop") as shop, held(daemon.pid) as ours:
        everything = [ours, *blog, *shop]
        for process in everything:
            process.signal(signal.SIGKILL)
        assert all(map(ends, everything))
    daemon.wait()
    site.run()
    assert [sql(site.cluster(name), "select count(*) from bought") for name in site.clusters] == ["1", "1"]
