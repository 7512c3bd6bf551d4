"""The daemon's first moments, in which time counts most: every server waits for them. `main` imports this first.

The garbage collector rests until `Service.run`: what is made until then is modules, classes and the inventory, all of
which stay, and to look through them again and again finds nothing.

And asyncio, which looks for TLS and is content without, finds none: OpenSSL is large, and all our sockets are local.
"""

from __future__ import annotations

import gc
import sys

gc.disable()

if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # is taken for "there is none" (Python's reference, 5.3.1)
    import asyncio  # noqa: F401  # that is when it looks

    del sys.modules["ssl"]
