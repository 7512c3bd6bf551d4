"""A cluster's log, for one who asks: its last lines, and what is written from then on.

The text travels as JSON. A byte that is no UTF-8 becomes a lone surrogate on the way (PEP 383) and the byte again at
the other end, so a client can write exactly what the server wrote.
"""

from __future__ import annotations

import asyncio
import os

from pgsupervisor.control.connection import Call
from pgsupervisor.system.logfile import LogReader
from pgsupervisor.system.watch import Watcher

_MOST_AT_ONCE = 1024 * 1024
"""Bytes of a log that one reply holds at most."""


def read_log(path: str, lines: int) -> str:
    """Return the last `lines` lines of a log, but no more than its last MiB.

    Raises OSError if it cannot be read.
    """
    reader = LogReader(path, lines, most=_MOST_AT_ONCE)
    try:
        return _text(b"".join(iter(reader.read, b"")))
    finally:
        reader.close()


async def follow_log(call: Call, watcher: Watcher, path: str, lines: int) -> None:
    """Send the last `lines` lines of a log, then whatever is written, until cancelled.

    Raises OSError if it cannot be read.
    """
    written = asyncio.Event()
    cancel = watcher.watch(os.path.dirname(path), os.path.basename(path), written.set)
    reader = LogReader(path, lines, most=_MOST_AT_ONCE)
    try:
        while True:
            written.clear()
            while piece := reader.read():
                await call.stream({"text": _text(piece)})
            await written.wait()
    finally:
        reader.close()
        cancel()


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "surrogateescape")
