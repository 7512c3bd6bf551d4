"""A server that recovers is at work: what it does is told, and for how long; it is not hurried, and not a failure."""

from __future__ import annotations

from dataclasses import replace

from fakes import FakePolicy

from pgsupervisor.supervision.life import Event, Life, Ready, Recovering, Recovery, State, Timeout
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.transitions import STILL_STARTING, Step, still_starting

BEGUN = Life(State.STARTING, want_up=True, pid=42, since=100.0, deadline=110.0, failures=2, restarts=7)
"""Waited for its turn until 105, and recovers from then on."""

RECOVERS = replace(BEGUN, recovery=Recovery("crash", since=105.0))


def _step(life: Life, event: Event, now: float) -> Step:
    return step(FakePolicy(), life, event, now)


def test_what_it_does_and_for_how_long() -> None:
    """The time is that of the recovery alone, and that of whoever asks; before, all that is known is that it starts."""
    assert _step(BEGUN, Recovering("crash"), 105.0) == (RECOVERS, ())
    assert [still_starting(RECOVERS, now) for now in (105.0, 200.0)] == [
        "in crash recovery for 0 s",
        "in crash recovery for 95 s",
    ]
    archive, _ = _step(RECOVERS, Recovering("archive"), 200.0)
    assert still_starting(archive, 260.0) == "in archive recovery for 60 s"
    assert still_starting(BEGUN, 160.0) == "still starting after 60 s; recovery can take long"


def test_hours_of_it_are_no_failure() -> None:
    """No deadline does anything but tell the time."""
    life, now = RECOVERS, 0.0
    while now < 4 * 3600:
        assert life.deadline is not None
        now = life.deadline
        life, actions = _step(life, Timeout(), now)
        reason = f"in crash recovery for {now - 105:.0f} s"
        assert (life, actions) == (replace(RECOVERS, deadline=now + STILL_STARTING, reason=reason), ())


def test_when_it_is_over() -> None:
    """Nothing is left of it once a server is ready; and a standby may cease to be one."""
    ready, _ = _step(RECOVERS, Ready(standby=True), 130.0)
    assert (ready.state, ready.standby, ready.recovery, ready.reason) == (State.RUNNING, True, None, "")
    assert _step(ready, Recovering("archive"), 140.0) == (ready, ())
    promoted, actions = _step(ready, Ready(standby=False), 150.0)
    assert (promoted, actions) == (replace(ready, standby=False), ())
