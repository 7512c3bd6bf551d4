"""How long others wait for an answer while somebody attacks, and what that costs the daemon in memory.

    make test PYTEST='-s tests/benchmarks/bench_hostile.py'

Of 300 questions under each attack, half over connections of their own, it prints the median, the one behind which
1 in 100 are, and the worst: 100 ms is the promise, for a machine that has a processor to spare for the daemon.
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
        print(f"\n{CLUSTERS} clusters\n{'attack':20}{'median ms':>12}{'1 % ms':>10}{'worst ms':>10}{'more MB':>10}")
        for name in ("none", *ATTACKS):
            ground.forget_peak()
            with contextlib.nullcontext() if name == "none" else ground.attacked(name):
                times = sorted(_answered(ground))
            median, late, worst = (1000 * each for each in (statistics.median(times), times[-4], times[-1]))
            print(f"{name:20}{median:12.1f}{late:10.1f}{worst:10.1f}{ground.more / 2**20:10.1f}", flush=True)


def _answered(ground: Ground) -> list[float]:
    """Return how long answers took, in seconds."""
    times = []
    with ground.site.client() as client:
        for number in range(QUESTIONS):
            began = time.perf_counter()
            if number % 2:
                client.call("GetStatus", names=["shop"])
            else:
                ground.site.call("GetStatus", names=["shop"])
            times.append(time.perf_counter() - began)
            time.sleep(0.005)
    return times
