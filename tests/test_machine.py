"""Every cell of the state grid, by whole values, and the policies that play over several steps."""

from __future__ import annotations

from dataclasses import replace
from signal import Signals

import pytest
from fakes import FakePolicy
from lives import (
    BACKOFF,
    LOCKED,
    NOW,
    RELOADING,
    RELOADING_AGAIN,
    ROWS,
    RUNNING,
    STARTED,
    STARTED_DUE,
    STARTING,
    STOPPING,
    STOPPING_AGAIN,
)

from pgsupervisor.supervision.configuration import Change, Report
from pgsupervisor.supervision.life import (
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Ready,
    Recovering,
    Recovery,
    Reinitialized,
    Reload,
    Reloaded,
    Restart,
    Rung,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    TellToReload,
    Timeout,
    Unlocked,
)
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.transitions import Step

POLICY = FakePolicy()
ALWAYS = FakePolicy(restart="always")
NEVER = FakePolicy(restart="never")

START, STOP, RESTART, RELOAD, KILL, TIMEOUT = Start(), Stop(), Restart(), Reload(), Kill(), Timeout()
SPAWNED = Spawned(43)
NOT_SPAWNED = SpawnFailed("port in use", hopeless=False, jitter=0.75)
HOPELESS_SPAWN = SpawnFailed("wrong version", hopeless=True, jitter=0.75)
LOCKED_SPAWN = SpawnFailed("somebody works on it", hopeless=False, jitter=0.75, locked=True)
UNLOCKED = Unlocked()
READY, READY_STANDBY = Ready(standby=False), Ready(standby=True)
RECOVERING, RECOVERS = Recovering("crash"), Recovery("crash", since=NOW)
CRASHED_WITHIN = Reinitialized()
CLEAN = Exited("exited with status 0", clean=True, hopeless=False, jitter=0.75)
UNCLEAN = Exited("killed by SIGKILL", clean=False, hopeless=False, jitter=0.75)
HOPELESS = Exited("bad configuration", clean=False, hopeless=True, jitter=0.75)
CHANGED = FilesChanged()
APPLIED = Report(changes=(Change("work_mem", "4MB", "8MB"),))
RELOADED, RELOADED_BY_ANOTHER = Reloaded(42, APPLIED), Reloaded(41, APPLIED)

EVENTS: tuple[Event, ...] = (
    START,
    STOP,
    RESTART,
    RELOAD,
    KILL,
    SPAWNED,
    NOT_SPAWNED,
    HOPELESS_SPAWN,
    RECOVERING,
    LOCKED_SPAWN,
    UNLOCKED,
    READY,
    READY_STANDBY,
    CRASHED_WITHIN,
    CLEAN,
    UNCLEAN,
    HOPELESS,
    CHANGED,
    RELOADED,
    RELOADED_BY_ANOTHER,
    TIMEOUT,
)

INT, QUIT, KILLED, HUP = (
    (Signal(number),) for number in (Signals.SIGINT, Signals.SIGQUIT, Signals.SIGKILL, Signals.SIGHUP)
)
SPAWN, TELL = (Spawn(),), (TellToReload(),)

# What most cells lead to, written out.

ORDERED_UP = Life(State.STARTING, want_up=True, since=NOW, deadline=NOW + 10, backoff=0.0, restarts=7)
TRIED_AGAIN = replace(BACKOFF, state=State.STARTING, since=NOW, deadline=NOW + 10, restarts=8, reason="")
ADOPTED = Life(State.STARTING, want_up=True, pid=43, since=NOW, deadline=NOW + 10, restarts=7)
DOWN = Life(State.STOPPED, since=NOW, restarts=7)
LOCKED_OUT = replace(LOCKED, since=NOW, reason="somebody works on it")
STOPPED_BY_OTHERS = replace(DOWN, reason="stopped by someone else")


def _asked(life: Life, rung: Rung, patience: float, reason: str, *, again: bool = False) -> Life:
    """Return a life that has just begun to stop."""
    return replace(
        life,
        state=State.STOPPING,
        want_up=again,
        since=NOW,
        deadline=NOW + patience,
        rung=rung,
        rung_timeout=60.0,
        reloading=False,
        reload_due=False,
        report=None,
        reason=reason,
    )


def _shut(life: Life, *, again: bool = False) -> Life:
    return _asked(life, Rung.FAST, 60, "fast shutdown", again=again)


def _killed(life: Life) -> Life:
    return _asked(life, Rung.KILL, 60, "killed")


def _ready(life: Life, *, standby: bool = False) -> Life:
    return replace(life, state=State.RUNNING, since=NOW, deadline=NOW + 10, early_exits=0, standby=standby, reason="")


def _waits(life: Life, reason: str, *, early_exits: int) -> Life:
    """Return a life after its third failure: the wait of 2 s has doubled, and jitter makes 3 s of it."""
    return replace(
        life,
        state=State.BACKOFF,
        pid=None,
        since=NOW,
        deadline=NOW + 3,
        failures=3,
        early_exits=early_exits,
        backoff=4.0,
        reloading=False,
        reload_due=False,
        report=None,
        crashes=0,
        crashed=0.0,
        reason=f"{reason}; next try in 3.0 s",
    )


def _gave_up(life: Life, reason: str, *, early_exits: int) -> Life:
    return replace(
        life,
        state=State.FATAL,
        pid=None,
        since=NOW,
        deadline=None,
        failures=3,
        early_exits=early_exits,
        reloading=False,
        reload_due=False,
        report=None,
        crashes=0,
        crashed=0.0,
        reason=reason,
    )


FROM_STARTING: dict[Event, Step] = {
    RELOAD: (replace(STARTING, reload_due=True), ()),
    CHANGED: (replace(STARTING, reload_due=True), ()),
    STOP: (_shut(STARTING), INT),
    RESTART: (_shut(STARTING, again=True), INT),
    KILL: (_killed(STARTING), KILLED),
    SPAWNED: (replace(STARTING, pid=43), ()),
    NOT_SPAWNED: (_waits(STARTING, "port in use", early_exits=2), ()),
    HOPELESS_SPAWN: (_gave_up(STARTING, "wrong version", early_exits=2), ()),
    RECOVERING: (replace(STARTING, recovery=RECOVERS), ()),
    LOCKED_SPAWN: (LOCKED_OUT, ()),
    READY: (_ready(STARTING), ()),
    READY_STANDBY: (_ready(STARTING, standby=True), ()),
    CLEAN: (STOPPED_BY_OTHERS, ()),
    UNCLEAN: (_waits(STARTING, "killed by SIGKILL", early_exits=2), ()),
    HOPELESS: (_gave_up(STARTING, "bad configuration", early_exits=2), ()),
    TIMEOUT: (
        replace(
            STARTING,
            deadline=NOW + 10,
            reason="still starting after 50 s; no server yet: it waits for its turn, or is being initialised",
        ),
        (),
    ),
}

FROM_STOPPING: dict[Event, Step] = {
    KILL: (replace(_killed(STOPPING), since=50.0), KILLED),
    SPAWNED: (replace(STOPPING, pid=43), INT),
    NOT_SPAWNED: (DOWN, ()),
    HOPELESS_SPAWN: (DOWN, ()),
    LOCKED_SPAWN: (DOWN, ()),
    CLEAN: (DOWN, ()),
    UNCLEAN: (DOWN, ()),
    HOPELESS: (DOWN, ()),
    TIMEOUT: (
        replace(STOPPING, rung=Rung.IMMEDIATE, deadline=NOW + 60, reason="immediate shutdown"),
        QUIT,
    ),
}


def _still_starting(life: Life) -> Life:
    return replace(life, deadline=NOW + 10, reason="still starting after 50 s; recovery can take long")


def _with_pid(cells: dict[Event, Step]) -> dict[Event, Step]:
    """Return the cells of STARTING for a life with a pid: it stays known while there is a process."""
    ended = (State.BACKOFF, State.FATAL, State.STOPPED)
    return {
        event: (after if after.state in ended or event == SPAWNED else replace(after, pid=42), actions)
        for event, (after, actions) in cells.items()
    }


def _from_running(life: Life) -> dict[Event, Step]:
    """Return the cells of RUNNING that do not ask whether it reloads."""
    return {
        STOP: (_shut(life), INT),
        RESTART: (_shut(life, again=True), INT),
        KILL: (_killed(life), KILLED),
        READY_STANDBY: (replace(life, standby=True), ()),
        CRASHED_WITHIN: (replace(life, crashes=3, crashed=NOW), ()),
        CLEAN: (STOPPED_BY_OTHERS, ()),
        UNCLEAN: (_waits(life, "killed by SIGKILL", early_exits=0), ()),
        HOPELESS: (_gave_up(life, "bad configuration", early_exits=0), ()),
        TIMEOUT: (replace(life, failures=0, backoff=None, deadline=None), ()),
    }


TABLE: dict[str, dict[Event, Step]] = {
    "STOPPED": {
        START: (ORDERED_UP, SPAWN),
        RESTART: (ORDERED_UP, SPAWN),
        SPAWNED: (ADOPTED, ()),
    },
    "BACKOFF": {
        START: (ORDERED_UP, SPAWN),
        RESTART: (ORDERED_UP, SPAWN),
        STOP: (DOWN, ()),
        KILL: (DOWN, ()),
        SPAWNED: (ADOPTED, ()),
        CHANGED: (ORDERED_UP, SPAWN),
        TIMEOUT: (TRIED_AGAIN, SPAWN),
    },
    "BACKOFF, locked": {
        START: (ORDERED_UP, SPAWN),
        RESTART: (ORDERED_UP, SPAWN),
        STOP: (DOWN, ()),
        KILL: (DOWN, ()),
        SPAWNED: (ADOPTED, ()),
        CHANGED: (ORDERED_UP, SPAWN),
        UNLOCKED: (replace(TRIED_AGAIN, restarts=7), SPAWN),
    },
    "FATAL": {
        START: (ORDERED_UP, SPAWN),
        RESTART: (ORDERED_UP, SPAWN),
        STOP: (DOWN, ()),
        KILL: (DOWN, ()),
        SPAWNED: (ADOPTED, ()),
        CHANGED: (ORDERED_UP, SPAWN),
    },
    "STARTING": FROM_STARTING,
    "STARTING, pid": _with_pid(FROM_STARTING)
    | dict.fromkeys((RELOAD, CHANGED), (STARTED_DUE, HUP))
    | {TIMEOUT: (_still_starting(STARTED), ())},
    "STARTING, reload due": {
        RELOAD: (STARTED_DUE, HUP),
        CHANGED: (STARTED_DUE, HUP),
        STOP: (_shut(STARTED), INT),
        RESTART: (_shut(STARTED, again=True), INT),
        KILL: (_killed(STARTED), KILLED),
        SPAWNED: (replace(STARTED_DUE, pid=43), ()),
        NOT_SPAWNED: (ORDERED_UP, SPAWN),
        HOPELESS_SPAWN: (ORDERED_UP, SPAWN),
        RECOVERING: (replace(STARTED_DUE, recovery=RECOVERS), ()),
        LOCKED_SPAWN: (LOCKED_OUT, ()),
        READY: (replace(_ready(STARTED), reloading=True), TELL),
        READY_STANDBY: (replace(_ready(STARTED, standby=True), reloading=True), TELL),
        CLEAN: (STOPPED_BY_OTHERS, ()),
        UNCLEAN: (ORDERED_UP, SPAWN),
        HOPELESS: (ORDERED_UP, SPAWN),
        TIMEOUT: (_still_starting(STARTED_DUE), ()),
    },
    "RUNNING": _from_running(RUNNING) | dict.fromkeys((RELOAD, CHANGED), (replace(RUNNING, reloading=True), TELL)),
    "RUNNING, reloads": _from_running(RELOADING)
    | dict.fromkeys((RELOAD, CHANGED), (RELOADING_AGAIN, ()))
    | {RELOADED: (replace(RUNNING, report=APPLIED), ())},
    "RUNNING, reload due": _from_running(RELOADING_AGAIN)
    | {RELOADED: (replace(RUNNING, reloading=True, continued=True, report=APPLIED), TELL)},
    "STOPPING, down": FROM_STOPPING
    | {
        START: (STOPPING_AGAIN, ()),
        RESTART: (STOPPING_AGAIN, ()),
    },
    "STOPPING, again": FROM_STOPPING
    | {
        STOP: (STOPPING, ()),
        SPAWNED: (replace(STOPPING_AGAIN, pid=43), INT),
        NOT_SPAWNED: (ORDERED_UP, SPAWN),
        HOPELESS_SPAWN: (ORDERED_UP, SPAWN),
        LOCKED_SPAWN: (ORDERED_UP, SPAWN),
        CLEAN: (ORDERED_UP, SPAWN),
        UNCLEAN: (ORDERED_UP, SPAWN),
        HOPELESS: (ORDERED_UP, SPAWN),
        TIMEOUT: (
            replace(STOPPING_AGAIN, rung=Rung.IMMEDIATE, deadline=NOW + 60, reason="immediate shutdown"),
            QUIT,
        ),
    },
}
"""What changes a life or causes an action under `restart = "on-failure"`. Any other event changes nothing."""

UP = ("RUNNING", "RUNNING, reloads", "RUNNING, reload due")

UNLIKE_ON_FAILURE: dict[str, dict[str, dict[Event, Step]]] = {
    "always": {
        "STARTING": {CLEAN: (_waits(STARTING, "exited with status 0", early_exits=1), ())},
        "STARTING, pid": {CLEAN: (_waits(STARTED, "exited with status 0", early_exits=1), ())},
        "STARTING, reload due": {CLEAN: (ORDERED_UP, SPAWN)},
        **{row: {CLEAN: (_waits(RUNNING, "exited with status 0", early_exits=0), ())} for row in UP},
    },
    "never": {
        "STARTING": {
            NOT_SPAWNED: (_gave_up(STARTING, "port in use (restart = never)", early_exits=2), ()),
            UNCLEAN: (_gave_up(STARTING, "killed by SIGKILL (restart = never)", early_exits=2), ()),
        },
        "STARTING, pid": {
            NOT_SPAWNED: (_gave_up(STARTED, "port in use (restart = never)", early_exits=2), ()),
            UNCLEAN: (_gave_up(STARTED, "killed by SIGKILL (restart = never)", early_exits=2), ()),
        },
        **{row: {UNCLEAN: (_gave_up(RUNNING, "killed by SIGKILL (restart = never)", early_exits=0), ())} for row in UP},
    },
}
"""The cells in which another restart policy makes a difference."""


@pytest.mark.parametrize("event", EVENTS, ids=repr)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("policy", [POLICY, ALWAYS, NEVER], ids=lambda policy: policy.restart)
def test_cell(policy: FakePolicy, row: str, event: Event) -> None:
    """Each state answers each event with exactly this life and these actions, under each restart policy."""
    before = ROWS[row]
    cells = TABLE[row] | UNLIKE_ON_FAILURE.get(policy.restart, {}).get(row, {})
    assert step(policy, before, event, NOW) == cells.get(event, (before, ()))
