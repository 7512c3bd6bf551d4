"""Durations and sizes as people write them."""

from __future__ import annotations

import math

import pytest

from pgsupervisor.quantities import duration, size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (10, 10.0),
        (0.25, 0.25),
        ("10", 10.0),
        ("250us", 0.00025),
        ("300ms", 0.3),
        ("1.5s", 1.5),
        ("10 s", 10.0),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    """A duration is seconds, whichever unit it is written in."""
    assert duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "-1s",
        "1 hour",
        "10S",
        "1m",
        "1h30min",
        " 1s",
        "1s\n",
        "1e3",
        "٣s",
        -1,
        math.nan,
        math.inf,
        True,
        None,
        ["1s"],
        "9" * 400,
        10**400,
    ],
)
def test_what_is_no_duration(written: object) -> None:
    """What could be misunderstood is refused, and the message shows how to write it."""
    with pytest.raises(ValueError, match=r'must be a duration: .* "10s" or "2min", not ') as caught:
        duration(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        (0, 0),
        (1000, 1000),
        ("1000", 1000),
        ("10B", 10),
        ("512kB", 524288),
        ("64MB", 67108864),
        ("1.5GB", 1610612736),
        ("2 TB", 2199023255552),
    ],
)
def test_sizes(written: object, bytes_: int) -> None:
    """A size is bytes, and a kB is 1024 of them, as in postgresql.conf."""
    assert size(written) == bytes_


@pytest.mark.parametrize("written", ["", "64mb", "64KB", "64MiB", "-1MB", -1, math.inf, True, None])
def test_what_is_no_size(written: object) -> None:
    """The units are PostgreSQL's, in its case; anything else is refused."""
    with pytest.raises(ValueError, match=r'must be a size: .* "64MB" or "1GB", not '):
        size(written)
