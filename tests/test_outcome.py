"""When an order is done, and what is then said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lives import ROWS, RUNNING, STOPPED

from pgsupervisor.supervision.configuration import Change, Mistake, Report
from pgsupervisor.supervision.life import Kill, Order, Reload, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome, outcome

TOLD = "told to reload; it is asked what it made of that as soon as it is ready"
NOTHING = "not running; nothing to reload"
LATER_DOWN = "stopped by a later order"
LATER_UP = "started again by a later order"

UP: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (False, "stopped by someone else"),
    "BACKOFF": None,
    "BACKOFF, locked": (False, "a single-user backend works on it"),
    "FATAL": (False, "ended (gave up)"),
    "STARTING": None,
    "STARTING, pid": None,
    "STARTING, reload due": None,
    "RUNNING": (True, ""),
    "RUNNING, reloads": (True, ""),
    "RUNNING, reload due": (True, ""),
    "STOPPING, down": (False, LATER_DOWN),
    "STOPPING, again": None,
}
DOWN: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (True, "stopped by someone else"),
    "BACKOFF": (False, LATER_UP),
    "BACKOFF, locked": (False, LATER_UP),
    "FATAL": (False, LATER_UP),
    "STARTING": (False, LATER_UP),
    "STARTING, pid": (False, LATER_UP),
    "STARTING, reload due": (False, LATER_UP),
    "RUNNING": (False, LATER_UP),
    "RUNNING, reloads": (False, LATER_UP),
    "RUNNING, reload due": (False, LATER_UP),
    "STOPPING, down": None,
    "STOPPING, again": (False, LATER_UP),
}
RELOADED: dict[str, tuple[bool, str] | None] = {
    "STOPPED": (False, NOTHING),
    "BACKOFF": (False, NOTHING),
    "BACKOFF, locked": (False, NOTHING),
    "FATAL": (False, NOTHING),
    "STARTING": (True, TOLD),
    "STARTING, pid": (True, TOLD),
    "STARTING, reload due": (True, TOLD),
    "RUNNING": (False, NOTHING),
    "RUNNING, reloads": None,
    "RUNNING, reload due": None,
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
    assert {life.state for life in ROWS.values()} == set(State)


BAD = Mistake("/srv/shop/postgresql.conf", 7, 'invalid value for parameter "work_mem": "4XB"', "work_mem")
LARGER = Change("shared_buffers", "128MB", "1GB")


@pytest.mark.parametrize(
    ("report", "ok"),
    [
        (Report(), True),
        (Report(changes=(LARGER,)), True),
        (Report(pending=(LARGER,)), True),
        (Report(mistakes=(BAD,)), False),
        (Report(changes=(LARGER,), mistakes=(BAD,)), False),
        (Report(unverified="psql is not installed"), True),
    ],
    ids=lambda value: value.verdict if isinstance(value, Report) else "",
)
def test_a_reload_did_what_it_says_unless_the_server_refused_something(report: Report, *, ok: bool) -> None:
    """The outcome of a reload is what the server made of it; only what it refused makes that a failure."""
    life = replace(RUNNING, report=report)
    assert outcome("shop", Reload(), life) == Outcome("shop", ok, State.RUNNING, report.text, report)


def test_a_reload_is_open_while_one_is_due() -> None:
    """What was made of the files before is not the answer to a reload that is still to come."""
    assert outcome("shop", Reload(), replace(RUNNING, reload_due=True, report=Report())) is None


def test_stopped_by_an_order_says_so() -> None:
    """Where a life does not say why it is down, a later order has brought it down."""
    silent = replace(STOPPED, reason="")
    assert outcome("shop", Start(), silent) == Outcome("shop", ok=False, state=State.STOPPED, message=LATER_DOWN)
