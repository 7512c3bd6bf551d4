"""When is an order done? A pure answer, from the life after the order was taken and each life after that."""

from __future__ import annotations

from typing import assert_never

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.life import Kill, Life, Order, Reload, Restart, Start, State, Stop
from pgsupervisor.values import frozen


@frozen
class Outcome:
    """What came of an order for one cluster: whether it did what it says, the state then, and why not.

    `report` is what the server made of its configuration files, if it was to read them.
    """

    name: str
    ok: bool
    state: State
    message: str
    report: Report | None = None


def outcome(name: str, order: Order, life: Life) -> Outcome | None:
    """Return what came of `order`, or None while that is still open."""
    match order:
        case Start() | Restart():
            return _of_up(name, life)
        case Stop() | Kill():
            return _of_down(name, life)
        case Reload():
            return _of_reload(name, life)
        case _:
            assert_never(order)


def _of_up(name: str, life: Life) -> Outcome | None:
    if life.state is State.RUNNING:
        return Outcome(name, ok=True, state=life.state, message=life.reason)
    if life.state is State.FATAL or (life.state is State.BACKOFF and life.outside):
        # It starts by itself when what lies outside has passed, but when that is nobody can say.
        return Outcome(name, ok=False, state=life.state, message=life.reason)
    if not life.want_up:
        why = life.reason if life.state is State.STOPPED else ""
        return Outcome(name, ok=False, state=life.state, message=why or "stopped by a later order")
    return None


def _of_reload(name: str, life: Life) -> Outcome | None:
    if life.state is State.STARTING:
        # That may take hours, and it is told already.
        unverified = "told to reload; it is asked what it made of that as soon as it is ready"
        return Outcome(name, ok=True, state=life.state, message=unverified)
    if life.reloading or life.reload_due:
        return None
    if life.state is not State.RUNNING or life.report is None:
        return Outcome(name, ok=False, state=life.state, message="not running; nothing to reload")
    report = life.report
    return Outcome(name, ok=report.verdict != "rejected", state=life.state, message=report.text, report=report)


def _of_down(name: str, life: Life) -> Outcome | None:
    if life.state is State.STOPPED:
        return Outcome(name, ok=True, state=life.state, message=life.reason)
    if life.want_up:
        return Outcome(name, ok=False, state=life.state, message="started again by a later order")
    return None
