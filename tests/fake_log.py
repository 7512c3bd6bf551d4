"""A cluster's log for the tests: text, whose positions are numbers of characters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from pgsupervisor.supervision.kept import LogPiece, LogStart


class FakeLog:
    """A log that is `written` by a test, and read in pieces as they were written.

    `opened` is where somebody has begun to read it; `refusal` is what is raised then, and `lost` once all was read.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self.opened: list[LogStart] = []
        self.refusal: Exception | None = None
        self.lost: Exception | None = None
        self._pieces: list[bytes] = []
        self._news: set[asyncio.Event] = set()

    def write(self, text: bytes) -> None:
        """Write another piece."""
        self._pieces.append(text)
        for each in self._news:
            each.set()

    async def open(self, start: LogStart, *, follow: bool) -> Sequence[AsyncGenerator[LogPiece, None]]:
        """Begin at the number of a piece, or, for want of that, with the last `lines` pieces."""
        self.opened.append(start)
        if self.refusal is not None:
            raise self.refusal
        number = max(0, len(self._pieces) - start.lines) if start.position is None else int(start.position)
        return [self._read(number, follow=follow)]

    async def _read(self, number: int, *, follow: bool) -> AsyncGenerator[LogPiece, None]:
        news = asyncio.Event()
        self._news.add(news)
        try:
            yield LogPiece("logfile", b"", str(number))
            while True:
                for piece in self._pieces[number:]:
                    number += 1
                    yield LogPiece("logfile", piece, str(number))
                if self.lost is not None:
                    raise self.lost
                if not follow:
                    return
                await news.wait()
                news.clear()
        finally:
            self._news.discard(news)
