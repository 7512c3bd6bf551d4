"""What the methods take, as msgspec reads it from the wire: the types of io.pgsupervisor.varlink, and their bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec

from pgsupervisor.control.protocol import Parameters

_AT = re.compile(r"`\$\.([^`\[.]+)|(?:unknown|required) field `([^`]+)`")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters with these names and no others."""


class Nothing(_Strict, frozen=True):
    """GetInfo and GetDaemon."""


class Interface(_Strict, frozen=True):
    """GetInterfaceDescription."""

    interface: str


class Names(_Strict, frozen=True):
    """GetStatus, Monitor, Start, Reload and Kill."""

    names: Annotated[list[Annotated[str, msgspec.Meta(max_length=256)]], msgspec.Meta(max_length=4096)]


class StopNames(Names, frozen=True):
    """Stop and Restart."""

    mode: Literal["smart", "fast", "immediate"] | None = None
    timeout: Annotated[float, msgspec.Meta(ge=0, le=366 * 86400)] | None = None


class Dry(_Strict, frozen=True):
    """Update."""

    dry_run: bool | None = None


class Log(_Strict, frozen=True):
    """GetLog."""

    name: str
    lines: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    follow: bool | None = None


class Leave(_Strict, frozen=True):
    """StopDaemon."""

    leave: bool | None = None


class InvalidParameterError(Exception):
    """A parameter, `name`, is missing, unknown, or of the wrong type."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


Shape = TypeVar("Shape", bound=msgspec.Struct)


def read(parameters: Parameters, shape: type[Shape]) -> Shape:
    """Return the parameters of a request as `shape` has them.

    Raises InvalidParameterError.
    """
    try:
        return msgspec.convert(dict(parameters), type=shape)
    except msgspec.ValidationError as error:
        found = _AT.search(str(error))
        raise InvalidParameterError((found[1] or found[2]) if found else "parameters") from error
