"""What it costs a server that its log is a file, and rotated: side by side with /dev/null.

    make test PYTEST='-s tests/benchmarks/bench_log_flood.py'

Clusters of one installation log 200,000 lines each as fast as they can, in turn, several times over: to /dev/null, to a
file that is never rotated, and to files that are rotated every 10 MB. What counts are the ratios of the medians, and
how much CPU time the daemon took for each 100 MB.
"""

from __future__ import annotations

import statistics
import time

import psutil
from daemons import Site, new_site
from machine import NewDataDirectory
from servers import sql

from pgsupervisor.postgres import Installation

RUNS = 7

LINES = 200_000

FLOOD = (
    f"do $$ begin for i in 1..{LINES} loop raise log 'line % of a log that is rather busy today', i; end loop; end $$"
)

SETTINGS = {"log_error_verbosity": "terse", "log_min_error_statement": "panic", "log_line_prefix": "%m [%p] "}

KINDS: dict[str, dict[str, object]] = {
    "/dev/null": {"logfile": "none"},
    "file": {"logfile_maxbytes": 0},
    "rotated": {"logfile_maxbytes": "10MB", "logfile_backups": 5},
    "compressed": {"logfile_maxbytes": "10MB", "logfile_backups": 5, "logfile_compress": True},
}


def test_log_flood(new_data_directory: NewDataDirectory, installation: Installation) -> None:
    """Print a table."""
    with new_site(new_data_directory) as site:
        _measure(site, installation)


def _measure(site: Site, installation: Installation) -> None:
    names = {kind: f"c{number}" for number, kind in enumerate(KINDS)}
    for kind, keys in KINDS.items():
        site.add(names[kind], installation, settings=SETTINGS, **keys)
    daemon = psutil.Process(site.run().pid)
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    used: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(RUNS):
        for kind, name in names.items():
            before, began = daemon.cpu_times(), time.perf_counter()
            sql(site.cluster(name), FLOOD)
            seconds[kind].append(time.perf_counter() - began)
            after = daemon.cpu_times()
            used[kind].append(after.user + after.system - before.user - before.system)
    base = statistics.median(seconds["/dev/null"])
    print(f"\n{installation.version}: {LINES} lines, {RUNS} runs")
    print(f"{'log':12}{'median s':>10}{'ratio':>8}{'daemon CPU s':>14}")
    for kind in KINDS:
        median = statistics.median(seconds[kind])
        print(f"{kind:12}{median:10.3f}{median / base:8.2f}{statistics.median(used[kind]):14.3f}")
