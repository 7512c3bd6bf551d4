"""Durations and sizes as people write them, in PostgreSQL's units.

A duration is a number of seconds, or a string with a unit: "500ms", "10s", "2min", "1h". A size is a number of
bytes, or a string with a unit: "512kB", "64MB"; a kB is 1024 bytes, as everywhere in PostgreSQL. The units and
their case are those of postgresql.conf (PostgreSQL manual, "Parameter Names and Values").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

A_DURATION = 'a duration: a number of seconds, or a string such as "500ms", "10s" or "2min"'
A_SIZE = 'a size: a number of bytes, or a string such as "512kB", "64MB" or "1GB"'

_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

_TOO_MUCH = 1 << 63

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)")


def duration(value: object) -> float:
    """Return a duration in seconds, zero or more.

    >>> duration("500ms"), duration("2min"), duration(10)
    (0.5, 120.0, 10.0)

    Raises ValueError for what is none.
    """
    seconds = _quantity(value, _SECONDS)
    if seconds is None:
        raise ValueError(f"must be {A_DURATION}, not {value!r}")
    return float(seconds)


def size(value: object) -> int:
    """Return a size in bytes, zero or more.

    >>> size("64MB"), size("1.5kB"), size(100)
    (67108864, 1536, 100)

    Raises ValueError for what is none.
    """
    amount = _quantity(value, _BYTES)
    if amount is None:
        raise ValueError(f"must be {A_SIZE}, not {value!r}")
    return int(amount)


def _quantity(value: object, units: Mapping[str, float]) -> float | None:
    """Return a number, or a string of number and unit, in the basic unit; None for anything else."""
    if isinstance(value, str):
        written = _QUANTITY.fullmatch(value)
        if written is None or written[2] not in units:
            return None
        # Rounded, so that "300ms" is the very 0.3 that a reader expects.
        amount = round(float(written[1]) * units[written[2]], 9)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        amount = value
    else:
        return None
    return amount if 0 <= amount < _TOO_MUCH else None
