"""All clusters in one line."""

from __future__ import annotations

import pytest
from lives import BACKOFF, FATAL, LOCKED, ORPHANS, STARTED, STARTING, STOPPED

from pgsupervisor.daemon.summary import summary
from pgsupervisor.supervision.life import Life, Recovery, Rung, State

RUNNING = Life(State.RUNNING, want_up=True, pid=42)
STOPPING = Life(State.STOPPING, pid=42, rung=Rung.FAST)
RECOVERING = Life(State.STARTING, want_up=True, pid=42, recovery=Recovery("crash", since=0.0))


def many(number: int, name: str, life: Life) -> dict[str, Life]:
    return {f"{name}{each}": life for each in range(1, number + 1)}


@pytest.mark.parametrize(
    ("lives", "line"),
    [
        ({}, "no clusters"),
        ({"shop": RUNNING}, "1 running"),
        ({**many(12, "c", RUNNING), "blog": RECOVERING, "shop": FATAL}, "12 running, 1 recovering, 1 fatal: shop"),
        ({"shop": FATAL, "blog": STOPPED, "wiki": RUNNING}, "1 running, 1 stopped, 1 fatal: shop"),
        ({"a": STARTING, "b": STARTED, "c": RECOVERING}, "1 recovering, 2 starting"),
        ({"a": BACKOFF, "b": ORPHANS, "c": LOCKED, "d": FATAL}, "3 backoff: a b c, 1 fatal: d"),
        ({"shop": STOPPING, "blog": STOPPED}, "1 stopping: shop, 1 stopped"),
        (many(5, "c", FATAL), "5 fatal: c1 c2 c3 c4 c5"),
        (many(300, "c", FATAL), "300 fatal: c1 c2 c3 c4 c5 …"),
    ],
)
def test_summary(lives: dict[str, Life], line: str) -> None:
    """It counts what each cluster does, and names those that are in trouble or waited for, a few of them."""
    assert summary(lives) == line
