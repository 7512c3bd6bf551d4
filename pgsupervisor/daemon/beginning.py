"""The daemon's first moments, in which time counts most: every server waits for them. `main` imports this first.

The garbage collector rests until `Service.run`: what is made until then is modules, classes and the inventory, all of
which stay, and to look through them again and again finds nothing.

And asyncio, which looks for TLS and is content without, finds none: OpenSSL is large, and all our sockets are local.

The threads share one heap. Python lets one work at a time, so they do not get in each other's way there, as they could
in C; and each heap of glibc's keeps for itself what was freed in it, which is as much again as a hundred clusters have.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys

_M_ARENA_MAX = -8
"""The parameter of mallopt(3), which only glibc has."""

gc.disable()

with contextlib.suppress(AttributeError):
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)

if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # is taken for "there is none" (Python's reference, 5.3.1)
    import asyncio  # noqa: F401  # that is when it looks

    del sys.modules["ssl"]
