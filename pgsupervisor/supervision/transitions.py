"""How a life passes into another: what the states of `machine` have in common.

Which of these passages an event opens in which state is `machine`'s to say. Here is what each of them changes, and what
has to be done on the way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias, assert_never

from pgsupervisor.supervision.life import (
    Action,
    Exited,
    Kill,
    Life,
    Policy,
    Restart,
    Rung,
    Signal,
    SignalOrphans,
    Spawn,
    SpawnFailed,
    State,
    Stop,
    StopMode,
    TellToReload,
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


def still_starting(life: Life, now: float) -> str:
    """Say what a cluster that is STARTING has been busy with, and for how long at the time `now` (seconds)."""
    if life.recovery is not None:
        return f"in {life.recovery.kind} recovery for {now - life.recovery.since:.0f} s"
    why = "no server yet: it waits for its turn, or is being initialised"
    if life.pid is not None:
        why = "recovery can take long"
    return f"still starting after {now - life.since:.0f} s; {why}"


def enter(life: Life, state: State, since: float, *, deadline: float | None = None, reason: str = "") -> Life:
    """Return the life in another state, or anew in the same, with its deadline and what is said of it."""
    return replace(life, state=state, since=since, deadline=deadline, recovery=None, reason=reason)


def reload(life: Life) -> Step:
    """Have the server read its files, and ask what it made of them."""
    return replace(life, reloading=True, reload_due=False), (TellToReload(),)


def _down(life: Life) -> Life:
    """Return the life without what was known of the configuration: the next start reads the files anew."""
    return replace(life, reloading=False, reload_due=False, continued=False, report=None)


def start(life: Life, now: float) -> Step:
    """Start because it was ordered: that forgives everything before."""
    deadline = now + STILL_STARTING
    return Life(State.STARTING, want_up=True, since=now, deadline=deadline, restarts=life.restarts), (Spawn(),)


def adopt(life: Life, pid: int, now: float) -> Step:
    """Take a server into care that somebody else has started; whoever runs is wanted."""
    deadline = now + STILL_STARTING
    return Life(State.STARTING, want_up=True, pid=pid, since=now, deadline=deadline, restarts=life.restarts), ()


def stop_here(life: Life, now: float, *, reason: str) -> Step:
    """Be down, as is wanted."""
    return Life(State.STOPPED, since=now, restarts=life.restarts, reason=reason), ()


def bring_down(policy: Policy, life: Life, order: Stop | Restart | Kill, now: float) -> Step:
    """Begin a stop. One that is under way is overtaken by a harder one; any other order only joins it."""
    match order:
        case Kill():
            rung, timeout = Rung.KILL, None
        case Stop(mode, timeout) | Restart(mode, timeout):
            rung = _RUNG_OF_MODE[mode or policy.stop_mode]
        case _:
            assert_never(order)
    wished = replace(life, want_up=isinstance(order, Restart))
    # A SIGKILL is sent again, too: it may not have been possible to send the first.
    if life.rung is not None and rung <= life.rung and rung is not Rung.KILL:
        return wished, ()
    return descend(wished, rung, policy.stop_timeout if timeout is None else timeout, now)


def descend(life: Life, rung: Rung, timeout: float, now: float) -> Step:
    """Ask the postmaster to end in this way, and give it its time before the next."""
    if life.orphans:
        return end_orphans(life, max(rung, Rung.IMMEDIATE), now)
    patience = max(timeout, IMMEDIATE_TIMEOUT) if rung >= Rung.IMMEDIATE else timeout
    reason = f"{rung.name.lower()} shutdown" if rung < Rung.KILL else "killed"
    since = life.since if life.state is State.STOPPING else now
    asked = replace(_down(life), rung=rung, rung_timeout=timeout)
    return enter(asked, State.STOPPING, since, deadline=now + patience, reason=reason), (Signal(rung.signal),)


def end_orphans(life: Life, rung: Rung, now: float) -> Step:
    """End the processes that outlived their postmaster, since the cluster is to go down."""
    since = life.since if life.state is State.STOPPING else now
    told = replace(life, pid=None, rung=rung, outside=False)
    reason = orphans_left(life.orphans, rung)
    return enter(told, State.STOPPING, since, deadline=now + ORPHAN_PATIENCE, reason=reason), (
        SignalOrphans(rung.signal),
    )


def wait_for_orphans(beyond: Life, count: int, now: float) -> Step:
    """Put off what follows until the processes that outlived their postmaster are gone."""
    waiting = enter(_down(beyond), State.BACKOFF, now, deadline=now + ORPHAN_PATIENCE, reason=orphans_left(count, None))
    return replace(waiting, orphans=count, outside=False, beyond=beyond), ()


def orphans_left(count: int, told: Rung | None) -> str:
    """Say for how many processes is waited that outlived their postmaster, and what they were told last."""
    after = "" if told is None else f" after {told.signal.name}"
    return f"waiting for {count} orphaned backend{'' if count == 1 else 's'}{after}"


def never_ready(policy: Policy, life: Life, event: SpawnFailed | Exited, now: float) -> Step:
    """Wait until the data directory is free, if somebody else has it; else count a failure."""
    if isinstance(event, SpawnFailed) and event.locked:
        locked = replace(_down(life), pid=None, outside=True)
        return enter(locked, State.BACKOFF, now, reason=event.reason), ()
    failed = replace(life, early_exits=life.early_exits + (not event.outside))
    return fail(policy, failed, event, now)


def ended_cleanly(policy: Policy, life: Life, event: Exited, now: float) -> Step:
    """Somebody else shut the server down, in order: that is an administrator's wish too, unless it must always run."""
    if policy.restart == "always":
        return fail(policy, life, event, now)
    return stop_here(life, now, reason="stopped by someone else")


def fail(policy: Policy, life: Life, failure: SpawnFailed | Exited, now: float) -> Step:
    """Try again after the next wait, or give up; what lies outside is no reason to, as it will pass."""
    if life.state is State.STARTING and life.pid is not None and life.reload_due:
        # What it did not come up with is another configuration by now. Without a pid it may just have been initdb that
        # wrote files and took them away again; to try that at once, and then again, would have no end.
        return start(life, now)
    failures = life.failures + (not failure.outside)
    down = replace(_down(life), pid=None, failures=failures, standby=False, crashes=0, crashed=0.0)
    gave_up = _why_not_again(policy, down, hopeless=failure.hopeless)
    if gave_up is not None:
        return enter(down, State.FATAL, now, reason=f"{failure.reason}{gave_up}"), ()
    backoff = _next_backoff(policy, down.backoff)
    wait = backoff * failure.jitter
    tell = f"{failure.reason}; next try in {wait:.1f} s" if wait else failure.reason
    waiting = replace(down, backoff=backoff, outside=failure.outside)
    return enter(waiting, State.BACKOFF, now, deadline=now + wait, reason=tell), ()


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
