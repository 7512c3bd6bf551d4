"""Servers that replay WAL before they are ready: STARTING for as long as it takes, and left alone."""

from __future__ import annotations

import os
import re

from by_hand import crashed, withheld
from daemons import Record, Site
from servers import append, sql, write

from pgsupervisor.postgres import Installation


def recovers(site: Site, kind: str) -> Record:
    """Wait until status says that the server of `shop` is in recovery."""
    return site.wait_for("shop", lambda each: re.fullmatch(rf"in {kind} recovery for \d+ s", str(each["reason"])))


def start(site: Site) -> None:
    """Order the start of `shop`, and do not wait for it."""
    assert site.pgsupctl("start", "shop", "--no-wait").returncode == 0


def test_crash_recovery(site: Site, installation: Installation) -> None:
    """It is said, it is no failure, no signal disturbs it, and hot_standby = off does not make a standby of it."""
    last = crashed(site, installation, settings={"hot_standby": "off"})
    site.logfile("shop").write_text("")
    with withheld(last):
        start(site)
        during = recovers(site, "crash")
        assert (during["state"], during["standby"], during["restarts"]) == ("STARTING", False, 0)
        # As PostgreSQL puts it since version 15, though this is no standby.
        puts_it = "standby" if installation.major >= 15 else "starting"
        while (written := site.cluster("shop").announced()) is None or written.status != puts_it:
            pass
        assert site.status("shop")["state"] == "STARTING"
    after = site.wait_for_state("shop", "RUNNING")
    assert (after["pid"], after["standby"], after["restarts"], after["reason"]) == (during["pid"], False, 0, "")
    assert sql(site.cluster("shop"), "select count(*) from bought") == "2"
    assert site.daemons[-1].logged(event="promoted") == []
    assert "received" not in site.logfile("shop").read_text(), "it was signalled"


def test_from_a_crash_into_the_archive(site: Site, installation: Installation) -> None:
    """A server that takes no connections while it recovers to a point in time is up: a standby, until it is done."""
    last = crashed(site, installation, settings={"hot_standby": "off"})
    data_directory = last.parent.parent
    fifo = site.directory / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    write(data_directory / "recovery.signal", "", data_directory)
    only_wal = f"case %f in *.history) ;; *) cat {fifo} ;; esac; false"
    append(data_directory / "postgresql.conf", f"restore_command = '{only_wal}'\n")
    with fifo.open("r+b", buffering=0):
        with withheld(last):
            start(site)
            pid = recovers(site, "crash")["pid"]
        during = site.wait_for_state("shop", "RUNNING")
        assert (during["pid"], during["standby"], during["reason"]) == (pid, True, "")
        fifo.unlink()
    after = site.wait_for("shop", lambda each: not each["standby"])
    assert (after["state"], after["pid"], after["restarts"]) == ("RUNNING", pid, 0)
    assert sql(site.cluster("shop"), "select pg_is_in_recovery(), count(*) from bought") == "f|2"


def test_a_stop_during_recovery(site: Site, installation: Installation) -> None:
    """A stop waits until the recovery heeds it, the ladder does not wait for ever, and nothing is lost by either."""
    last = crashed(site, installation)
    with withheld(last):
        start(site)
        recovers(site, "crash")
        assert site.pgsupctl("stop", "shop", "--no-wait").returncode == 0
        assert site.status("shop")["state"] == "STOPPING"
    assert site.wait_for_state("shop", "STOPPED")["restarts"] == 0
    with withheld(last):
        start(site)
        recovers(site, "crash")
        site.order("Stop", "shop", timeout=0.2)
    site.order("Start", "shop")
    assert sql(site.cluster("shop"), "select count(*) from bought") == "2"
