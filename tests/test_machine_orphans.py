"""Processes that outlive their postmaster: every cell of the state grid that has to do with them, by whole values."""

from __future__ import annotations

from dataclasses import replace
from signal import Signals

import pytest
from fakes import FakePolicy
from lives import (
    AFTER_ORPHANS,
    FATAL,
    NOW,
    ORPHAN_ROWS,
    ORPHANS,
    ROWS,
    RUNNING,
    STARTED,
    STARTED_DUE,
    STARTING,
    STOPPING,
    STOPPING_AGAIN,
    STOPPING_ORPHANS,
)

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.life import (
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Orphaned,
    Ready,
    Reinitialized,
    Reload,
    Reloaded,
    Restart,
    Rung,
    Signal,
    SignalOrphans,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    Timeout,
)
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.outcome import outcome
from pgsupervisor.supervision.transitions import Step

POLICY = FakePolicy()
START, STOP, RESTART, KILL, TIMEOUT, CHANGED = Start(), Stop(), Restart(), Kill(), Timeout(), FilesChanged()
SPAWNED = Spawned(43)
EXITED = Exited("killed by SIGKILL", clean=False, hopeless=False, jitter=0.75)
LEFT_TWO = replace(EXITED, orphans=2)
IN_THE_WAY = SpawnFailed("in the way", hopeless=False, jitter=1.0, orphans=2)
ONE_LEFT, NONE_LEFT = Orphaned(1), Orphaned(0)

EVENTS: tuple[Event, ...] = (
    START,
    STOP,
    RESTART,
    Reload(),
    KILL,
    SPAWNED,
    replace(IN_THE_WAY, orphans=0),
    IN_THE_WAY,
    Ready(standby=False),
    Reinitialized(),
    EXITED,
    LEFT_TWO,
    ONE_LEFT,
    NONE_LEFT,
    CHANGED,
    Reloaded(42, Report()),
    TIMEOUT,
)

QUIT, KILLED = ((SignalOrphans(number),) for number in (Signals.SIGQUIT, Signals.SIGKILL))
ORDERED_UP = Life(State.STARTING, want_up=True, since=NOW, deadline=NOW + 10, restarts=7)
DOWN = Life(State.STOPPED, since=NOW, restarts=7)


def _waits_before(beyond: Life) -> Step:
    """Return the life that waits for two orphans before another."""
    waiting = replace(
        beyond,
        state=State.BACKOFF,
        since=NOW,
        deadline=NOW + 2,
        orphans=2,
        beyond=beyond,
        reload_due=False,
        reason="waiting for 2 orphaned backends",
    )
    return waiting, ()


def _after_exit(life: Life) -> Step:
    """Return what follows if nothing is left of a server that ends, once two orphans are gone."""
    return _waits_before(step(POLICY, life, EXITED, NOW)[0])


def _ends_orphans(life: Life, count: int, rung: Rung, since: float) -> Life:
    return replace(
        life,
        state=State.STOPPING,
        pid=None,
        since=since,
        deadline=NOW + 2,
        rung=rung,
        orphans=count,
        beyond=None,
        reason=f"waiting for {count} orphaned backends after {rung.signal.name}",
    )


TABLE: dict[str, dict[Event, Step]] = {
    "STARTING": {LEFT_TWO: _after_exit(STARTING), IN_THE_WAY: _waits_before(STARTING)},
    "STARTING, pid": {LEFT_TWO: _after_exit(STARTED), IN_THE_WAY: _waits_before(STARTED)},
    "STARTING, reload due": {LEFT_TWO: _waits_before(ORDERED_UP), IN_THE_WAY: _waits_before(STARTED_DUE)},
    **{name: {LEFT_TWO: _after_exit(ROWS[name])} for name in ROWS if name.startswith("RUNNING")},
    "STOPPING, down": dict.fromkeys(
        (LEFT_TWO, IN_THE_WAY), (_ends_orphans(STOPPING, 2, Rung.IMMEDIATE, since=50.0), QUIT)
    ),
    "STOPPING, again": dict.fromkeys(
        (LEFT_TWO, IN_THE_WAY), (_ends_orphans(STOPPING_AGAIN, 2, Rung.IMMEDIATE, since=50.0), QUIT)
    ),
}
"""What orphans change where there were none. Anything else about them changes nothing there."""

DOWN_FROM_BACKOFF = replace(ORPHANS, want_up=False)

ORPHAN_TABLE: dict[str, dict[Event, Step]] = {
    "BACKOFF, orphans": {
        START: (replace(ORPHANS, beyond=ORDERED_UP), ()),
        RESTART: (replace(ORPHANS, beyond=ORDERED_UP), ()),
        CHANGED: (replace(ORPHANS, beyond=ORDERED_UP), ()),
        STOP: (_ends_orphans(DOWN_FROM_BACKOFF, 2, Rung.IMMEDIATE, since=NOW), QUIT),
        KILL: (_ends_orphans(DOWN_FROM_BACKOFF, 2, Rung.KILL, since=NOW), KILLED),
        SPAWNED: (replace(ORDERED_UP, pid=43), ()),
        ONE_LEFT: (replace(ORPHANS, orphans=1, reason="waiting for 1 orphaned backend"), ()),
        NONE_LEFT: (AFTER_ORPHANS, ()),
        TIMEOUT: (
            replace(
                ORPHANS,
                rung=Rung.IMMEDIATE,
                deadline=NOW + 2,
                reason="waiting for 2 orphaned backends after SIGQUIT",
            ),
            QUIT,
        ),
    },
    "STOPPING, orphans": {
        START: (replace(STOPPING_ORPHANS, want_up=True), ()),
        RESTART: (replace(STOPPING_ORPHANS, want_up=True), ()),
        KILL: (_ends_orphans(STOPPING_ORPHANS, 2, Rung.KILL, since=50.0), KILLED),
        SPAWNED: (replace(STOPPING_ORPHANS, pid=43, orphans=0), (Signal(Signals.SIGQUIT),)),
        LEFT_TWO: (_ends_orphans(STOPPING_ORPHANS, 2, Rung.IMMEDIATE, since=50.0), QUIT),
        IN_THE_WAY: (_ends_orphans(STOPPING_ORPHANS, 2, Rung.IMMEDIATE, since=50.0), QUIT),
        EXITED: (DOWN, ()),
        replace(IN_THE_WAY, orphans=0): (DOWN, ()),
        ONE_LEFT: (replace(STOPPING_ORPHANS, orphans=1, reason="waiting for 1 orphaned backend after SIGQUIT"), ()),
        NONE_LEFT: (DOWN, ()),
        TIMEOUT: (_ends_orphans(STOPPING_ORPHANS, 2, Rung.KILL, since=50.0), KILLED),
    },
}
"""What changes a life with orphans, or causes an action. Any other event changes nothing."""


@pytest.mark.parametrize("event", [LEFT_TWO, IN_THE_WAY, ONE_LEFT, NONE_LEFT], ids=repr)
@pytest.mark.parametrize("row", ROWS)
def test_where_there_were_none(row: str, event: Event) -> None:
    """Orphans put off what follows upon an end; where nothing was going on, they change nothing."""
    before = ROWS[row]
    assert step(POLICY, before, event, NOW) == TABLE.get(row, {}).get(event, (before, ()))


@pytest.mark.parametrize("event", EVENTS, ids=repr)
@pytest.mark.parametrize("row", ORPHAN_ROWS)
def test_where_there_are_some(row: str, event: Event) -> None:
    """While orphans are in the way, each event leads to exactly this life and these actions."""
    before = ORPHAN_ROWS[row]
    assert step(POLICY, before, event, NOW) == ORPHAN_TABLE[row].get(event, (before, ()))


def test_orphans_that_do_not_end() -> None:
    """After SIGQUIT comes SIGKILL, and after that nothing can be done but to wait, without waking up for it."""
    told_to_quit, _ = step(POLICY, ORPHANS, TIMEOUT, 101.0)
    killed, actions = step(POLICY, told_to_quit, TIMEOUT, 103.0)
    reason = "waiting for 2 orphaned backends after SIGKILL"
    assert (killed, actions) == (replace(ORPHANS, rung=Rung.KILL, deadline=105.0, reason=reason), KILLED)
    assert step(POLICY, killed, TIMEOUT, 105.0) == (replace(killed, deadline=None), ())


def test_a_stop_after_they_were_killed() -> None:
    """Whoever stops a cluster whose orphans have been killed does not have them asked more gently after that."""
    killed = replace(ORPHANS, rung=Rung.KILL, deadline=None)
    assert step(POLICY, killed, STOP, NOW) == (_ends_orphans(DOWN_FROM_BACKOFF, 2, Rung.KILL, since=NOW), KILLED)


def test_files_that_change_meanwhile() -> None:
    """What ran well, and what waits for orphans now, is not started anew because of a file; it reads it in any case."""
    waiting, _ = step(POLICY, RUNNING, LEFT_TWO, NOW)
    assert step(POLICY, waiting, CHANGED, NOW + 1) == (waiting, ())


def test_what_was_given_up_stays_so() -> None:
    """Orphans of a server that is not to be started again are ended all the same."""
    given_up, _ = step(FakePolicy(restart="never"), RUNNING, LEFT_TWO, NOW)
    assert (given_up.state, given_up.orphans) == (State.BACKOFF, 2)
    assert step(POLICY, given_up, NONE_LEFT, NOW + 1) == (
        replace(
            FATAL,
            since=NOW,
            failures=3,
            early_exits=0,
            reason="killed by SIGKILL (restart = never)",
        ),
        (),
    )


def test_a_start_that_they_held_up() -> None:
    """A start that found orphans is made as soon as they are gone, and is no failure."""
    waiting, _ = step(POLICY, STARTING, IN_THE_WAY, NOW)
    assert step(POLICY, waiting, NONE_LEFT, NOW + 2) == (
        replace(STARTING, since=NOW + 2, deadline=NOW + 12),
        (Spawn(),),
    )


@pytest.mark.parametrize("event", [START, RESTART, CHANGED], ids=repr)
def test_what_is_waited_for_is_what_was_ordered_last(event: Event) -> None:
    """While orphans are in the way, an order to start is open, whatever the server before ended of."""
    hindered, _ = step(POLICY, RUNNING, replace(LEFT_TWO, outside=True), NOW)
    clean, _ = step(POLICY, replace(STARTED, early_exits=1), replace(LEFT_TWO, clean=True), NOW)
    assert [outcome("shop", START, life) for life in (hindered, step(POLICY, hindered, event, NOW)[0])] == [None] * 2
    if event is not CHANGED:
        assert outcome("shop", START, step(POLICY, clean, event, NOW)[0]) is None
