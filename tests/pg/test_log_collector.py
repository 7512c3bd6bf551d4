"""Servers with a logging collector: their log is what it writes, whatever the format, one file after the other."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from asking import sql
from daemons import LIMIT, Site, installation_number
from followed import following, numbers, write_numbers

from pgsupervisor.postgres import Installation

COLLECTOR = {"logging_collector": "on"}

READY = b"database system is ready to accept connections"


def until(fits: Callable[[], bool]) -> None:
    """Wait until something is so that nobody tells of."""
    deadline = time.monotonic() + LIMIT
    while not fits():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def rotate(site: Site, name: str) -> None:
    """Have the server's collector change to a file of that name."""
    cluster = site.cluster("shop")
    sql(cluster, f"alter system set log_filename = '{name}.log'")
    sql(cluster, "select pg_reload_conf()")
    sql(cluster, "select pg_rotate_logfile()")
    until(lambda: f"/{name}." in sql(cluster, "select pg_current_logfile()"))


@pytest.mark.parametrize("kind", ["stderr", "csvlog", "jsonlog"])
def test_over_its_files(site: Site, installation: Installation, kind: str) -> None:
    """Who follows gets all lines, once, while the collector changes its files; the last lines are those in them."""
    data_directory = site.add("shop", installation, settings={**COLLECTOR, "log_destination": kind})
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write("log_filename = 'log-0.log'\n")
    site.run()
    cluster = site.cluster("shop")
    with following(site, "shop", "-n", "1000") as follower:
        follower.until(READY)
        for number in range(1, 40, 13):
            write_numbers(cluster, number, number + 5)
            rotate(site, f"log-{number}")
            write_numbers(cluster, number + 6, number + 11)
            follower.until(b"number-%d-" % (number + 11))
            write_numbers(cluster, number + 12, number + 12)
            follower.until(b"number-%d-" % (number + 12))
    assert numbers(follower.seen) == list(range(1, 40))
    assert numbers(site.pgsupctl("logs", "shop", "-n", "1000").stdout.encode()) == list(range(1, 40))


def test_since(site: Site, installation: Installation) -> None:
    """Since a moment, lines are found by their time in each format, in the server's own time zone."""
    for number, kind in enumerate(("stderr", "csvlog", "jsonlog", "none")):
        collected = {**COLLECTOR, "log_destination": kind} if kind != "none" else {}
        site.add(kind, installation, settings={**collected, "log_timezone": "Asia/Kathmandu"}, priority=number)
    site.run()
    for kind in ("stderr", "csvlog", "jsonlog", "none"):
        write_numbers(site.cluster(kind), 1, 5)
        assert numbers(site.pgsupctl("logs", kind, "--since", "1h").stdout.encode()) == [1, 2, 3, 4, 5]
        assert site.pgsupctl("logs", kind, "--since", "1ms").stdout == ""


def test_with_and_without(site: Site) -> None:
    """Who follows gets what a server writes that is started with a collector, without one, and with one again."""
    site.add("shop", installation_number(1))
    site.run()
    with following(site, "shop", "-n", "1000") as follower:
        for number in range(1, 5):
            follower.until(READY)
            write_numbers(site.cluster("shop"), number, number)
            follower.until(b"number-%d-" % number)
            site.clusters["shop"]["settings"] = COLLECTOR if number % 2 else {}
            site.write()
            assert site.pgsupctl("update").returncode == 0
        follower.until(READY)
    assert numbers(follower.seen) == [1, 2, 3, 4]
    assert follower.seen.count(READY) == 5
    assert follower.seen.count(b"database system is shut down") == 4


@pytest.mark.parametrize(
    ("file", "line", "words"),
    [
        ("postgresql.conf", "shared_preload_libraries = 'nowhere'", 'could not access file "nowhere"'),
        ("pg_hba.conf", "nonsense", "could not load"),
    ],
)
def test_it_fails_to_start(site: Site, installation: Installation, file: str, line: str, words: str) -> None:
    """Why a server did not start is seen, be it that it ended before its collector began or after that."""
    data_directory = site.add("shop", installation, settings=COLLECTOR, start_retries=0)
    site.run()
    write_numbers(site.cluster("shop"), 1, 1)
    site.order("Stop", "shop")
    with (data_directory / file).open("a") as written:
        written.write(f"{line}\n")
    with following(site, "shop", "-n", "1") as follower:
        follower.until(b"shut down")
        site.call("Start", names=["shop"])
        follower.until(words.encode())
    site.wait_for_state("shop", "FATAL")
    assert words in site.pgsupctl("logs", "shop").stdout
