"""The three standard streams, which a program may be started without.

A descriptor of theirs that is closed is the number that the next file or socket gets, whatever it is. Whoever writes to
the standard error then, or gives it to another program, writes into that.
"""

from __future__ import annotations

import os

STANDARD_ERROR = 2

BEYOND = 3
"""The first descriptor that is no standard stream."""


def occupy() -> None:
    """Open /dev/null for each standard stream that is closed; to be called before anything is opened."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < BEYOND:
        os.set_inheritable(descriptor, True)  # noqa: FBT003  # the standard library's
    os.close(descriptor)
