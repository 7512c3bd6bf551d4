"""What the daemon answers, as types: the client's reading of `io.pgsupervisor.varlink`, which explains each field.

Whether an answer is what it must be is checked once (`told`): whatever listens at the socket, a client ends with an
error that says so.

The types of keys are no text (PEP 563), which TypedDict would compile at each start of `pgsupctl`.
"""

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import NotRequired, TypedDict, TypeVar, cast, get_args, get_origin, get_type_hints, is_typeddict

from pgsupervisor.errors import MalformedMessageError

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
    memory: NotRequired[int | None]
    cpu: NotRequired[float | None]


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
    cgroup: NotRequired[str | None]
    limits: NotRequired[str | None]
    clusters: int


def told(kind: type[Answer], said: Mapping[str, object]) -> Answer:
    """Return what a daemon said as the kind of answer that it must be.

    Raises MalformedMessageError if it is none.
    """
    if not _fits(said, kind):
        raise MalformedMessageError(f"an answer that is no {kind.__name__}")
    return cast("Answer", said)


def _fits(value: object, kind: object) -> bool:
    """Tell whether a value that JSON said is of a type of this module."""
    if type(value) is kind:  # as most are
        return True
    if is_typeddict(kind):
        return isinstance(value, dict) and all(
            _fits(value[key], each) if key in value else optional for key, (each, optional) in _keys(kind).items()
        )
    arguments = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, each) for each in arguments)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(each, arguments[0]) for each in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict)
    # JSON has but one kind of number, and to Python a truth value is one, too.
    kinds = (int, float) if kind is float else (kind,)
    return kind is object or type(value) in kinds


@cache
def _keys(kind: object) -> Mapping[str, tuple[object, bool]]:
    """Return the keys of an answer, each with its type, and whether it may be left out, as whatever may be null may."""
    found: dict[str, tuple[object, bool]] = {}
    for key, hint in get_type_hints(kind, include_extras=True).items():
        (each,) = get_args(hint) if get_origin(hint) is NotRequired else (hint,)
        found[key] = (each, each is not hint or NoneType in get_args(each))
    return found
