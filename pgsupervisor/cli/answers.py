"""What the daemon answers, as types: the client's reading of `io.pgsupervisor.varlink`, which explains each field.

Whether an answer is what it must be is checked once (`told`): whatever listens at the socket, a client ends with an
error that says so.

What may be null may be left out as well. To Varlink these are the same, so nothing here is marked as not required.

The types of keys are no text (PEP 563), since `told` goes by them.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from types import GenericAlias, UnionType

from pgsupervisor.errors import MalformedMessageError
from pgsupervisor.shapes import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing import TypeVar

    Answer = TypeVar("Answer")


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
    memory: int | None
    cpu: float | None


class Clusters(TypedDict):
    """The answer of GetStatus and Monitor."""

    clusters: list[Cluster]
    removed: list[str] | None


class Event(TypedDict):
    """Something that happened."""

    sequence: int
    time: float
    level: str
    event: str
    cluster: str | None
    facts: dict[str, object]


class Happened(TypedDict):
    """The answer of Monitor, as far as it is about events."""

    events: list[Event] | None
    missed: int | None


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


class Ordered(TypedDict):
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
    unchecked: str | None


class LogPiece(TypedDict):
    """One answer of GetLog with a piece of a log; the last answer has none."""

    name: str
    source: str
    text: str
    position: str


class LogRefused(TypedDict):
    """One answer of GetLog that says why a log cannot be read."""

    name: str
    why: str


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
    cgroup: str | None
    limits: str | None
    clusters: int


def told(kind: "type[Answer]", said: Mapping[str, object]) -> "Answer":
    """Return what a daemon said as the kind of answer that it must be.

    Raises MalformedMessageError if it is none.
    """
    if not _fits(said, {kind}):
        raise MalformedMessageError(f"an answer that is no {kind.__name__}")
    return said  # type: ignore[return-value]  # it has been looked at


def _fits(value: object, kinds: AbstractSet[object]) -> bool:
    """Tell whether a value that JSON said is of one of some types of this module."""
    return type(value) in kinds or any(_consists(value, kind) for kind in kinds)


def _consists(value: object, kind: object) -> bool:
    """Tell whether a list or an object that JSON said is of a type of this module, with all that is in it."""
    if isinstance(kind, GenericAlias):
        if isinstance(value, list) and kind.__origin__ is list:
            kinds = _kinds(kind.__args__[0])
            return all(_fits(each, kinds) for each in value)
        return isinstance(value, dict) and kind.__origin__ is dict
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, dict):
        return all(type(value.get(key)) in kinds or _fits(value.get(key), kinds) for key, kinds in _keys(kind).items())
    return False


@cache
def _keys(kind: type) -> Mapping[str, AbstractSet[object]]:
    """Return the keys of an answer, each with the types that its value may have."""
    return {key: _kinds(each) for key, each in kind.__annotations__.items()}


def _kinds(kind: object) -> AbstractSet[object]:
    """Return the types that a type is made of; JSON has but one kind of number."""
    kinds = set(kind.__args__) if isinstance(kind, UnionType) else {kind}
    return kinds | {int} if float in kinds else kinds
