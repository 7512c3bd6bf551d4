"""Standbys: up, shown as what they are, and followed when somebody promotes them."""

from __future__ import annotations

import signal

import pytest
from by_hand import add_standby, by_hand, wal_file, withheld
from daemons import Site
from servers import append, sql

from pgsupervisor.postgres import Installation


@pytest.fixture
def pair(site: Site, installation: Installation) -> Site:
    """A primary, `shop`, that runs, and its standby `spare`, not started yet."""
    site.add("shop", installation)
    site.run()
    sql(site.cluster("shop"), "create table bought as select 1")
    add_standby(site, "spare", of="shop")
    return site


def shown(site: Site) -> list[str]:
    """Return what `pgsupctl status` says of the standby, without the time."""
    state, *_, remark = site.pgsupctl("status", "spare").stdout.splitlines()[-1].split()[1:]
    return [state, remark]


def test_a_standby_is_promoted(pair: Site) -> None:
    """A standby is RUNNING and shown as one; when somebody promotes it, that is noticed and logged, and it runs on."""
    pair.order("Start", "spare")
    record, spare = pair.status("spare"), pair.cluster("spare")
    assert (record["state"], record["standby"], pair.status("shop")["standby"]) == ("RUNNING", True, False)
    assert (shown(pair), sql(spare, "select pg_is_in_recovery()")) == (["RUNNING", "standby"], "t")
    by_hand(spare.installation, "pg_ctl", "promote", "-D", spare.data_directory)
    after = pair.wait_for("spare", lambda each: not each["standby"])
    assert (after["state"], after["pid"], after["restarts"], after["reason"]) == ("RUNNING", record["pid"], 0, "")
    assert sql(spare, "insert into bought values (2) returning pg_is_in_recovery()").splitlines()[0] == "f"
    pair.daemons[-1].wait_for_log(event="promoted", cluster="spare", pid=record["pid"])
    # It is a standby no more, whatever happens to it.
    pair.order("Restart", "spare")
    assert pair.status("spare")["standby"] is False


def test_a_standby_that_takes_no_connections(pair: Site) -> None:
    """With hot_standby = off a standby is up, also to the daemon that finds it, and lets clients in once promoted."""
    spare = pair.cluster("spare")
    pair.clusters["spare"]["settings"] = {"hot_standby": "off"}
    pair.write()
    assert pair.pgsupctl("update").returncode == 0
    pair.order("Start", "spare")
    record = pair.status("spare")
    assert (record["state"], record["standby"], spare.ready_for_connections()) == ("RUNNING", True, False)
    assert pair.daemons[-1].end(signal.SIGKILL) == -signal.SIGKILL
    pair.start()
    adopted = pair.wait_for_state("spare", "RUNNING")
    assert (adopted["pid"], adopted["standby"]) == (record["pid"], True)
    by_hand(spare.installation, "pg_ctl", "promote", "-D", spare.data_directory)
    pair.wait_for("spare", lambda each: not each["standby"])
    assert (sql(spare, "select 1"), pair.pid("spare")) == ("1", record["pid"])


def test_a_standby_that_is_not_consistent_yet(pair: Site) -> None:
    """A standby that has to replay what it had once is STARTING, in archive recovery, until it lets clients in."""
    shop, spare = pair.cluster("shop"), pair.cluster("spare")
    append(pair.directory / "shop" / "postgresql.conf", "synchronous_standby_names = '*'\n")
    assert pair.pgsupctl("reload", "shop").returncode == 0
    pair.order("Start", "spare")
    last = wal_file(shop)
    sql(shop, "set synchronous_commit = remote_apply; insert into bought values (2)")
    pair.order("Stop", "spare")
    with withheld(pair.directory / "spare" / "pg_wal" / last):
        assert pair.pgsupctl("start", "spare", "--no-wait").returncode == 0
        during = pair.wait_for("spare", lambda each: str(each["reason"]).startswith("in archive recovery for "))
        assert (during["state"], during["standby"]) == ("STARTING", False)
    after = pair.wait_for_state("spare", "RUNNING")
    assert (after["pid"], after["standby"], after["reason"]) == (during["pid"], True, "")
    assert sql(spare, "select count(*) from bought") == "2"
