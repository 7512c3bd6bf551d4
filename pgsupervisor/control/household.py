"""All connections of one user: what they may take of us together.

They take turns (`Turn`): of one user, one request at a time is decoded, and answered as far as that is our work. So
whatever he asks, and over how many connections, there is one of his requests in memory, one question about him to the
user database, and one piece of work before it is somebody else's turn. Whoever answers passes the turn on before he
waits for a server, a disk or a reader.

What a user was told and has not read is kept until he does; of all users together, so much and no more.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

_MOST_UNREAD = 8 * 1024 * 1024
"""Bytes of answers that wait to be read, by all users together."""


class Household:
    """The connections of one user, as the `transports` of their answers.

    `reading` is held while it is looked for where to begin in a log, or the end of one is put together for him: the
    threads that do it are needed by others, and so is the memory.
    """

    def __init__(self, households: Households) -> None:
        self.turn = asyncio.Lock()
        self.reading = asyncio.Lock()
        self.transports: set[asyncio.WriteTransport] = set()
        self._households = households

    @property
    def unread(self) -> int:
        """How many bytes wait to be read by this user."""
        return sum(each.get_write_buffer_size() for each in self.transports)

    def told(self, transport: asyncio.WriteTransport) -> None:
        """Note that an answer was written, of which something may wait to be read."""
        if transport.get_write_buffer_size():
            self._households.make_room()

    def drop_one(self) -> None:
        """Hang up on the connection with the most that was not read."""
        max(self.transports, key=lambda each: each.get_write_buffer_size()).abort()


class Households:
    """Those of all users who are connected, by the users' numbers."""

    def __init__(self) -> None:
        self._households: WeakValueDictionary[int, Household] = WeakValueDictionary()

    def of(self, uid: int) -> Household:
        """Return that of a user."""
        return self._households.setdefault(uid, Household(self))

    def make_room(self) -> None:
        """Hang up on those who have left too much unread, beginning with the user who has left the most."""
        households = list(self._households.values())
        while sum(each.unread for each in households) > _MOST_UNREAD:
            max(households, key=lambda each: each.unread).drop_one()


class Turn:
    """One request's turn among those of its household."""

    def __init__(self, household: Household) -> None:
        self.household = household
        self._ours = False

    async def take(self) -> None:
        """Wait until it is ours, and then until whoever else has something to do has done it. May be ours already."""
        if self._ours:
            return
        await self.household.turn.acquire()
        self._ours = True
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.pass_on()
            raise

    def pass_on(self) -> None:
        """Let the next one have it, if it is ours."""
        if self._ours:
            self._ours = False
            self.household.turn.release()
