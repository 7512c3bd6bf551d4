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
- BACKOFF: try again. Without a deadline, somebody else has the data directory, and is waited for.

A postmaster that was killed may leave processes behind, which keep its shared memory; PostgreSQL refuses to start
another while one of them lives. They are waited for in BACKOFF, then told to quit, then killed; what follows upon that
has been decided before (`Life.beyond`).

Every state answers every event: one function per state, and the type checker proves that no event is missing.
The whole grid is in CONTRIBUTING.md, and a test regenerates it from this module.
"""

from __future__ import annotations

from dataclasses import replace
from signal import Signals
from typing import TypeAlias, assert_never

from pgsupervisor.supervision.life import (
    Action,
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
    StopMode,
    TellToReload,
    Timeout,
    Unlocked,
)

Step: TypeAlias = tuple[Life, tuple[Action, ...]]

_RUNG_OF_MODE: dict[StopMode, Rung] = {"smart": Rung.SMART, "fast": Rung.FAST, "immediate": Rung.IMMEDIATE}


STILL_STARTING = 10.0
"""Seconds between two notes that a server is still starting."""

IMMEDIATE_TIMEOUT = 10.0
"""Seconds that an immediate shutdown gets at least. The postmaster itself kills children that ignore SIGQUIT after
5 s (SIGKILL_CHILDREN_AFTER_SECS, src/backend/postmaster/postmaster.c): to end it earlier would leave them behind."""

ORPHAN_PATIENCE = 2.0
"""Seconds that processes which outlived their postmaster get to end by themselves, and then to obey SIGQUIT. What they
have not committed is lost in any case, but most notice by themselves, and the gentler way leaves less behind."""


def step(policy: Policy, life: Life, event: Event, now: float) -> Step:
    """Return what becomes of `life` by `event` at the time `now` (seconds), and what is to be done."""
    match life.state:
        case State.STOPPED:
            return _stopped(life, event, now)
        case State.BACKOFF | State.FATAL:
            return _waiting(policy, life, event, now)
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
            return _start(life, now)
        case Spawned(pid):
            return _adopt(life, pid, now)
        case Stop() | Kill() | Reload() | SpawnFailed() | Ready() | Exited() | Orphaned():
            return life, ()
        case Unlocked() | Recovering() | Reinitialized() | FilesChanged() | Reloaded() | Timeout():
            return life, ()
        case _:
            assert_never(event)


def _waiting(policy: Policy, life: Life, event: Event, now: float) -> Step:
    """Answer in BACKOFF, which has a deadline or waits for Unlocked, and in FATAL, which has none."""
    if life.beyond is not None:
        return _waiting_for_orphans(policy, life, life.beyond, event, now)
    match event:
        case Start() | Restart():
            return _start(life, now)
        case Stop() | Kill():
            return _stop_here(life, now, reason="")
        case Spawned(pid):
            return _adopt(life, pid, now)
        case FilesChanged() if life.early_exits or life.outside:
            # It never came up, and what it did not come up with is another configuration now; or its directory is back.
            return _start(life, now)
        case Timeout() if life.deadline is not None:
            again = replace(life, restarts=life.restarts + 1, outside=False)
            return _enter(again, State.STARTING, now, deadline=now + STILL_STARTING), (Spawn(),)
        case Unlocked() if life.locked:
            return _enter(replace(life, outside=False), State.STARTING, now, deadline=now + STILL_STARTING), (Spawn(),)
        case Reload() | SpawnFailed() | Recovering() | Ready() | Reinitialized() | Exited():
            return life, ()
        case Unlocked() | Orphaned() | FilesChanged() | Reloaded() | Timeout():
            return life, ()
        case _:
            assert_never(event)


def _waiting_for_orphans(policy: Policy, life: Life, beyond: Life, event: Event, now: float) -> Step:
    """Answer in BACKOFF while processes that outlived a postmaster are in the way of what is to follow."""
    match event:
        case Start() | Restart():
            return replace(life, beyond=_start(beyond, now)[0]), ()
        case Stop() | Kill():
            return _bring_down(policy, replace(life, beyond=None, rung=None), event, now)
        case Spawned(pid):
            return _adopt(life, pid, now)
        case Orphaned(0) if beyond.state is State.STARTING:
            return replace(beyond, since=now, deadline=now + STILL_STARTING), (Spawn(),)
        case Orphaned(0):
            return beyond, ()
        case Orphaned(count):
            return replace(life, orphans=count, reason=_orphans(count, life.rung)), ()
        case Timeout() if life.rung is Rung.KILL:
            return replace(life, deadline=None), ()
        case Timeout():
            rung = Rung.IMMEDIATE if life.rung is None else Rung.KILL
            told = replace(life, rung=rung, deadline=now + ORPHAN_PATIENCE, reason=_orphans(life.orphans, rung))
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
            return _bring_down(policy, life, event, now)
        case Reload() | FilesChanged():
            # Nobody could ask it yet what it made of them, so that waits for Ready. But it may well wait for them to
            # become ready: a standby that starts reads where its primary is from a file.
            return replace(life, reload_due=True), () if life.pid is None else (Signal(Signals.SIGHUP),)
        case Spawned(pid):
            return replace(life, pid=pid), ()
        case Recovering(kind):
            return replace(life, recovery=Recovery(kind, now)), ()
        case Ready(standby):
            running = _enter(life, State.RUNNING, now, deadline=now + policy.stable_after)
            ready = replace(running, early_exits=0, standby=standby)
            return _reload(ready) if life.reload_due else (ready, ())
        case SpawnFailed() | Exited() if event.orphans:
            return _outlived(policy, life, event, now)
        case SpawnFailed() | Exited(clean=False):
            return _never_ready(policy, life, event, now)
        case Exited():
            return _ended_cleanly(policy, life, event, now)
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
            return _bring_down(policy, life, event, now)
        case Reload() | FilesChanged():
            # What it is reading may be older than this: it has to read once more.
            return (replace(life, reload_due=True), ()) if life.reloading else _reload(life)
        case Reloaded(pid, report) if life.reloading and pid == life.pid:
            all_told = report.following(life.report if life.continued else None)
            told = replace(life, reloading=False, continued=life.reload_due, report=all_told)
            return _reload(told) if life.reload_due else (told, ())
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
            return _fail(policy, life, event, now)
        case Exited():
            return _ended_cleanly(policy, life, event, now)
        case Timeout():
            return replace(life, failures=0, backoff=None, deadline=None), ()
        case _:
            assert_never(event)


def _stopping(policy: Policy, life: Life, event: Event, now: float) -> Step:
    match event:
        case Start():
            return replace(life, want_up=True), ()
        case Stop() | Restart() | Kill():
            return _bring_down(policy, life, event, now)
        case Reload() | Recovering() | Ready() | Reinitialized() | FilesChanged() | Reloaded() | Unlocked():
            return life, ()
        case Spawned(pid):
            # The stop was ordered before there was anybody to receive it.
            return replace(life, pid=pid), () if life.rung is None else (Signal(life.rung.signal),)
        case SpawnFailed(orphans=count) | Exited(orphans=count) if count:
            rung = max(life.rung or Rung.IMMEDIATE, Rung.IMMEDIATE)
            return _descend(replace(life, pid=None, orphans=count), rung, life.rung_timeout, now)
        case Orphaned() if not life.orphans:
            return life, ()
        case Orphaned(count) if count:
            return replace(life, orphans=count, reason=_orphans(count, life.rung)), ()
        case SpawnFailed() | Exited() | Orphaned() if life.want_up:
            return _start(life, now)
        case SpawnFailed() | Exited() | Orphaned():
            return _stop_here(life, now, reason="")
        case Timeout() if life.rung is None or life.rung is Rung.KILL:
            reason = "does not end even after SIGKILL; a process that waits for a broken disk does that"
            return replace(life, deadline=None, reason=reason), ()
        case Timeout():
            return _descend(life, Rung(life.rung + 1), life.rung_timeout, now)
        case _:
            assert_never(event)


def still_starting(life: Life, now: float) -> str:
    """Say what a cluster that is STARTING has been busy with, and for how long at the time `now` (seconds)."""
    if life.recovery is not None:
        return f"in {life.recovery.kind} recovery for {now - life.recovery.since:.0f} s"
    why = "no server yet: it waits for its turn, or is being initialised"
    if life.pid is not None:
        why = "recovery can take long"
    return f"still starting after {now - life.since:.0f} s; {why}"


def _enter(life: Life, state: State, since: float, *, deadline: float | None = None, reason: str = "") -> Life:
    return replace(life, state=state, since=since, deadline=deadline, recovery=None, reason=reason)


def _reload(life: Life) -> Step:
    return replace(life, reloading=True, reload_due=False), (TellToReload(),)


def _down(life: Life) -> Life:
    """Return the life without what was known of the configuration: the next start reads the files anew."""
    return replace(life, reloading=False, reload_due=False, continued=False, report=None)


def _start(life: Life, now: float) -> Step:
    """Start because it was ordered: that forgives everything before."""
    deadline = now + STILL_STARTING
    return Life(State.STARTING, want_up=True, since=now, deadline=deadline, restarts=life.restarts), (Spawn(),)


def _adopt(life: Life, pid: int, now: float) -> Step:
    deadline = now + STILL_STARTING
    return Life(State.STARTING, want_up=True, pid=pid, since=now, deadline=deadline, restarts=life.restarts), ()


def _stop_here(life: Life, now: float, *, reason: str) -> Step:
    return Life(State.STOPPED, since=now, restarts=life.restarts, reason=reason), ()


def _bring_down(policy: Policy, life: Life, order: Stop | Restart | Kill, now: float) -> Step:
    """Begin a stop. One that is under way is overtaken by a harder one; any other order only joins it."""
    match order:
        case Kill():
            rung, timeout = Rung.KILL, None
        case Stop(mode, timeout) | Restart(mode, timeout):
            rung = _RUNG_OF_MODE[mode or policy.stop_mode]
        case _:
            assert_never(order)
    wished = replace(life, want_up=isinstance(order, Restart))
    if life.rung is not None and rung <= life.rung:
        return wished, ()
    return _descend(wished, rung, policy.stop_timeout if timeout is None else timeout, now)


def _descend(life: Life, rung: Rung, timeout: float, now: float) -> Step:
    """Ask the postmaster to end in this way, and give it its time before the next."""
    if life.orphans:
        return _end_orphans(life, max(rung, Rung.IMMEDIATE), now)
    patience = max(timeout, IMMEDIATE_TIMEOUT) if rung >= Rung.IMMEDIATE else timeout
    reason = f"{rung.name.lower()} shutdown" if rung < Rung.KILL else "killed"
    since = life.since if life.state is State.STOPPING else now
    asked = replace(_down(life), rung=rung, rung_timeout=timeout)
    return _enter(asked, State.STOPPING, since, deadline=now + patience, reason=reason), (Signal(rung.signal),)


def _end_orphans(life: Life, rung: Rung, now: float) -> Step:
    """End the processes that outlived their postmaster, since the cluster is to go down."""
    since = life.since if life.state is State.STOPPING else now
    told = replace(life, pid=None, rung=rung)
    reason = _orphans(life.orphans, rung)
    return _enter(told, State.STOPPING, since, deadline=now + ORPHAN_PATIENCE, reason=reason), (
        SignalOrphans(rung.signal),
    )


def _outlived(policy: Policy, life: Life, event: SpawnFailed | Exited, now: float) -> Step:
    """Put off what follows until the processes that outlived their postmaster are gone."""
    # A start that found them in its way has not failed: it is made then.
    beyond = life if isinstance(event, SpawnFailed) else step(policy, life, replace(event, orphans=0), now)[0]
    reason = _orphans(event.orphans, None)
    waiting = _enter(_down(beyond), State.BACKOFF, now, deadline=now + ORPHAN_PATIENCE, reason=reason)
    return replace(waiting, orphans=event.orphans, beyond=beyond), ()


def _orphans(count: int, told: Rung | None) -> str:
    after = "" if told is None else f" after {told.signal.name}"
    return f"waiting for {count} orphaned backend{'' if count == 1 else 's'}{after}"


def _never_ready(policy: Policy, life: Life, event: SpawnFailed | Exited, now: float) -> Step:
    """Wait until the data directory is free, if somebody else has it; else count a failure."""
    if isinstance(event, SpawnFailed) and event.locked:
        locked = replace(_down(life), pid=None, outside=True)
        return _enter(locked, State.BACKOFF, now, reason=event.reason), ()
    failed = replace(life, early_exits=life.early_exits + (not event.outside))
    return _fail(policy, failed, event, now)


def _ended_cleanly(policy: Policy, life: Life, event: Exited, now: float) -> Step:
    """Somebody else shut the server down, in order: that is an administrator's wish too, unless it must always run."""
    if policy.restart == "always":
        return _fail(policy, life, event, now)
    return _stop_here(life, now, reason="stopped by someone else")


def _fail(policy: Policy, life: Life, failure: SpawnFailed | Exited, now: float) -> Step:
    """Try again after the next wait, or give up; what lies outside is no reason to, as it will pass."""
    if life.state is State.STARTING and life.pid is not None and life.reload_due:
        # What it did not come up with is another configuration by now. Without a pid it may just have been initdb that
        # wrote files and took them away again; to try that at once, and then again, would have no end.
        return _start(life, now)
    failures = life.failures + (not failure.outside)
    down = replace(_down(life), pid=None, failures=failures, standby=False, crashes=0, crashed=0.0)
    gave_up = _why_not_again(policy, down, hopeless=failure.hopeless)
    if gave_up is not None:
        return _enter(down, State.FATAL, now, reason=f"{failure.reason}{gave_up}"), ()
    backoff = _next_backoff(policy, down.backoff)
    wait = backoff * failure.jitter
    tell = f"{failure.reason}; next try in {wait:.1f} s" if wait else failure.reason
    waiting = replace(down, backoff=backoff, outside=failure.outside)
    return _enter(waiting, State.BACKOFF, now, deadline=now + wait, reason=tell), ()


def _why_not_again(policy: Policy, life: Life, *, hopeless: bool) -> str | None:
    """Return what to add to the reason when there is no further try; None when there is one."""
    if hopeless:
        return ""
    if policy.restart == "never":
        return " (restart = never)"
    if life.early_exits > policy.start_retries:
        return f" (gave up after {life.early_exits} starts)"
    if policy.restart_limit and life.failures >= policy.restart_limit:
        return f" (gave up after {life.failures} failures in a row)"
    return None


def _next_backoff(policy: Policy, last: float | None) -> float:
    """Return the wait before the next try: none after a stable run, then restart_delay, doubling."""
    if last is None:
        return 0.0
    return min(last * 2 or policy.restart_delay, policy.restart_max_delay)
