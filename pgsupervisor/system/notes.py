"""Numbers that are noted at a file, in an extended attribute of it (xattr(7)): they go wherever the file goes.

Where a file system has no room for such notes, there are none, and the numbers are zeros.
"""

from __future__ import annotations

import contextlib
import errno
import os

_MOST_DIGITS = 18
"""Digits of a number that can be: whoever owns the file may have noted any."""


def noted(file: int | str, name: str) -> int:
    """Return the number that is noted at a file, by its descriptor or path; 0 if there is none, or no number."""
    with contextlib.suppress(OSError):
        value = os.getxattr(file, f"user.pgsupervisor.{name}")
        if value.isdigit() and len(value) <= _MOST_DIGITS:
            return int(value)
    return 0


def note(descriptor: int, name: str, number: int) -> None:
    """Note a number at a file, if that is possible there.

    Raises OSError if it should be, as where the disk is full.
    """
    try:
        os.setxattr(descriptor, f"user.pgsupervisor.{name}", b"%d" % number)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
