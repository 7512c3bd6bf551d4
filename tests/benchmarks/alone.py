"""What this daemon alone must reach: reloads, rest, memory, a flood of log, and questions through its socket."""

from __future__ import annotations

import asyncio
import re
import select
import statistics
import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.answering import Judge
from benchmarks.daemon import Caller, callers, running
from benchmarks.figures import Figure, Goal
from benchmarks.frontend import Session
from benchmarks.ground import Ground, Server, new_ground
from benchmarks.hosts import OURS, ours

RELOADS = 20
RELOAD_DELAY = 0.3

_BETWEEN = 0.0005
"""Seconds between two questions for a setting."""

IDLE_CLUSTERS = 100
IDLE = 60.0
SETTLED = 20.0
"""Seconds after a boot until all that follows from it is over: a run counts as stable after ten."""

CALLS = 20_000
CLIENTS = 50
ASKED = 40
"""Clusters of the daemon that is asked."""

FLOOD_LINES = 1_000_000
"""Of 100 bytes each."""

_FLOOD = (
    f"do $$ begin for i in 1..{FLOOD_LINES} loop raise log 'line % {'x' * 59}', lpad(i::text, 7, '0'); end loop; end $$"
)

_NUMBERED = re.compile(rb"line ([0-9]{7}) ")


def reloads(judge: Judge) -> list[Figure]:
    """Measure from a saved file to a `SHOW` that gives the new value."""
    with new_ground(1) as ground:
        return asyncio.run(_reloads(judge, ground))


async def _reloads(judge: Judge, ground: Ground) -> list[Figure]:
    (server,) = ground.servers
    found = []
    async with running(ours(ground, reload_delay=RELOAD_DELAY), judge, ground):
        with Session(server.socket) as session:
            for value in range(1000, 1000 + RELOADS):
                await asyncio.sleep(1.0)
                found.append(await asyncio.to_thread(_saved, server, session, value))
    beyond = 1000 * (statistics.median(found) - RELOAD_DELAY)
    goal = Goal("ms beyond reload_delay", beyond, at_most=20)
    return [
        Figure(
            f"a saved file until SHOW gives the new value (reload_delay {RELOAD_DELAY:g} s)", "s", {OURS: found}, [goal]
        )
    ]


def _saved(server: Server, session: Session, value: int) -> float:
    """Save a file with a new value, and return how long it takes until the server says it."""
    with (server.data_directory / "postgresql.conf").open("a") as file:
        file.write(f"work_mem = {value}\n")
    began = time.monotonic()
    while session.ask("show work_mem") != f"{value}kB":
        time.sleep(_BETWEEN)
    return time.monotonic() - began


def rest(judge: Judge) -> list[Figure]:
    """Measure what the daemon does with nothing to do, and what memory it has, with one cluster and with many."""
    with new_ground(IDLE_CLUSTERS) as ground:
        return asyncio.run(_rest(judge, ground))


async def _rest(judge: Judge, ground: Ground) -> list[Figure]:
    one = ground.few(1)
    async with running(ours(one), judge, one) as daemon:
        await asyncio.sleep(SETTLED)
        alone = daemon.memory
    async with running(ours(ground), judge, ground) as daemon:
        await asyncio.sleep(SETTLED)
        switches, used = daemon.switches, daemon.used
        await asyncio.sleep(IDLE)
        switches, used = daemon.switches - switches, daemon.used - used
        all_together = daemon.memory
    further = (all_together - alone) / (IDLE_CLUSTERS - 1)
    return [
        Figure(
            f"idle for {IDLE:g} s with {IDLE_CLUSTERS} clusters",
            "",
            {"wake-ups": [switches], "ms of CPU": [1000 * used]},
            [Goal("wake-ups", switches, at_most=0), Goal("ms of CPU", 1000 * used, at_most=0)],
        ),
        Figure(
            "memory of the daemon (VmRSS)",
            "MB",
            {"1 cluster": [alone / 1e6], f"{IDLE_CLUSTERS} clusters": [all_together / 1e6]},
            [
                Goal("MB at 1 cluster", alone / 1e6, at_most=40),
                Goal("KB for each further cluster", further / 1e3, at_most=40),
            ],
        ),
    ]


def flood(judge: Judge) -> list[Figure]:
    """Measure what 100 MB of log cost the daemon, rotated as by default, and count the lines."""
    with new_ground(1) as ground:
        return asyncio.run(_flood(judge, ground))


async def _flood(judge: Judge, ground: Ground) -> list[Figure]:
    (server,) = ground.servers
    with (server.data_directory / "postgresql.conf").open("a") as file:
        file.write("log_error_verbosity = terse\nlog_min_error_statement = panic\nlog_line_prefix = '%m [%p] '\n")
    async with running(ours(ground), judge, ground) as daemon:
        with Session(server.socket) as session:
            await asyncio.sleep(SETTLED)
            used, began = daemon.used, time.monotonic()
            await asyncio.to_thread(session.ask, _FLOOD)
            took = time.monotonic() - began
        await asyncio.sleep(SETTLED)  # what is rotated is rotated by then
        used = daemon.used - used
    seen = Counter(_numbers(ground))
    lost, twice = FLOOD_LINES - len(seen), sum(1 for count in seen.values() if count > 1)
    return [
        Figure(
            "a flood of 100 MB of log",
            "s",
            {"the server's time": [took], "the daemon's CPU": [used]},
            [
                Goal("lines lost", lost, at_most=0),
                Goal("lines twice", twice, at_most=0),
                Goal("s of the daemon's CPU", used, at_most=0.1),
            ],
        )
    ]


def _numbers(ground: Ground) -> Iterator[bytes]:
    for path in (ground.door / "log").iterdir():
        for line in path.open("rb"):
            found = _NUMBERED.search(line)
            if found is not None:
                yield found[1]


def questions(judge: Judge) -> list[Figure]:
    """Measure how many questions the daemon answers through its socket."""
    with new_ground(ASKED) as ground:
        return asyncio.run(_questions(judge, ground))


async def _questions(judge: Judge, ground: Ground) -> list[Figure]:
    async with running(ours(ground), judge, ground):
        await asyncio.sleep(SETTLED)
        return await asyncio.to_thread(_asked, ground)


def _asked(ground: Ground) -> list[Figure]:
    one, everything = [ground.servers[0].name], list[str]()
    with callers(ground, 1, one) as (caller,):
        rate = _rate(caller, CALLS)
    with callers(ground, 1, everything) as (caller,):
        rate_of_all = _rate(caller, CALLS // 20)
    with callers(ground, CLIENTS, one) as many:
        times = _crowd(many)
    centiles = statistics.quantiles(times, n=100)
    return [
        Figure(
            "status calls through the socket, one connection",
            "calls/s",
            {"of one cluster": [rate], f"of all {ASKED}": [rate_of_all]},
            [Goal("calls/s", rate, at_least=5000)],
        ),
        Figure(
            f"a status call among {CLIENTS} clients that ask all the time",
            "ms",
            {"median": [1000 * centiles[49]], "p99": [1000 * centiles[98]]},
            [Goal("p99, ms", 1000 * centiles[98], at_most=20)],
        ),
    ]


def _rate(caller: Caller, count: int) -> float:
    began = time.monotonic()
    for _ in range(count):
        caller.ask()
        caller.hear()
    return count / (time.monotonic() - began)


def _crowd(many: list[Caller]) -> list[float]:
    """Have many ask at the same time, each again as soon as it has its answer, and return how long each answer took."""
    by_number = {caller.fileno(): caller for caller in many}
    poll = select.epoll()
    asked: dict[int, float] = {}
    for number, caller in by_number.items():
        poll.register(number, select.EPOLLIN)
        asked[number] = time.monotonic()
        caller.ask()
    times: list[float] = []
    while len(times) < CALLS:
        for number, _ in poll.poll():
            by_number[number].hear()
            now = time.monotonic()
            times.append(now - asked[number])
            asked[number] = now
            by_number[number].ask()
    poll.close()
    return times
