"""A mailbox: what came in from many, and one takes; asyncio's queue, for a tenth of the memory of an empty one."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

Letter = TypeVar("Letter")


class Mailbox(Generic[Letter]):
    """What was put in and has not been taken yet; lives in one event loop, and one task takes."""

    __slots__ = ("_arrival", "_letters", "_waiting")

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._arrival: asyncio.Future[None] | None = None
        self._waiting: tuple[asyncio.Future[None], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._letters)

    def put(self, letter: Letter) -> None:
        """Put something in; it is taken in its turn."""
        self._letters.append(letter)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def take_now(self) -> Letter:
        """Take what came first; raises IndexError if there is nothing."""
        letter = self._letters.pop(0)
        if not self._letters:
            waiting, self._waiting = self._waiting, ()
            for each in waiting:
                if not each.done():
                    each.set_result(None)
        return letter

    async def take(self) -> Letter:
        """Wait for something, and take it."""
        while not self._letters:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self.take_now()

    async def emptied(self) -> None:
        """Wait until all is taken; something else may have come by then."""
        if self._letters:
            emptied = asyncio.get_running_loop().create_future()
            self._waiting += (emptied,)
            await emptied
