"""Frozen values are dataclasses, to whoever looks at them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import msgspec
import pytest

from pgsupervisor.values import frozen


@frozen
class Point:
    """Somewhere."""

    x: int
    y: int
    name: str = ""

    @property
    def sum(self) -> int:
        """Something that is worked out."""
        return self.x + self.y


@frozen
class Nothing:
    """Has no fields."""


@frozen(kw_only=True)
class Named:
    """Takes names only."""

    default: int = 1
    needed: int


@frozen(eq=False)
class Itself:
    """Is equal to itself alone."""

    x: int


@dataclass(frozen=True, slots=True)
class Ordinary:
    """What it is to be like."""

    x: int
    y: int
    name: str = ""


def test_made_in_each_way() -> None:
    """Values are given in their order or by name, and those with a default may be left out."""
    ways = [Point(1, 2), Point(1, y=2), Point(x=1, y=2, name=""), Point(1, 2, "")]
    assert [(each.x, each.y, each.name, each.sum) for each in ways] == [(1, 2, "", 3)] * 4
    assert (Named(needed=2).default, Named(needed=2, default=3).default) == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((1,), {}), ((1, 2, "", 4), {}), ((1, 2), {"x": 1}), ((1, 2), {"z": 3}), ((1,), {"z": 3}), ((), {"y": 2})],
)
def test_not_made_of_anything_else(arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A value that is missing, twice there or unknown is a mistake, as it is for a dataclass."""
    for kind in (Ordinary, Point):
        with pytest.raises(TypeError):
            kind(*arguments, **named)
    with pytest.raises(TypeError):
        Named(1, 2)  # type: ignore[misc]


def test_is_never_changed() -> None:
    """What is frozen stays as it was made, and has no place for anything else."""
    point = Point(1, 2)
    for name in ("x", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(point, name, 3)
    with pytest.raises(FrozenInstanceError):
        del point.x  # type: ignore[misc]
    assert not hasattr(point, "__dict__")
    assert point == Point(1, 2)


def test_compared_by_what_it_is() -> None:
    """Values of one class are equal if all fields are; those of two classes never are, however alike."""
    assert Point(1, 2) == Point(1, 2) != Point(1, 3)
    assert len({Point(1, 2), Point(1, 2), Nothing(), Nothing()}) == 2
    assert Nothing() != Named(needed=1)
    assert Point(1, 2) != Ordinary(1, 2)
    one = Itself(1)
    assert one == one != Itself(1)  # noqa: PLR0124  # that is the promise
    assert len({one, Itself(1)}) == 2


def test_is_a_dataclass() -> None:
    """Whatever takes dataclasses takes it: replace, fields, match, pickle, copy, msgspec; so it is printed, too."""
    point = Point(1, 2, "a")
    assert replace(point, y=3) == Point(1, 3, "a")
    assert [each.name for each in fields(Point)] == [each.name for each in fields(Ordinary)]
    assert repr(point) == repr(Ordinary(1, 2, "a")).replace("Ordinary", "Point")
    assert [copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))] == [point] * 3  # noqa: S301
    assert msgspec.json.decode(msgspec.json.encode(point), type=Point) == point
    match point:
        case Point(x, 2, name="a"):
            assert x == 1
        case _:
            pytest.fail("it does not match")
