"""Nothing is lost, whatever happens: to the servers, to the daemon, to their files, to a disk, and by whose order."""

from __future__ import annotations

import time
from collections import Counter
from typing import cast

import pytest
from chaos.afterwards import complaints, holdings, lost, strays
from chaos.hand import Hand
from chaos.plan import plan
from chaos.stage import ON_SMALL_DISK, new_stage
from chaos.witness import Witness
from chaos.writers import writers
from daemons import LIMIT, Record, Site
from machine import NewDataDirectory


# Beside other tests, its witness would look less often.
@pytest.mark.alone
def test_nothing_is_lost(new_data_directory: NewDataDirectory, request: pytest.FixtureRequest) -> None:
    """Every acknowledged row is there, every cluster is as it was last wished, and nothing is left over."""
    seconds, seed = request.config.getoption("--chaos-seconds"), request.config.getoption("--chaos-seed")
    print(f"again: --chaos-seconds={seconds:g} --chaos-seed={seed}")  # noqa: T201  # pytest shows it with a failure
    with new_stage(new_data_directory) as (site, disk):
        planned = plan(seed, seconds, tuple(site.clusters))
        with Witness([str(keys["data_directory"]) for keys in site.clusters.values()]) as witness:
            with writers(site) as writing, Hand(site, disk) as hand:
                hand.carry_out(planned)
                hand.mend()
                # A postmaster whose checkpointer dies again and again, as its disk is full, may overlook the last time,
                # and wait for ever for that checkpoint (seen with 18.6): its administrator's turn.
                site.call("Restart", names=list(site.clusters)[:ON_SMALL_DISK], mode="immediate", force=True)
                wish(site, [name for name, up in planned.wishes.items() if up])
                site.order("Stop", *(name for name, up in planned.wishes.items() if not up))
            states = {name: "RUNNING" if up else "STOPPED" for name, up in planned.wishes.items()}
            assert (site.states(), strays(site)) == (states, [])
            wish(site, list(site.clusters))
        acknowledged = {name: writer.acknowledged for name, writer in writing.items()}
        assert all(acknowledged.values()), "there was a cluster to which nothing could be written"
        assert (lost(site, acknowledged), witness.found) == ({}, set())
        assert_nothing_is_held(site)
        assert complaints(site.daemons) == []


def wish(site: Site, names: list[str]) -> None:
    """Wish clusters to be up. A start that was under way may still fail by what was broken; the next one may not."""
    site.call("Start", names=names)
    outcomes = cast("list[Record]", site.call("Start", names=names)["outcomes"])
    assert [each for each in outcomes if not each["ok"]] == []


def assert_nothing_is_held(site: Site) -> None:
    """Assert that the daemon holds no more than one that comes after it, and finds the same servers."""
    held = at_rest(site)
    site.call("StopDaemon", leave=True)
    assert site.daemons[-1].wait()[0] == 0
    site.start()
    assert held == at_rest(site)


def at_rest(site: Site) -> Counter[str]:
    """Return what the daemon holds when it has nothing more to do than to listen to us."""
    site.order("Start", "all")
    pid = site.daemons[-1].pid
    with site.client() as client:
        # Whoever gets an answer to this knows that no other reload is under way or due.
        client.call("Reload", names=["all"])
        deadline = time.monotonic() + LIMIT
        # What the servers have just said may have made a log so large that it is rotated at this moment.
        while (rotates := _has_logs(held := holdings(pid))) and time.monotonic() < deadline:
            pass
        assert not rotates
        return held


def _has_logs(held: Counter[str]) -> bool:
    return any(name.endswith(".log") for name in held)
