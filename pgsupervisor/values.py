"""Frozen values: dataclasses that cost a program nearly nothing when it starts.

`dataclasses` writes five methods for each frozen class as text, and has them compiled whenever the class's module is
imported: nearly half a millisecond each, and for all classes of this package together a quarter of what a daemon needs
before it can start its first server. What is made here is a dataclass as well (to `replace`, `fields`, `match`, msgspec
and a type checker), but its methods are functions that are compiled once, with this module, and kept as byte code.

To make a value takes a microsecond longer for that, and to compare two takes two. Where a file is read in thousands of
them, `dataclass` is the better one; and it is what has all that is not needed here: values that change, factories of
defaults, base classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from functools import partial
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

Class = TypeVar("Class")


@overload
def frozen(made: type[Class], /) -> type[Class]: ...
@overload
def frozen(*, eq: bool = True, kw_only: bool = False) -> Callable[[type[Class]], type[Class]]: ...
@dataclass_transform(frozen_default=True)
def frozen(
    made: type[Class] | None = None, /, *, eq: bool = True, kw_only: bool = False
) -> type[Class] | Callable[[type[Class]], type[Class]]:
    """Make a class what `dataclass(frozen=True, slots=True)` makes it."""
    if made is None:
        return partial(_frozen, eq=eq, kw_only=kw_only)
    return _frozen(made, eq=eq, kw_only=kw_only)


def _frozen(described: type[Class], *, eq: bool, kw_only: bool) -> type[Class]:
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(described)
    made.__init__ = _initializer(made)
    made.__repr__ = _repr
    made.__setattr__ = _set
    made.__delattr__ = _delete
    made.__getstate__ = _values
    made.__setstate__ = _restore
    if eq:
        made.__eq__, made.__hash__ = _comparison(made)
    return made  # type: ignore[no-any-return]


def _comparison(made: Any) -> tuple[Callable[[object, object], bool], Callable[[object], int]]:
    """Return a class's `__eq__` and `__hash__`."""
    # With two names or more it returns a tuple.
    values = attrgetter(*made.__slots__) if len(made.__slots__) > 1 else _values

    def equal(self: object, other: object) -> bool:
        if self is other:
            return True
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return equal, lambda self: hash(values(self))


def _initializer(made: Any) -> Callable[..., None]:
    """Return a class's `__init__`."""
    setters = {name: getattr(made, name).__set__ for name in made.__dataclass_fields__}
    positional: tuple[str, ...] = made.__match_args__
    defaults = {each.name: each.default for each in fields(made) if each.default is not MISSING}

    def initialize(self: object, /, *arguments: object, **named: object) -> None:
        given = dict(zip(positional, arguments, strict=False))
        values = {**defaults, **given, **named}
        if values.keys() != setters.keys() or len(given) != len(arguments) or not given.keys().isdisjoint(named):
            raise TypeError(f"{made.__qualname__} takes other values than {arguments} and {named}")
        for name, value in values.items():
            setters[name](self, value)

    return initialize


def _values(self: Any) -> tuple[object, ...]:
    return tuple([getattr(self, name) for name in self.__slots__])


def _restore(self: Any, values: tuple[object, ...]) -> None:
    for name, value in zip(self.__slots__, values, strict=True):
        object.__setattr__(self, name, value)


def _repr(self: Any) -> str:
    values = zip(self.__slots__, _values(self), strict=True)
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values)})"


def _set(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")
