"""From what TOML says to a type of the schema, or to an error in the user's words.

msgspec checks a value against its type and tells where it does not fit (`Expected `int`, got `str` - at `$.port``).
That place is kept, made into the dotted key as the file has it, and the type's own description becomes the sentence.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory.schema import Bytes, FilePath, LogPath, Seconds
from pgsupervisor.inventory.spec import ELSEWHERE
from pgsupervisor.quantities import duration, size
from pgsupervisor.values import frozen

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_PLACE = re.compile(r" - at `\$\.(?P<field>\w+)(?:\[(?P<index>\d+)\])?`\Z")


@frozen
class Place:
    """A place in an inventory: the file, and the keys that lead there from its top."""

    file: str
    keys: tuple[str, ...] = ()

    def __truediv__(self, key: str) -> Place:
        return Place(self.file, (*self.keys, _quoted(key)))

    def item(self, index: int) -> Place:
        """Return the place of an item of the list that is here."""
        return Place(self.file, (*self.keys[:-1], f"{self.keys[-1]}[{index}]"))

    def error(self, why: str) -> InventoryError:
        """Return the error that something is wrong here."""
        return InventoryError(self.file, ".".join(self.keys), why)


def _quoted(key: str) -> str:
    """Return a key as TOML has it: in quotes when it must be."""
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def convert(raw: object, kind: type[T], place: Place) -> T:
    """Return what stands at `place` as the table `kind` of the schema, relative paths resolved.

    Raises InventoryError.
    """
    try:
        return msgspec.convert(raw, kind, dec_hook=partial(_decode, Path(place.file).parent))
    except msgspec.ValidationError as error:
        raise _explained(str(error), raw, kind, place) from None


def ensure(raw: object, kind: object, place: Place) -> None:
    """See to it that what stands at `place` is of the type `kind` of the schema.

    Raises InventoryError.
    """
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error), raw, kind, place) from None


def _decode(directory: Path, kind: type[object], value: object) -> object:
    """Read the types of the schema that msgspec does not know; a ValueError becomes its ValidationError."""
    if kind is Seconds:
        return Seconds(duration(value))
    if kind is Bytes:
        return Bytes(size(value))
    if kind is FilePath:
        return FilePath(_absolute(directory, value))
    if kind is LogPath:
        return LogPath(value if value in ELSEWHERE else _absolute(directory, value))
    return value  # a date in a table of anything


def _absolute(directory: Path, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("no path")
    try:
        return str(directory / Path(value).expanduser())
    except RuntimeError as error:  # ~nobody-we-know
        raise ValueError("no home directory") from error


def _explained(message: str, raw: Any, kind: Any, place: Place) -> InventoryError:
    """Return msgspec's complaint in our words."""
    where = _PLACE.search(message)
    if where:
        message = message[: where.start()]
        field, index = where["field"], where["index"]
        kind, raw, place = _field_type(kind, field), raw[field], place / field
        if index is not None:
            kind, raw, place = get_args(kind)[0], raw[int(index)], place.item(int(index))
    if missing := _MISSING.fullmatch(message):
        place /= missing[1]
        return place.error(f"is missing; it must be {_description(_field_type(kind, missing[1]))}")
    if unknown := _UNKNOWN.fullmatch(message):
        hint = suggestion(unknown[1], (field.name for field in msgspec.structs.fields(kind)))
        return (place / unknown[1]).error(f'unknown key "{unknown[1]}"; {hint}')
    return place.error(f"is {_written(raw)}; it must be {_description(kind)}")


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return which of the `known` names was meant, or all that there are."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known are: {', '.join(names)}" if names else "none is defined"


def _field_type(kind: Any, name: str) -> Any:
    return next(field.type for field in msgspec.structs.fields(kind) if field.name == name)


def _description(kind: Any) -> str:
    """Return what a type of the schema asks for, in words."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a table"
    if get_origin(kind) is list:
        return "a list"
    if get_origin(kind) is Literal:
        *others, last = map(_written, get_args(kind))
        return f"{', '.join(others)} or {last}"
    for part in get_args(kind):
        if isinstance(part, msgspec.Meta) and part.description:
            return part.description
    return _description(get_args(kind)[0])  # what it is beside None


def _written(value: object) -> str:
    """Return a value as the file has it, or, when that is long, what it is."""
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case str() | bool():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
