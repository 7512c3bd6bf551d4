"""What a client says, message by message; what comes before the last one was taken is read once, and then no more.

So little is kept of what is sent ahead: a message, and two pieces. The rest waits in the kernel, where it is the
sender's. Who asks only when he has his answer, as most do, never has us stop reading and begin again, which takes the
kernel two calls. A StreamReader of asyncio's would read what there is, a quarter of a megabyte at once, and it reads
on by itself when it shall not (`stop`).
"""

from __future__ import annotations

import asyncio

from pgsupervisor.control.protocol import MAX_REQUEST, FrameReader

_PIECE = 16 * 1024
"""Bytes that are read at once."""


class Hearing(asyncio.StreamReaderProtocol, asyncio.BufferedProtocol):
    """Hears what one client says, of which some may be `unread` from before; a protocol of asyncio's."""

    _piece = bytearray(_PIECE)  # for all together: what was read is copied at once

    def __init__(self, unread: bytes) -> None:
        super().__init__(asyncio.StreamReader())
        self._frames = FrameReader(MAX_REQUEST)
        self._frames.feed(unread)
        self._news = asyncio.Event()
        self._over = False
        self._waiting = False
        self._line: asyncio.Transport | None = None

    @property
    def rest(self) -> bytes:
        """What was heard, and is no whole message yet."""
        return self._frames.rest

    async def next(self) -> bytes | None:
        """Wait for the next message; None if there is none any more.

        Raises MalformedMessageError if it is too long.
        """
        while (frame := self._frames.next()) is None and not self._over:
            self._news.clear()
            if self._line is not None:
                self._line.resume_reading()
            self._waiting = True
            await self._news.wait()
        return frame

    def stop(self) -> None:
        """Read no more."""
        self._over = True
        self._news.set()
        if self._line is not None:
            self._line.pause_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where it comes from; asyncio's."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._line = transport

    def get_buffer(self, _sizehint: int) -> bytearray:
        """Return where the next piece is put; asyncio's."""
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Take the next piece; asyncio's."""
        self._frames.feed(bytes(self._piece[:nbytes]))
        self._news.set()
        if not self._waiting and self._line is not None:
            self._line.pause_reading()
        self._waiting = False

    def eof_received(self) -> bool:
        """Note that the client says no more; it may still read. Asyncio's."""
        self._over = True
        self._news.set()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the client is gone; asyncio's."""
        self._over = True
        self._news.set()
        super().connection_lost(error)
