"""What the methods take, as msgspec reads it from the wire: the types of io.pgsupervisor.varlink, and their bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec

from pgsupervisor.control.protocol import Parameters
from pgsupervisor.supervision.events import KEPT
from pgsupervisor.supervision.selection import MOST_GLOBS, is_glob

_AT = re.compile(r"`\$\.([^`\[.]+)")
_FIELD = re.compile(r"(?:unknown|required) field `([^`]+)`")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters with these names and no others."""


class Nothing(_Strict, frozen=True):
    """GetInfo, GetDaemon and UpgradeDaemon."""


class Interface(_Strict, frozen=True):
    """GetInterfaceDescription."""

    interface: str


class Names(_Strict, frozen=True):
    """GetStatus, Start, Reload and Kill."""

    names: Annotated[list[Annotated[str, msgspec.Meta(max_length=128)]], msgspec.Meta(max_length=4096)]

    def __post_init__(self) -> None:
        """Bound what there is to compare. Raises InvalidParameterError."""
        if sum(map(is_glob, self.names)) > MOST_GLOBS:
            raise InvalidParameterError("names")


class Monitored(Names, frozen=True):
    """Monitor."""

    past: Annotated[int, msgspec.Meta(ge=0, le=KEPT)] | None = None
    after: Annotated[int, msgspec.Meta(ge=0)] | None = None

    @property
    def events(self) -> bool:
        """Whether events are asked for, and not only clusters."""
        return self.past is not None or self.after is not None


class StopNames(Names, frozen=True):
    """Stop."""

    mode: Literal["smart", "fast", "immediate"] | None = None
    timeout: Annotated[float, msgspec.Meta(ge=0, le=366 * 86400)] | None = None


class RestartNames(StopNames, frozen=True):
    """Restart."""

    force: bool | None = None


class Dry(_Strict, frozen=True):
    """Update."""

    dry_run: bool | None = None


class LogPosition(_Strict, frozen=True):
    """A cluster, and the position at which somebody has left off to read its log."""

    name: str
    position: str


class Logs(Names, frozen=True):
    """GetLog."""

    lines: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10
    since: float | None = None
    follow: bool = False
    positions: list[LogPosition] | None = None


class Name(_Strict, frozen=True):
    """CheckConfiguration."""

    name: str


class Keys(Name, frozen=True):
    """GetConfiguration."""

    keys: list[str]


class Assignment(_Strict, frozen=True):
    """A setting, and the value that it is to have; None: none."""

    name: str
    value: str | None = None


class Assignments(Name, frozen=True):
    """SetConfiguration."""

    changes: Annotated[list[Assignment], msgspec.Meta(min_length=1)]


class Leave(_Strict, frozen=True):
    """StopDaemon."""

    leave: bool | None = None


class InvalidParameterError(Exception):
    """A parameter, `name`, is missing, unknown, or of the wrong type."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def given(asked: Names) -> dict[str, object]:
    """Return what was given with an order, besides names."""
    everything = msgspec.structs.asdict(asked)
    return {key: value for key, value in everything.items() if key != "names" and value is not None}


Shape = TypeVar("Shape", bound=msgspec.Struct)


def read(parameters: Parameters, shape: type[Shape]) -> Shape:
    """Return the parameters of a request as `shape` has them.

    Raises InvalidParameterError.
    """
    try:
        return msgspec.convert(dict(parameters), type=shape)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error)) or _FIELD.search(str(error))
        raise InvalidParameterError(found[1] if found else "parameters") from error
