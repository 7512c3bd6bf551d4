"""How long others wait for an answer while somebody attacks, and what that costs the daemon in memory.

    make test PYTEST='-s tests/benchmarks/bench_hostile.py'

Of 300 questions under each attack, half over connections of their own, it prints how long the median took, and the
worst; and the most processor time that the daemon took for whatever it did until one was answered. That is what the
worst would be on a machine that is idle but for it: 100 ms is the promise.
"""

from __future__ import annotations

import contextlib
import statistics
import time

from attacker import ATTACKS
from attacks import Ground, people_may_attack
from daemons import new_site
from machine import NewDataDirectory
from people import as_root

QUESTIONS = 300

CLUSTERS = 100


@as_root
def test_hostile(new_data_directory: NewDataDirectory) -> None:
    """Print a table."""
    with new_site(new_data_directory) as site:
        ground = people_may_attack(site, others=CLUSTERS)
        print(f"\n{CLUSTERS} clusters\n{'attack':20}{'median ms':>12}{'worst ms':>10}{'CPU ms':>10}{'more MB':>10}")
        for name in ("none", *ATTACKS):
            ground.forget_peak()
            with contextlib.nullcontext() if name == "none" else ground.attacked(name):
                times, used = zip(*_answered(ground), strict=True)
            median, worst, most = (1000 * each for each in (statistics.median(times), max(times), max(used)))
            print(f"{name:20}{median:12.1f}{worst:10.1f}{most:10.1f}{ground.more / 2**20:10.1f}", flush=True)


def _answered(ground: Ground) -> list[tuple[float, float]]:
    """Return how long answers took, and how much processor time the daemon took meanwhile, in seconds."""
    found = []
    with ground.site.client() as client:
        for number in range(QUESTIONS):
            used, began = ground.used, time.perf_counter()
            if number % 2:
                client.call("GetStatus", names=["shop"])
            else:
                ground.site.call("GetStatus", names=["shop"])
            found.append((time.perf_counter() - began, ground.used - used))
            time.sleep(0.005)
    return found
