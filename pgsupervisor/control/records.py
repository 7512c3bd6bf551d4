"""The types of io.pgsupervisor.varlink, made from what the supervisor knows.

Who may not read a cluster's log and settings is not told what may quote them either: a reason has a server's last
words, a report the values before and after. What is left to him are numbers, and words that are always the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NotRequired, TypedDict

from pgsupervisor.control.rights import Seen
from pgsupervisor.supervision import configuration
from pgsupervisor.supervision.configuration import Report, Setting
from pgsupervisor.supervision.events import Event
from pgsupervisor.supervision.kept import Kept, Usage
from pgsupervisor.supervision.life import Life, State
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.plan import LATER_KEYS, Change
from pgsupervisor.supervision.supervisor import Updated
from pgsupervisor.supervision.transitions import still_starting

HIDDEN = "why is told to those who may control it"
"""What is said instead of a reason that is not for everybody."""

_OPEN = frozenset(
    {
        "archive",
        "bytes",
        "clusters",
        "crashes",
        "daemon",
        "dropped",
        "effect",
        "force",
        "inventory",
        "keys",
        "leave",
        "method",
        "mode",
        "now",
        "on",
        "order",
        "outcome",
        "overruled",
        "pid",
        "servers",
        "settings",
        "socket",
        "timeout",
        "to",
        "uid",
        "was",
        "where",
    }
)
"""The facts of events that quote neither a log nor a setting's value, whatever event has them; the others may."""


class SettingChangeRecord(TypedDict):
    """The type SettingChange of the interface."""

    name: str
    was: str
    now: str


class MistakeRecord(TypedDict):
    """The type Mistake of the interface."""

    path: str
    line: int
    why: str


class ReportRecord(TypedDict):
    """The type Report of the interface."""

    verdict: str
    files: list[str]
    changes: list[SettingChangeRecord]
    pending: list[SettingChangeRecord]
    mistakes: list[MistakeRecord]
    overruled: list[str]
    unverified: str | None


class SettingRecord(TypedDict):
    """The type Setting of the interface."""

    name: str
    written: str | None
    running: str | None
    path: str | None
    line: int | None
    source: str | None
    pending: bool
    differs: bool


class OutcomeRecord(TypedDict):
    """The type Outcome of the interface."""

    name: str
    ok: bool
    state: str
    message: str
    report: NotRequired[ReportRecord]


class ClusterRecord(TypedDict):
    """The type Cluster of the interface."""

    name: str
    yours: bool
    state: str
    wanted: bool
    since: float
    pid: int | None
    port: int | None
    version: str | None
    restarts: int
    crashes: int
    crashed: float | None
    reason: str
    report: ReportRecord | None
    polled: str | None
    rotation: str | None
    standby: bool
    memory: int | None
    cpu: float | None
    limits: str | None
    installation: str
    data_directory: str
    socket_directory: str | None
    logfile: str


class EventRecord(TypedDict):
    """The type Event of the interface."""

    sequence: int
    time: float
    level: str
    event: str
    cluster: str | None
    facts: Mapping[str, object]


def cluster(kept: Kept, now: float, used: Usage, *, yours: bool) -> ClusterRecord:
    """Return a cluster as it is at `now`, a time of the clock that lives are counted by, and whether it is `yours`."""
    life, polled = kept.life, kept.postmaster.polled
    # A life counts in monotonic seconds; only what is shown is turned into a time of day.
    since, crashed = (time.time() - (now - moment) for moment in (life.since, life.crashed))
    crashes, quoting = _crashes(life.crashes, crashed), _reason(life, now)
    also = (polled, kept.postmaster.log.trouble)
    limits = kept.postmaster.limits
    open_to_all = (crashes, limits)
    shown = (quoting, *open_to_all, *also) if yours else (HIDDEN if quoting or any(also) else "", *open_to_all)
    return {
        "name": kept.spec.name,
        "yours": yours,
        "state": life.state,
        "wanted": life.want_up,
        "since": since,
        "pid": life.pid,
        "port": kept.postmaster.port,
        "version": kept.postmaster.version,
        "restarts": life.restarts,
        "crashes": life.crashes,
        "crashed": crashed if life.crashes else None,
        "reason": "; ".join(filter(None, shown)),
        "report": report(life.report) if life.report is not None and yours else None,
        "polled": (polled or None) if yours else None,
        "rotation": (kept.postmaster.log.trouble or None) if yours else None,
        "standby": life.standby,
        "memory": used.memory,
        "cpu": used.cpu,
        "limits": limits or None,
        "installation": kept.spec.installation.name,
        "data_directory": kept.spec.data_directory,
        "socket_directory": kept.postmaster.socket_directory,
        "logfile": kept.spec.logfile,
    }


def clusters(
    several: Iterable[Kept], now: float, seen: Seen, used: Mapping[str, Usage] = MappingProxyType({})
) -> list[ClusterRecord]:
    """Return clusters as they are at `now`, as far as they are `seen`; by name, what they have `used`, if known."""
    return [cluster(kept, now, used.get(kept.spec.name, Usage()), yours=seen.whole(kept.spec.name)) for kept in several]


def progress(name: str, life: Life) -> dict[str, str]:
    """Return the type Progress of the interface."""
    return {"name": name, "state": life.state, "reason": life.reason}


def outcome(each: Outcome) -> OutcomeRecord:
    """Return the type Outcome of the interface."""
    told: OutcomeRecord = {"name": each.name, "ok": each.ok, "state": each.state, "message": each.message}
    if each.report is not None:
        told["report"] = report(each.report)
    return told


def report(each: Report) -> ReportRecord:
    """Return the type Report of the interface."""
    return {
        # The names of a Varlink enum have no blanks.
        "verdict": each.verdict.replace(" ", "_"),
        "files": list(each.files),
        "changes": [_setting_change(one) for one in each.changes],
        "pending": [_setting_change(one) for one in each.pending],
        "mistakes": [{"path": one.path, "line": one.line, "why": one.why} for one in each.mistakes],
        "overruled": list(each.overruled),
        "unverified": each.unverified or None,
    }


def setting(each: Setting) -> SettingRecord:
    """Return the type Setting of the interface."""
    return {
        "name": each.name,
        "written": each.written,
        "running": each.running,
        "path": each.path,
        "line": each.line,
        "source": each.source,
        "pending": each.pending,
        "differs": each.differs,
    }


def event(each: Event, seen: Seen) -> EventRecord:
    """Return the type Event of the interface, with the facts that are `seen`."""
    facts = each.facts if seen.whole(each.cluster) else {key: each.facts[key] for key in each.facts if key in _OPEN}
    return {
        "sequence": each.sequence,
        "time": each.time,
        "level": each.level,
        "event": each.name,
        "cluster": each.cluster,
        "facts": facts,
    }


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


def _setting_change(each: configuration.Change) -> SettingChangeRecord:
    return {"name": each.name, "was": each.was, "now": each.now}


def _reason(life: Life, now: float) -> str:
    """Say what there is to be said of a server and of its configuration."""
    busy = life.state is State.STARTING and (life.recovery is not None or life.reason)
    # How long that has taken is true at one moment only.
    reason = still_starting(life, now) if busy else life.reason
    standing = life.report.standing if life.report is not None else ""
    return "; ".join(filter(None, (reason, standing)))


def _crashes(count: int, last: float) -> str:
    """Say how often a server has begun anew within, and when it last did (a Unix time)."""
    if not count:
        return ""
    today = time.strftime("%F") == time.strftime("%F", time.localtime(last))
    when = time.strftime("%H:%M" if today else "%F %H:%M", time.localtime(last))
    return f"crash-restarted {count}×, last {when}"  # noqa: RUF001 - the sign is meant
