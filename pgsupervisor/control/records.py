"""The types of io.pgsupervisor.varlink, made from what the supervisor knows."""

from __future__ import annotations

import time
from typing import TypedDict

from pgsupervisor.supervision.life import Life
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.plan import LATER_KEYS, Change
from pgsupervisor.supervision.supervisor import Kept, Updated


class ClusterRecord(TypedDict):
    """The type Cluster of the interface."""

    name: str
    state: str
    wanted: bool
    since: float
    pid: int | None
    port: int | None
    version: str | None
    restarts: int
    reason: str
    standby: bool
    installation: str
    data_directory: str
    socket_directory: str | None
    logfile: str


def cluster(kept: Kept, now: float) -> ClusterRecord:
    """Return a cluster as it is at `now`, a time of the clock that lives are counted by."""
    life = kept.life
    return {
        "name": kept.spec.name,
        "state": life.state,
        "wanted": life.want_up,
        # The life counts in monotonic seconds; only what is shown is turned into a time of day.
        "since": time.time() - (now - life.since),
        "pid": life.pid,
        "port": kept.postmaster.port,
        "version": kept.postmaster.version,
        "restarts": life.restarts,
        "reason": life.reason,
        "standby": life.standby,
        "installation": kept.spec.installation.name,
        "data_directory": kept.spec.data_directory,
        "socket_directory": kept.postmaster.socket_directory,
        "logfile": kept.spec.logfile,
    }


def progress(name: str, life: Life) -> dict[str, str]:
    """Return the type Progress of the interface."""
    return {"name": name, "state": life.state, "reason": life.reason}


def outcome(each: Outcome) -> dict[str, str | bool]:
    """Return the type Outcome of the interface."""
    return {"name": each.name, "ok": each.ok, "state": each.state, "message": each.message}


def updated(each: Updated) -> dict[str, object]:
    """Return the answer of Update."""
    return {
        "changes": [change(one) for one in each.plan],
        "outcomes": [outcome(one) for one in each.outcomes],
        "daemon": list(each.daemon),
        "later": [key for key in each.daemon if key in LATER_KEYS],
    }


def change(each: Change) -> dict[str, str | list[str]]:
    """Return the type Change of the interface."""
    return {"name": each.name, "action": each.action, "effect": each.effect, "keys": list(each.keys)}
