"""The life of one cluster, as a pure function: `step(policy, life, event, now) -> (life, actions)`.

What the administrator wants (`want_up`) and what the postmaster does (`state`) are two facts. An order changes
the first and may cause actions; a fact that the kernel or the server reports changes the second. A restart is
nothing but a stop during which `want_up` is still true.

Time is passed in, in seconds of any clock that only goes forward. A life has one `deadline`, and what it means
is given by the state:

- STARTING: say that it takes long, and go on waiting. A server that replays WAL for an hour is doing its job;
  killing it only makes it begin again.
- RUNNING: it has run long enough; past failures are forgiven.
- STOPPING: the next, harder rung of the ladder smart, fast, immediate, kill.
- BACKOFF: try again. Without a deadline, somebody else has the data directory, or an orphan does not even obey
  SIGKILL, and is waited for.

A postmaster that was killed may leave processes behind, which keep its shared memory; PostgreSQL refuses to start
another while one of them lives. They are waited for in BACKOFF, then told to quit, then killed; what follows upon that
has been decided before (`Life.beyond`).

Every state answers every event: one function per state, and the type checker proves that no event is missing.
The whole grid is in CONTRIBUTING.md, and a test regenerates it from this module.
"""

from __future__ import annotations

from dataclasses import replace
from signal import Signals
from typing import assert_never

from pgsupervisor.supervision.life import (
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Orphaned,
    Policy,
    Ready,
    Recovering,
    Recovery,
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
    Unlocked,
)
from pgsupervisor.supervision.transitions import (
    ORPHAN_PATIENCE,
    STILL_STARTING,
    Step,
    adopt,
    bring_down,
    descend,
    end_orphans,
    ended_cleanly,
    enter,
    fail,
    never_ready,
    orphans_left,
    reload,
    start,
    still_starting,
    stop_here,
    wait_for_orphans,
)


def step(policy: Policy, life: Life, event: Event, now: float) -> Step:
    """Return what becomes of `life` by `event` at the time `now` (seconds), and what is to be done."""
    match life.state:
        case State.STOPPED:
            return _stopped(life, event, now)
        case State.BACKOFF | State.FATAL:
            return _waiting(life, event, now)
        case State.STARTING:
            return _starting(policy, life, event, now)
        case State.RUNNING:
            return _running(policy, life, event, now)
        case State.STOPPING:
            return _stopping(policy, life, event, now)
        case _:
            assert_never(life.state)


def _stopped(life: Life, event: Event, now: float) -> Step:
    match event:
        case Start() | Restart():
            return start(life, now)
        case Spawned(pid):
            return adopt(life, pid, now)
        case Stop() | Kill() | Reload() | SpawnFailed() | Ready() | Exited() | Orphaned():
            return life, ()
        case Unlocked() | Recovering() | Reinitialized() | FilesChanged() | Reloaded() | Timeout():
            return life, ()
        case _:
            assert_never(event)


def _waiting(life: Life, event: Event, now: float) -> Step:
    """Answer in BACKOFF, which has a deadline or waits for Unlocked, and in FATAL, which has none."""
    if life.beyond is not None:
        return _waiting_for_orphans(life, life.beyond, event, now)
    match event:
        case Start() | Restart():
            return start(life, now)
        case Stop() | Kill():
            return stop_here(life, now, reason="")
        case Spawned(pid):
            return adopt(life, pid, now)
        case FilesChanged() if life.early_exits or life.outside:
            # It never came up, and what it did not come up with is another configuration now; or its directory is back.
            return start(life, now)
        case Timeout() if life.deadline is not None:
            again = replace(life, restarts=life.restarts + 1, outside=False)
            return enter(again, State.STARTING, now, deadline=now + STILL_STARTING), (Spawn(),)
        case Unlocked() if life.locked:
            return enter(replace(life, outside=False), State.STARTING, now, deadline=now + STILL_STARTING), (Spawn(),)
        case Reload() | SpawnFailed() | Recovering() | Ready() | Reinitialized() | Exited():
            return life, ()
        case Unlocked() | Orphaned() | FilesChanged() | Reloaded() | Timeout():
            return life, ()
        case _:
            assert_never(event)


def _waiting_for_orphans(life: Life, beyond: Life, event: Event, now: float) -> Step:
    """Answer in BACKOFF while processes that outlived a postmaster are in the way of what is to follow."""
    match event:
        case Start() | Restart():
            return replace(life, want_up=True, beyond=start(beyond, now)[0]), ()
        case FilesChanged() if beyond.early_exits or beyond.outside:
            # As it would be without them: what it did not come up with is another configuration now.
            return replace(life, want_up=True, beyond=start(beyond, now)[0]), ()
        case Stop() | Kill():
            rung = Rung.KILL if isinstance(event, Kill) else life.rung or Rung.IMMEDIATE
            return end_orphans(replace(life, want_up=False, beyond=None), rung, now)
        case Spawned(pid):
            return adopt(life, pid, now)
        case Orphaned(0) if beyond.state is State.STARTING:
            return replace(beyond, since=now, deadline=now + STILL_STARTING), (Spawn(),)
        case Orphaned(0):
            return beyond, ()
        case Orphaned(count):
            return replace(life, orphans=count, reason=orphans_left(count, life.rung)), ()
        case Timeout() if life.rung is Rung.KILL:
            return replace(life, deadline=None), ()
        case Timeout():
            rung = Rung.IMMEDIATE if life.rung is None else Rung.KILL
            told = replace(life, rung=rung, deadline=now + ORPHAN_PATIENCE, reason=orphans_left(life.orphans, rung))
            return told, (SignalOrphans(rung.signal),)
        case Reload() | SpawnFailed() | Recovering() | Ready() | Reinitialized() | Exited():
            return life, ()
        case Unlocked() | FilesChanged() | Reloaded():
            return life, ()
        case _:
            assert_never(event)


def _starting(policy: Policy, life: Life, event: Event, now: float) -> Step:
    match event:
        case Start():
            return life, ()
        case Stop() | Restart() | Kill():
            return bring_down(policy, life, event, now)
        case Reload() | FilesChanged():
            # Nobody could ask it yet what it made of them, so that waits for Ready. But it may well wait for them to
            # become ready: a standby that starts reads where its primary is from a file.
            return replace(life, reload_due=True), () if life.pid is None else (Signal(Signals.SIGHUP),)
        case Spawned(pid):
            return replace(life, pid=pid), ()
        case Recovering(kind):
            return replace(life, recovery=Recovery(kind, now)), ()
        case Ready(standby):
            running = enter(life, State.RUNNING, now, deadline=now + policy.stable_after)
            ready = replace(running, early_exits=0, standby=standby)
            return reload(ready) if life.reload_due else (ready, ())
        case SpawnFailed() | Exited() if event.orphans:
            return _outlived(policy, life, event, now)
        case SpawnFailed() | Exited(clean=False):
            return never_ready(policy, life, event, now)
        case Exited():
            return ended_cleanly(policy, life, event, now)
        case Reloaded() | Reinitialized() | Orphaned() | Unlocked():
            return life, ()
        case Timeout():
            return replace(life, reason=still_starting(life, now), deadline=now + STILL_STARTING), ()
        case _:
            assert_never(event)


def _running(policy: Policy, life: Life, event: Event, now: float) -> Step:
    match event:
        case Start() | SpawnFailed() | Spawned() | Recovering() | Orphaned() | Unlocked():
            return life, ()
        case Stop() | Restart() | Kill():
            return bring_down(policy, life, event, now)
        case Reload() | FilesChanged():
            # What it is reading may be older than this: it has to read once more.
            return (replace(life, reload_due=True), ()) if life.reloading else reload(life)
        case Reloaded(pid, report) if life.reloading and pid == life.pid:
            all_told = report.following(life.report if life.continued else None)
            told = replace(life, reloading=False, continued=life.reload_due, report=all_told)
            return reload(told) if life.reload_due else (told, ())
        case Reloaded():
            return life, ()
        case Ready(standby):
            return replace(life, standby=standby), ()
        case Reinitialized():
            # It mends itself, and is up again before anybody else could start another.
            return replace(life, crashes=life.crashes + 1, crashed=now), ()
        case Exited() if event.orphans:
            return _outlived(policy, life, event, now)
        case Exited(clean=False):
            return fail(policy, life, event, now)
        case Exited():
            return ended_cleanly(policy, life, event, now)
        case Timeout():
            return replace(life, failures=0, backoff=None, deadline=None), ()
        case _:
            assert_never(event)


def _stopping(policy: Policy, life: Life, event: Event, now: float) -> Step:
    match event:
        case Start():
            return replace(life, want_up=True), ()
        case Stop() | Restart() | Kill():
            return bring_down(policy, life, event, now)
        case Reload() | Recovering() | Ready() | Reinitialized() | FilesChanged() | Reloaded() | Unlocked():
            return life, ()
        case Spawned(pid):
            # The stop was ordered before there was anybody to receive it. Where a server runs, no orphans live.
            return replace(life, pid=pid, orphans=0), () if life.rung is None else (Signal(life.rung.signal),)
        case SpawnFailed(orphans=count) | Exited(orphans=count) if count:
            rung = max(life.rung or Rung.IMMEDIATE, Rung.IMMEDIATE)
            return descend(replace(life, pid=None, orphans=count), rung, life.rung_timeout, now)
        case Orphaned() if not life.orphans:
            return life, ()
        case Orphaned(count) if count:
            return replace(life, orphans=count, reason=orphans_left(count, life.rung)), ()
        case SpawnFailed() | Exited() | Orphaned():
            return start(life, now) if life.want_up else stop_here(life, now, reason="")
        case Timeout() if life.rung is None or life.rung is Rung.KILL:
            reason = "does not end even after SIGKILL; a process that waits for a broken disk does that"
            return replace(life, deadline=None, reason=reason), ()
        case Timeout():
            return descend(life, Rung(life.rung + 1), life.rung_timeout, now)
        case _:
            assert_never(event)


def _outlived(policy: Policy, life: Life, event: SpawnFailed | Exited, now: float) -> Step:
    """Put off what follows upon an end until the processes that are left are gone."""
    # A start that found them in its way has not failed: it is made then.
    beyond = life if isinstance(event, SpawnFailed) else step(policy, life, replace(event, orphans=0), now)[0]
    return wait_for_orphans(beyond, event.orphans, now)
