"""What is not there at the moment: a data directory, its disk, a place for the log. The server starts once it is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from daemons import Site, ends, held, installation_number
from disks import bound, needs_mount, small_disk
from servers import mended, sql

from pgsupervisor.postgres import Installation

AT_ONCE_OR_NEVER = {"stable_after": "0s", "restart_delay": "1h", "restart_max_delay": "1h"}
"""A server that ran is started again at once; after that, nobody tries again before the test is over."""

OFTEN = {"start_retries": 0, "restart_limit": 2, "restart_delay": "50ms", "restart_max_delay": "50ms"}
"""A second failure is one too many; but what lies outside is tried again often."""


def falls(site: Site) -> None:
    """Have the postmaster of `shop` end without having been asked to."""
    with held(site.pid("shop")) as postmaster:
        postmaster.signal(signal.SIGKILL)
        assert ends(postmaster)


def waits(site: Site, text: str) -> str:
    """Wait until `shop` waits to be started, for a reason that has this text in it, and return the reason."""
    record = site.wait_for("shop", lambda each: each["state"] == "BACKOFF" and text in str(each["reason"]))
    return str(record["reason"])


def test_a_data_directory_that_goes_and_comes_back(site: Site, installation: Installation) -> None:
    """A server whose data directory was moved away starts by itself at the moment in which it is back; others go on."""
    data = site.add("shop", installation, **AT_ONCE_OR_NEVER)
    site.add("blog")
    site.run()
    sql(site.cluster("shop"), "create table kept as select 42 as row")
    data.rename(data.with_name("elsewhere"))
    falls(site)
    why = f"{data} does not exist: mount its disk, or make it with initdb"
    assert why in waits(site, "does not exist")
    assert site.states() == {"shop": "BACKOFF", "blog": "RUNNING"}
    data.with_name("elsewhere").rename(data)
    mended(site)
    assert (sql(site.cluster("shop"), "select row from kept"), site.status("blog")["restarts"]) == ("42", 0)


@needs_mount
def test_a_disk_that_goes_and_comes_back(site: Site, installation: Installation) -> None:
    """A server whose disk is unmounted, which nobody tells, is tried until it is mounted; nothing is made meanwhile."""
    disk = site.new_data_directory(installation, site.directory / "disk")
    data = site.directory / "shop"
    site.declare("shop", data, installation, init=True, **OFTEN)
    with bound(disk, data):
        site.run()
        sql(site.cluster("shop"), "create table kept as select 42 as row")
    falls(site)
    waits(site, f"{data} is empty: mount its disk, or make a cluster there with initdb")
    assert list(data.iterdir()) == []
    with bound(disk, data):
        mended(site)
        assert sql(site.cluster("shop"), "select row from kept") == "42"


def test_a_data_directory_that_is_late(site: Site) -> None:
    """Where init was not asked for, a directory that is missing stays missing: its disk may only be late."""
    late = site.directory / "late"
    site.declare("shop", late, **OFTEN)
    site.start()
    waits(site, "does not exist")
    assert not late.exists()
    ordered = site.pgsupctl("start", "shop")
    assert (ordered.returncode, f"{late} does not exist" in ordered.stdout) == (1, True)
    site.new_data_directory(installation_number(0), late)
    mended(site)


def test_a_log_directory_that_is_missing(site: Site) -> None:
    """A log that cannot be written is told in words, keeps no other server down, and is made as soon as it can be."""
    logs = site.door / "missing"
    site.add("shop", logfile=str(logs / "shop.log"), **OFTEN)
    site.add("blog")
    site.start()
    why = f"cannot write the log {logs}/shop.log: No such file or directory; mend that, or choose another `logfile`"
    assert waits(site, "cannot write").startswith(why)
    site.wait_for_state("blog", "RUNNING")
    logs.mkdir()
    mended(site)
    assert "ready to accept connections" in (logs / "shop.log").read_text()


@needs_mount
def test_a_log_on_a_read_only_disk(site: Site) -> None:
    """The same of a disk that is read-only, as the kernel makes one with errors."""
    with small_disk(site.door / "logs", 1) as disk:
        # Of a tmpfs, there would be something to say as well if logs were rotated there.
        site.add("shop", logfile=str(disk.path / "shop.log"), logfile_maxbytes=0, **OFTEN)
        disk.make("ro")
        site.start()
        waits(site, "Read-only file system")
        disk.make("rw")
        mended(site)


@pytest.mark.parametrize("place", ["link", "directory"])
def test_a_log_where_something_else_is(site: Site, place: str) -> None:
    """Where something else has the log's name, it is left alone, and the log is made when it is gone."""
    log = site.directory / "shop.log"
    elsewhere = site.directory / "elsewhere"
    _put(log, place, elsewhere)
    site.add("shop", logfile=str(log), **OFTEN)
    site.start()
    waits(site, "symlink, which is refused" if place == "link" else "Is a directory")
    assert not elsewhere.exists()
    log.rename(site.directory / "aside")
    mended(site)


def _put(path: Path, place: str, elsewhere: Path) -> None:
    if place == "link":
        path.symlink_to(elsewhere)
    else:
        path.mkdir()
