"""When an order is done, and what is then said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lives import BACKOFF, FATAL, ROWS, RUNNING, STARTED, STARTING, STOPPED, STOPPING, STOPPING_AGAIN

from pgsupervisor.supervision.life import Kill, Life, Order, Reload, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome, outcome

NOTHING = "not running; nothing to reload"
LATER_DOWN = "stopped by a later order"
LATER_UP = "started again by a later order"

UP: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (False, "stopped by someone else"),
    "BACKOFF": None,
    "FATAL": (False, "ended (gave up)"),
    "STARTING": None,
    "STARTING, pid": None,
    "RUNNING": (True, ""),
    "STOPPING, down": (False, LATER_DOWN),
    "STOPPING, again": None,
}
DOWN: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (True, "stopped by someone else"),
    "BACKOFF": (False, LATER_UP),
    "FATAL": (False, LATER_UP),
    "STARTING": (False, LATER_UP),
    "STARTING, pid": (False, LATER_UP),
    "RUNNING": (False, LATER_UP),
    "STOPPING, down": None,
    "STOPPING, again": (False, LATER_UP),
}
RELOADED: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (False, NOTHING),
    "BACKOFF": (False, NOTHING),
    "FATAL": (False, NOTHING),
    "STARTING": (True, ""),
    "STARTING, pid": (True, ""),
    "RUNNING": (True, ""),
    "STOPPING, down": (False, NOTHING),
    "STOPPING, again": (False, NOTHING),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    ("order", "expected"),
    [(Start(), UP), (Restart(), UP), (Stop(), DOWN), (Kill(), DOWN), (Reload(), RELOADED)],
    ids=lambda value: type(value).__name__,
)
def test_outcome(order: Order, expected: dict[str, tuple[bool, str] | None], row: str) -> None:
    """Each order has its outcome in each state, or is still open (None)."""
    life = ROWS[row]
    said = expected[row]
    assert outcome("shop", order, life) == (None if said is None else Outcome("shop", said[0], life.state, said[1]))


def test_lives_are_all_there() -> None:
    """Every state is in the tables above."""
    lives = [STOPPED, BACKOFF, FATAL, STARTING, STARTED, RUNNING, STOPPING, STOPPING_AGAIN]
    assert {life.state for life in lives} == set(State)


def test_stopped_by_an_order_says_so() -> None:
    """Where a life does not say why it is down, a later order has brought it down."""
    silent: Life = replace(STOPPED, reason="")
    assert outcome("shop", Start(), silent) == Outcome("shop", ok=False, state=State.STOPPED, message=LATER_DOWN)
