"""How many servers a daemon should start at once: the same boot with each width of the start gate."""

from __future__ import annotations

import asyncio
import os
import statistics

from benchmarks.answering import Judge
from benchmarks.daemon import running
from benchmarks.figures import Figure
from benchmarks.ground import Ground, new_ground
from benchmarks.hosts import ours

CLUSTERS = 40

ROUNDS = 3

WIDTHS = (1, 2, 3, 4, 6, 8, 12, 40)


def widths(judge: Judge) -> list[Figure]:
    """Measure the boot of the daemon with each width, in turn."""
    with new_ground(CLUSTERS) as ground:
        found = asyncio.run(_widths(judge, ground))
    best = min(found, key=lambda width: statistics.median(found[width]))
    processors = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    title = f"boot of {CLUSTERS} clusters by start_concurrency ({processors} processors; best: {best})"
    return [Figure(title, "s", {f"{width} at a time": boots for width, boots in found.items()}, [])]


async def _widths(judge: Judge, ground: Ground) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {width: [] for width in WIDTHS}
    for _ in range(ROUNDS):
        for width, boots in found.items():
            os.sync()
            async with running(ours(ground, width=width), judge, ground) as daemon:
                boots.append(daemon.boot)
    return found
