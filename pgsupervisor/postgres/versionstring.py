"""The numbers of PostgreSQL's versions: taken apart, put together, and compared.

A version is told as five fields: `(major, minor, patch, state, level)`. Since PostgreSQL 10 a release has two
numbers, `15.18`, and the second one lands in `minor`, so that `patch` is 0; before it had three, `9.6.24`. What is
no release yet says so with its `state`, and which one it is with its `level`: `19devel`, `18beta1`, `17rc2`.

The fields of two versions do not sort by themselves, because `beta` < `devel` < `final` < `rc` is the order of
the alphabet and not of a release's life. `order` gives the key that does.

Source: PostgreSQL manual, "Versioning Policy" and `RELEASE_CHANGES` in PostgreSQL's sources.
"""

from __future__ import annotations

import re

Fields = tuple[int, int | None, int | None, str | None, int | None]
"""The fields as they are written; None where the string leaves one out."""

VersionInfo = tuple[int, int, int, str, int]
"""The fields with nothing left out: numbers are 0, and the state is `final`."""

STATES = ("devel", "alpha", "beta", "rc", "final")
"""The states of a version, in the order of its life."""

_DIGITS = r"(\d{1,9})(?!\d)"

PATTERN = re.compile(rf"{_DIGITS}(?:\.{_DIGITS})?(?:\.{_DIGITS})?(?:(devel|alpha|beta|rc)(?:{_DIGITS})?)?", re.ASCII)
"""The number of a version, wherever it stands."""


def split(version: str) -> Fields:
    """Return the fields of a bare version such as `15.18`, `8.0.1` or `18beta1`.

    Raises ValueError if it is none: what a vendor adds, as in `15.18 (Debian 15.18-0+deb12u1)`, is no part of it.
    """
    found = PATTERN.fullmatch(version)
    if found is None:
        raise ValueError(f"{version!r} is no version of PostgreSQL, such as '15.18', '19devel' or '18beta1'")
    return fields(found)


def fields(found: re.Match[str]) -> Fields:
    """Return the fields of a match of `PATTERN`."""
    major, minor, patch, state, level = found.groups()
    return (int(major), _number(minor), _number(patch), state, _number(level))


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def normalize(split_version: Fields) -> VersionInfo:
    """Return the fields with 0 and `final` where nothing was said.

    >>> normalize(split("18beta1"))
    (18, 0, 0, 'beta', 1)
    """
    major, minor, patch, state, level = split_version
    return (major, minor or 0, patch or 0, state or "final", level or 0)


def unsplit(split_version: Fields) -> str:
    """Return the version whose fields these are: the reverse of `split`.

    >>> unsplit(split("18beta1"))
    '18beta1'
    """
    major, minor, patch, state, level = split_version
    numbers = ".".join(str(number) for number in (major, minor, patch) if number is not None)
    return f"{numbers}{state or ''}{'' if level is None else level}"


def order(version_info: VersionInfo) -> tuple[int, int, int, int, int]:
    """Return the key that sorts versions as they are released: 18devel, 18beta1, 18rc1, 18.0, 18.1."""
    major, minor, patch, state, level = version_info
    return (major, minor, patch, STATES.index(state), level)
