"""All who talk with us: how many there may be, what becomes of an order whose client is gone, and of all in an upgrade.

When the daemon is upgraded, this process executes another program, and the connections go along (`hand_over`, there
`take_over`). What was not begun is answered there. Who waits for what comes of an order is told that it goes on, and
waits no longer: the clusters' lives go along as well, and with them whatever was ordered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

from pgsupervisor.control import protocol
from pgsupervisor.control.access import ORDERS, peer_of
from pgsupervisor.control.connection import BrokenOff, Call, converse
from pgsupervisor.control.household import Households
from pgsupervisor.control.protocol import Reply
from pgsupervisor.values import frozen

MAX_CONNECTIONS: Final = 64
"""Connections that one user may have at a time; more are turned away at once, and nobody else notices."""

_MOST_OF_ALL: Final = 256
"""Connections that all users may have together, so that many cannot do what one may not."""

_SHARE: Final = 8
"""Of the files that the daemon may have open, one in so many may be a connection, which needs two: the others are for
the servers."""

_UPGRADE: Final = f"{protocol.INTERFACE}.UpgradeDaemon"

_ONCE: Final = ORDERS - {_UPGRADE}
"""The methods that are not to be called twice for once. All others another program may go on with (`Call.again`)."""

_PATIENCE: Final = 1.0
"""Seconds that a client has to read what he was told before he is handed over."""

Mistake: TypeAlias = Callable[[str, Exception], None]
"""Is told of a mistake of ours, with the name of the method that made it."""


@frozen
class Handed:
    """A conversation that is handed over.

    `connection` is a descriptor, and `unread` what the client has sent and is still to be answered; `asked` if he has
    asked for the upgrade, and waits to hear of it.
    """

    connection: int
    unread: bytes
    asked: bool


class Conversations:
    """The conversations with all clients, one task for each; `answer` does what a call asks for."""

    def __init__(self, answer: Callable[[Call], Coroutine[None, None, Reply]], mistake: Mistake) -> None:
        self._reply = answer
        self._mistake = mistake
        self._connections: dict[asyncio.Task[BrokenOff | None], int] = {}
        self._households = Households()
        self._works: set[asyncio.Task[Reply]] = set()
        self._interruption: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handed: list[Handed] = []
        self._closed = False

    def serve(self, connection: socket.socket, unread: bytes = b"") -> None:
        """Serve a connection to its end; of what the client says, `unread` has been read already."""
        uid = peer_of(connection).uid
        if self._closed or not self._room_for(uid):
            connection.close()
            return
        household = self._households.of(uid)
        task = asyncio.create_task(converse(connection, unread, self._answer, self._interruption, household))
        self._connections[task] = uid
        task.add_done_callback(partial(self._served, connection))

    async def hand_over(self) -> Sequence[Handed]:
        """Break off every conversation, and return those that can be gone on with.

        What was ordered goes on by itself. `take_back` undoes it.
        """
        self._interruption.set_result(None)
        if self._connections:
            await asyncio.wait(self._connections, timeout=_PATIENCE)
        return self._handed

    def take_over(self, handed: Iterable[Handed], answer: Reply) -> None:
        """Go on with conversations, and give this answer to those who asked for the upgrade."""
        for each in handed:
            connection = socket.socket(fileno=each.connection)
            if each.asked:
                with contextlib.suppress(OSError):
                    connection.send(protocol.encode_reply(answer))
            self.serve(connection, each.unread)

    def take_back(self, answer: Reply) -> None:
        """Go on with what was to be handed over, and give this answer to those who asked for the upgrade."""
        if self._interruption.done():
            self._interruption = asyncio.get_running_loop().create_future()
        handed, self._handed = self._handed, []
        self.take_over(handed, answer)

    async def close(self) -> None:
        """End every connection, and whatever still waits for what comes of an order."""
        self._closed = True
        tasks = [*self._connections, *self._works]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _room_for(self, uid: int) -> bool:
        """Tell whether a user may have another connection.

        Root and the daemon's own user may, however many others are there: they can mend that.
        """
        if list(self._connections.values()).count(uid) >= MAX_CONNECTIONS:
            return False
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return uid in {0, os.geteuid()} or len(self._connections) < min(_MOST_OF_ALL, files // _SHARE)

    def _served(self, connection: socket.socket, task: asyncio.Task[BrokenOff | None]) -> None:
        """Keep a conversation that was broken off; where nobody waits for that any more, it ends."""
        connection.close()
        del self._connections[task]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._mistake("connection", error)
        elif error is None and (broken_off := task.result()) is not None:
            if self._interruption.done():
                self._handed.append(_handed(broken_off))
            else:
                broken_off.connection.close()

    async def _answer(self, call: Call) -> Reply | None:
        """Return the last reply to a call; None leaves it to the program that this process executes next."""
        ordered = call.request.method in ORDERS
        if self._interruption.done():
            return None
        if not ordered and not call.request.more:
            try:
                return await self._reply(call)
            finally:
                call.turn.pass_on()
        work = asyncio.create_task(self._reply(call))
        self._works.add(work)
        work.add_done_callback(partial(self._worked, call))
        awaited: set[asyncio.Future[Reply] | asyncio.Future[None]] = {work, self._interruption}
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave(work, call)
            raise
        if work.done():
            return work.result()
        self._leave(work, call)
        if call.request.method in _ONCE and call.permitted:
            return Reply({}, error=protocol.UPGRADING)
        if call.request.method != _UPGRADE:
            work.cancel()
        return None

    def _worked(self, call: Call, work: asyncio.Task[Reply]) -> None:
        """Let go of what was done for a call, also if it was cancelled before it began."""
        self._works.discard(work)
        call.turn.pass_on()

    def _leave(self, work: asyncio.Task[Reply], call: Call) -> None:
        """Wait for it no more: whoever hangs up is answered no more; but what was ordered is done."""
        work.add_done_callback(partial(self._unheard, call.request.method))
        if call.request.method not in ORDERS:
            work.cancel()

    def _unheard(self, method: str, work: asyncio.Task[Reply]) -> None:
        """Tell of a mistake in what nobody waited for to its end; that the client is gone is none."""
        error = None if work.cancelled() else work.exception()
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self._mistake(method, error)


def _handed(broken_off: BrokenOff) -> Handed:
    left = b"".join(protocol.encode_request(each) for each in broken_off.left if each.method != _UPGRADE)
    asked = any(each.method == _UPGRADE and not each.oneway for each in broken_off.left)
    return Handed(broken_off.connection.detach(), left + broken_off.unread, asked)
