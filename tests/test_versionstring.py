"""Versions: taken apart, put together, sorted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.postgres.versionstring import STATES, Fields, normalize, order, split, unsplit

VERSIONS = [
    ("18", (18, None, None, None, None)),
    ("18.6", (18, 6, None, None, None)),
    ("8.0.1", (8, 0, 1, None, None)),
    ("10.23", (10, 23, None, None, None)),
    ("9.0devel", (9, 0, None, "devel", None)),
    ("19devel", (19, None, None, "devel", None)),
    ("9.5alpha1", (9, 5, None, "alpha", 1)),
    ("18beta1", (18, None, None, "beta", 1)),
    ("16rc2", (16, None, None, "rc", 2)),
]


@pytest.mark.parametrize(("version", "fields"), VERSIONS)
def test_split(version: str, fields: Fields) -> None:
    """A version is told by its five fields, and None stands where it says nothing."""
    assert split(version) == fields


@pytest.mark.parametrize(("version", "fields"), VERSIONS)
def test_unsplit(version: str, fields: Fields) -> None:
    """The fields make the version that they came from."""
    assert unsplit(fields) == version


@given(
    st.integers(0, 99),
    st.one_of(st.tuples(), st.tuples(st.integers(0, 99)), st.tuples(st.integers(0, 99), st.integers(0, 99))),
    st.sampled_from(["", "devel", "alpha1", "beta12", "rc3"]),
)
def test_round_trip(major: int, more: tuple[int, ...], state: str) -> None:
    """Whatever version is split can be put together again."""
    version = ".".join(str(number) for number in (major, *more)) + state
    assert unsplit(split(version)) == version


@pytest.mark.parametrize(
    ("version", "info"),
    [
        ("8.0.1", (8, 0, 1, "final", 0)),
        ("9.0devel", (9, 0, 0, "devel", 0)),
        ("15.18", (15, 18, 0, "final", 0)),
        ("18", (18, 0, 0, "final", 0)),
        ("18beta1", (18, 0, 0, "beta", 1)),
        ("16rc2", (16, 0, 0, "rc", 2)),
    ],
)
def test_normalize(version: str, info: tuple[int, int, int, str, int]) -> None:
    """What a version leaves out is 0, and a version without a state is final."""
    assert normalize(split(version)) == info


@pytest.mark.parametrize(
    "text",
    [
        "",
        "devel",
        "9.5.0.5",
        "15.",
        ".5",
        "15.18 (Debian 15.18-0+deb12u1)",
        "15.18\n",
        "-1",
        "15gamma1",
        "\u0661\u0665",
    ],
)
def test_split_of_no_version(text: str) -> None:
    """What is no version is an error, not a version of zeros or with a number lost."""
    with pytest.raises(ValueError, match="is no version of PostgreSQL"):
        split(text)


def test_order() -> None:
    """Versions sort as they are released, which their fields alone do not."""
    released = [
        "9.6.24",
        "17.2",
        "18devel",
        "18alpha1",
        "18beta1",
        "18beta2",
        "18rc1",
        "18",
        "18.1",
        "18.10",
        "19devel",
    ]
    infos = [normalize(split(version)) for version in released]
    assert sorted(infos) != infos
    assert sorted(sorted(infos), key=order) == infos
    assert {state for _, _, _, state, _ in infos} == set(STATES)
