"""Boot, crash, status and stop, of all contestants on the same data directories.

They run in turn, round after round, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice

from benchmarks.answering import Judge, Postmasters
from benchmarks.bare import PG_CTL_WIDTH, Bare, PgCtl
from benchmarks.figures import Figure, Goal, ratio
from benchmarks.ground import Ground, Server, new_ground
from benchmarks.hosts import CONTESTANTS, OURS, Host, end, whole

CLUSTERS = 40

ROUNDS = 3

WIDTHS = (2, 3, 4, 6, 8, 12, 40)
"""How many servers the bare limit starts at once; the best counts."""

CRASHES = 3
"""Servers that are killed, in each round, of each contestant."""

QUESTIONS = 8
"""How often each is asked for the status in each round."""

QUIET = 2.0
"""Seconds for which nobody is asked or told anything before and after something is measured."""

STABLE = 11.0
"""Seconds after a boot before servers are killed: who keeps them takes them for stable by then (`stable_after`)."""

BARE = "bare limit"
PG_CTL = f"pg_ctl -w, {PG_CTL_WIDTH} at a time"
PYTHON = "python3 -c pass"


@dataclass
class Race:
    """What was measured so far, by contestant, in seconds."""

    ground: Ground
    judge: Judge
    victims: Iterator[Server]
    boots: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stops: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    crashes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    questions: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    widths: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def run(self) -> None:
        """Run all rounds."""
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            await self._bare()
            await self._pg_ctl()
            for contestant in CONTESTANTS:
                await self._host(contestant(self.ground))

    async def _bare(self) -> None:
        bare = Bare(self.ground, self.judge)
        for width in WIDTHS:
            began = _begin()
            self.widths[width].append(await bare.boot(width) - began)
            if width == WIDTHS[-1]:
                keeping = asyncio.create_task(bare.keep())
                await self._crash(BARE)
                keeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await keeping
            await self._stop(BARE, lambda: bare.signal(signal.SIGINT))
            bare.reap()

    async def _pg_ctl(self) -> None:
        contestant = PgCtl(self.ground)
        began = _begin()
        with contestant.start() as starting:
            self.boots[PG_CTL].append(await self.judge.all_answer(self.ground.servers) - began)
        assert starting.returncode == 0
        await self._stop(PG_CTL, lambda: contestant.stop().wait())

    async def _host(self, host: Host) -> None:
        began = _begin()
        with host.start() as process:
            self.boots[host.name].append(await self.judge.all_answer(self.ground.servers) - began)
            await asyncio.sleep(STABLE)
            for _ in range(QUESTIONS):
                self.questions[PYTHON].append(whole([sys.executable, "-c", "pass"]))
                self.questions[host.name].append(whole(host.status))
            await self._crash(host.name)
            await self._stop(host.name, lambda: process.send_signal(signal.SIGTERM))
            await asyncio.to_thread(end, process)

    async def _crash(self, name: str) -> None:
        await asyncio.sleep(QUIET)
        for server in islice(self.victims, CRASHES):
            postmaster = Postmasters([server])
            began = time.monotonic()
            os.kill(server.pid, signal.SIGKILL)
            await postmaster.all_gone()
            self.crashes[name].append(await self.judge.answers(server) - began)
        await asyncio.sleep(QUIET)

    async def _stop(self, name: str, stop: Callable[[], object]) -> None:
        postmasters = Postmasters(self.ground.servers)
        began = _begin()
        stopping = asyncio.to_thread(stop)
        ended, _ = await asyncio.gather(postmasters.all_gone(), stopping)
        self.stops[name].append(ended - began)

    def figures(self) -> list[Figure]:
        """Return what came of it."""
        best = min(self.widths, key=lambda width: statistics.median(self.widths[width]))
        self.boots[BARE] = self.widths[best]
        boots, stops, crashes, questions = self.boots, self.stops, self.crashes, self.questions
        return [
            Figure(
                f"boot: {len(self.ground.servers)} clusters from nothing to all answering",
                "s",
                boots,
                [
                    Goal(f"{OURS} / {PG_CTL}", ratio(boots, OURS, PG_CTL), at_most=1.0),
                    Goal(f"{OURS} / {BARE} ({best} at a time)", ratio(boots, OURS, BARE), at_most=1.15),
                ],
            ),
            Figure(
                f"stop of all {len(self.ground.servers)}",
                "s",
                stops,
                [Goal(f"{OURS} / {BARE}", ratio(stops, OURS, BARE), at_most=1.1)],
            ),
            Figure(
                "kill -9 of a postmaster until it answers again",
                "s",
                crashes,
                [Goal(f"{OURS} / {BARE}", ratio(crashes, OURS, BARE), at_most=1.3)],
            ),
            Figure(
                f"status of {len(self.ground.servers)} clusters, whole process",
                "s",
                questions,
                [
                    Goal(f"{OURS} / supervisord", ratio(questions, OURS, "supervisord"), at_most=0.4),
                    Goal(f"{OURS} / {PYTHON}", ratio(questions, OURS, PYTHON), at_most=3.0),
                ],
            ),
        ]


def race(judge: Judge) -> list[Figure]:
    """Run all rounds on new ground, and return what came of it."""
    with new_ground(CLUSTERS) as ground:
        running = Race(ground, judge, cycle(ground.servers))
        asyncio.run(running.run())
        return running.figures()


def _begin() -> float:
    """Let the disk settle what others have written, and return the time."""
    os.sync()
    return time.monotonic()
