"""The start gate: how many servers start at once, and who comes first.

Forty servers that start together are slower than eight at a time: each reads, replays and fsyncs against all
others. So a start waits at the gate until one of the places is free; the lowest priority number enters first, and
among equals whoever came first.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count


class StartGate:
    """Lets `width` starts through at once; used from one event loop only."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._shut = False
        self._arrivals = count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def enter(self, priority: int) -> None:
        """Wait for a place and take it. Whoever is cancelled here has none."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (priority, next(self._arrivals), place))
        # Not at once: whoever comes at the same moment, as all do at boot, shall enter by priority too.
        loop.call_soon(self._hand_out)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            raise

    def take(self) -> None:
        """Take a place, even if none is free: for one who has passed the gate of another process."""
        self._free -= 1

    def leave(self) -> None:
        """Give a place back."""
        self._free += 1
        self._hand_out()

    def resize(self, difference: int) -> None:
        """Add places, or, with a negative number, take some away as they become free."""
        self._free += difference
        self._hand_out()

    def shut(self) -> None:
        """Let nobody through until it is opened again."""
        self._shut = True

    def open(self) -> None:
        """Let through whoever has waited."""
        self._shut = False
        self._hand_out()

    def _hand_out(self) -> None:
        while self._free > 0 and self._waiting and not self._shut:
            _, _, place = heapq.heappop(self._waiting)
            if not place.cancelled():
                self._free -= 1
                place.set_result(None)
