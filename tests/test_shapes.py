"""What is made without `typing` is what `typing` makes."""

from __future__ import annotations

import pickle
import typing

import pytest

from pgsupervisor import shapes


class Point(shapes.NamedTuple):
    """Somewhere."""

    x: int
    y: int
    name: str = ""

    @property
    def sum(self) -> int:
        """Something that is worked out."""
        return self.x + self.y


class Ordinary(typing.NamedTuple):
    """What it is to be like."""

    x: int
    y: int
    name: str = ""


def test_a_named_tuple() -> None:
    """It is a tuple, made in each way, with what its class says besides."""
    point = Point(1, y=2)
    assert point == (1, 2, "") == Ordinary(1, 2)
    assert (point.sum, Point.__doc__, Point.__module__, Point.__qualname__) == (3, "Somewhere.", __name__, "Point")
    assert repr(point) == "Point(x=1, y=2, name='')"
    assert point._replace(name="here") == Point(1, 2, "here")
    assert (Point._fields, Point._field_defaults) == (Ordinary._fields, Ordinary._field_defaults)
    assert Point.__match_args__ == Ordinary.__match_args__
    assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301  # our own


def test_it_has_nothing_else() -> None:
    """What is no field is not taken, and what is missing is missed."""
    with pytest.raises(TypeError):
        Point(1)
    with pytest.raises(TypeError):
        Point(1, 2, z=3)
    with pytest.raises(AttributeError):
        Point(1, 2).z = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Point(1, 2).x = 3  # type: ignore[misc]


def test_a_dictionary() -> None:
    """It is a dictionary, whose class says which types its keys have."""

    class Named(shapes.TypedDict):
        name: str

    assert Named(name="a") == {"name": "a"}
    assert typing.get_type_hints(Named) == {"name": str}
