"""What measures must be right itself: the judge, the bare limit, the small programs, and how it is told."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest
from benchmarks.answering import Judge, Postmasters
from benchmarks.bare import Bare
from benchmarks.chart import chart
from benchmarks.daemon import running
from benchmarks.figures import Figure, Goal, ratio
from benchmarks.frontend import Session
from benchmarks.ground import Ground, new_ground
from benchmarks.hosts import ours
from benchmarks.many import small_programs
from benchmarks.report import table

FIGURE = Figure(
    "boot",
    "s",
    {"pgsupervisor": [1.0, 3.0, 1.1], "others": [2.0, 2.2, 2.4]},
    [Goal("a", 0.5, at_most=0.4), Goal("b", 0.4, at_most=0.4), Goal("c", 5, at_least=6), Goal("d", 6, at_least=6)],
)


@pytest.fixture
def judge() -> Iterator[Judge]:
    """A judge."""
    made = Judge()
    yield made
    made.close()


@pytest.fixture
def ground() -> Iterator[Ground]:
    """Two data directories."""
    with new_ground(2) as made:
        yield made


def test_medians_and_goals() -> None:
    """Medians count, and a goal is met by its bound itself."""
    assert FIGURE.medians == {"pgsupervisor": 1.1, "others": 2.2}
    assert ratio(FIGURE.samples, "pgsupervisor", "others") == 0.5
    assert [goal.met for goal in FIGURE.goals] == [False, True, False, True]


def test_the_table() -> None:
    """People see each median with its spread, and each goal with what was reached."""
    assert table([FIGURE]).splitlines() == [
        "",
        "boot",
        "    pgsupervisor                             1.1 s  (1 to 3)",
        "    others                                   2.2 s  (2 to 2.4)",
        "  > a                                                  0.5 <= 0.4     MISSED",
        "  > b                                                  0.4 <= 0.4     reached",
        "  > c                                                    5 >= 6       MISSED",
        "  > d                                                    6 >= 6       reached",
    ]


def test_the_chart() -> None:
    """Each contestant has a bar as long as its median, ours in a colour of its own."""
    bars = ET.fromstring(chart([FIGURE])).findall("{http://www.w3.org/2000/svg}rect")  # noqa: S314  # our own text
    assert [(bar.get("class"), bar.get("width")) for bar in bars] == [("ours", "220.0"), ("bar", "440.0")]


def test_the_judge(judge: Judge, ground: Ground) -> None:
    """A server is up when it answers, also when it has to recover first, and down when its postmaster is gone."""

    async def play() -> None:
        bare = Bare(ground, judge)
        await bare.boot(1)
        for server in ground.servers:
            with Session(server.socket) as session:
                assert session.ask("show port") == str(server.port)
        keeping = asyncio.create_task(bare.keep())
        await asyncio.sleep(0)  # it waits for their ends by now
        killed = Postmasters(ground.servers)
        pids = [server.pid for server in ground.servers]
        bare.signal(signal.SIGKILL)
        await killed.all_gone()
        await judge.all_answer(ground.servers)
        assert not {server.pid for server in ground.servers} & set(pids)
        keeping.cancel()
        stopped = Postmasters(ground.servers)
        bare.signal(signal.SIGINT)
        await stopped.all_gone()
        bare.reap()

    asyncio.run(play())


@pytest.mark.skipif(shutil.which("cc") is None, reason="the small programs are compiled")
def test_the_small_programs(judge: Judge) -> None:
    """For a daemon, and for the judge, they are servers."""

    async def play(ground: Ground) -> None:
        async with running(ours(ground), judge, ground) as daemon:
            assert daemon.threads < 60
        assert [server for server in ground.servers if (server.data_directory / "postmaster.pid").exists()] == []

    with small_programs(3) as ground:
        asyncio.run(play(ground))
