"""Named tuples and typed dictionaries without `typing`, whose import takes a tenth of the time of `pgsupctl status`.

A type checker sees typing's own. What else there is in `typing` is for type checkers alone, and what a start of the
client imports has it below `TYPE_CHECKING`.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
"""True to a type checker, wherever something has this name."""

if TYPE_CHECKING:
    from typing import NamedTuple, TypedDict
else:
    TypedDict = dict

    class _Making(type):
        """Makes a named tuple of a class's annotations; what else the class has stays its own."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
            described = super().__new__(cls, name, (), body)
            if not bases:
                return described
            fields = described.__annotations__
            defaults = [body.pop(field) for field in fields if field in body]
            base = namedtuple(name, fields, defaults=defaults)  # noqa: PYI024  # typing's is what is not wanted
            return type(name, (base,), {**body, "__slots__": ()})

    class NamedTuple(metaclass=_Making):
        """The base of a named tuple."""


__all__ = ["TYPE_CHECKING", "NamedTuple", "TypedDict"]
