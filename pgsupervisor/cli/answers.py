"""What the daemon answers, as types: the client's reading of `io.pgsupervisor.varlink`, which explains each field.

The daemon keeps to its interface, so nothing is checked again here.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Cluster(TypedDict):
    """A cluster, as GetStatus and Monitor tell of it (of what they tell, what is shown)."""

    name: str
    yours: bool
    state: str
    wanted: bool
    since: float
    pid: int | None
    port: int | None
    version: str | None
    restarts: int
    reason: str
    standby: bool


class Clusters(TypedDict):
    """The answer of GetStatus and Monitor."""

    clusters: list[Cluster]
    removed: NotRequired[list[str] | None]


class Event(TypedDict):
    """Something that happened."""

    sequence: int
    time: float
    level: str
    event: str
    cluster: NotRequired[str | None]
    facts: dict[str, object]


class Happened(TypedDict):
    """The answer of Monitor, as far as it is about events."""

    events: NotRequired[list[Event] | None]
    missed: NotRequired[int | None]


class Progress(TypedDict):
    """A change of a cluster's state while an order is carried out."""

    name: str
    state: str
    reason: str


class Outcome(TypedDict):
    """What came of an order for one cluster."""

    name: str
    ok: bool
    state: str
    message: str


class Change(TypedDict):
    """What an update does to one cluster."""

    name: str
    action: str
    effect: str
    keys: list[str]


class Ordered(TypedDict, total=False):
    """One answer to an order or an update: progress, or in the end what came of it."""

    progress: Progress | None
    changes: list[Change] | None
    outcomes: list[Outcome] | None
    daemon: list[str] | None
    later: list[str] | None


class Setting(TypedDict):
    """Where a setting stands."""

    name: str
    written: str | None
    running: str | None
    path: str | None
    line: int | None
    source: str | None
    pending: bool
    differs: bool


class Settings(TypedDict):
    """The answer of GetConfiguration."""

    settings: list[Setting]


class Problems(TypedDict):
    """The answer of CheckConfiguration."""

    problems: list[str]
    unchecked: NotRequired[str | None]


class LogPiece(TypedDict):
    """One answer of GetLog. The last one has no name, and one that says why a log cannot be read has no position."""

    name: str
    source: str
    text: str
    position: NotRequired[str]
    why: NotRequired[str]


class Upgraded(TypedDict):
    """The answer of UpgradeDaemon."""

    was: str
    version: str
    pid: int


class Daemon(TypedDict):
    """The answer of GetDaemon."""

    version: str
    pid: int
    started: float
    inventory: str
    clusters: int
