"""The lives with which every cell of the state grid is entered: one for each row."""

from __future__ import annotations

from dataclasses import replace

from pgsupervisor.supervision.configuration import Mistake, Report
from pgsupervisor.supervision.life import Life, Rung, State

NOW = 100.0
"""When the event comes; every life is in its state since 50."""

REFUSED = Report(mistakes=(Mistake("/srv/shop/pg_hba.conf", 12, 'invalid authentication method "trsut"'),))
"""What a server made of its files the last time."""

STOPPED = Life(since=50.0, restarts=7, reason="stopped by someone else")

BACKOFF = Life(
    State.BACKOFF,
    want_up=True,
    since=50.0,
    deadline=101.0,
    failures=2,
    early_exits=1,
    backoff=2.0,
    restarts=7,
    reason="ended; next try in 2.0 s",
)

AFTER_ORPHANS = replace(BACKOFF, since=98.0, deadline=98.5)
"""What follows when the orphans are gone."""

ORPHANS = Life(
    State.BACKOFF,
    want_up=True,
    since=98.0,
    deadline=101.0,
    failures=2,
    early_exits=1,
    backoff=2.0,
    restarts=7,
    orphans=2,
    beyond=AFTER_ORPHANS,
    reason="waiting for 2 orphaned backends",
)
"""BACKOFF, while processes of the server that was killed are in the way of the next."""
LOCKED = replace(BACKOFF, deadline=None, outside=True, reason="a single-user backend works on it")
"""BACKOFF until somebody else leaves the data directory."""

FATAL = replace(BACKOFF, state=State.FATAL, deadline=None, reason="ended (gave up)")

STARTING = replace(BACKOFF, state=State.STARTING, reason="")
"""Without a process yet."""

STARTED = replace(STARTING, pid=42)
"""STARTING, with a process."""

STARTED_DUE = replace(STARTED, reload_due=True)
"""STARTED, and its files have changed since."""

RUNNING = replace(STARTED, state=State.RUNNING, early_exits=0, crashes=2, crashed=70.0)

RELOADING = replace(RUNNING, reloading=True, report=REFUSED)
"""RUNNING, while it reads its files, not for the first time."""

RELOADING_AGAIN = replace(RELOADING, reload_due=True)
"""RELOADING, and it will have to once more."""

STOPPING = replace(
    RUNNING, state=State.STOPPING, want_up=False, rung=Rung.FAST, rung_timeout=60.0, reason="fast shutdown"
)

STOPPING_AGAIN = replace(STOPPING, want_up=True)
"""STOPPING, as one half of a restart."""

STOPPING_ORPHANS = replace(STOPPING, pid=None, orphans=2, rung=Rung.IMMEDIATE)
"""STOPPING, while there are processes of a server whose postmaster has ended."""

ROWS = {
    "STOPPED": STOPPED,
    "BACKOFF": BACKOFF,
    "BACKOFF, locked": LOCKED,
    "FATAL": FATAL,
    "STARTING": STARTING,
    "STARTING, pid": STARTED,
    "STARTING, reload due": STARTED_DUE,
    "RUNNING": RUNNING,
    "RUNNING, reloads": RELOADING,
    "RUNNING, reload due": RELOADING_AGAIN,
    "STOPPING, down": STOPPING,
    "STOPPING, again": STOPPING_AGAIN,
}

ORPHAN_ROWS = {"BACKOFF, orphans": ORPHANS, "STOPPING, orphans": STOPPING_ORPHANS}
"""The rows in which processes of a server live on whose postmaster has ended."""
