"""One client's connection: requests in, replies out, in order, within bounds.

A client is a stranger until proven slow, hostile or gone. It may send one request after another: they are answered
in their order. It may hang up while an order waits: the wait ends, the order does not, and what was asked behind it
is dropped. It may stop reading: no more is read from it then, and it is dropped when more than `_MAX_UNREAD` bytes
of progress wait for it. A message that it sends ahead is kept as it came, which is bounded, and not as what it says,
which takes 30 times as much; and all connections of one user take turns in having one read and answered, so that
others come in between (`household`). Nothing that it does costs anybody else more than that.

A conversation can be broken off between two answers, for another process to go on with it: the client notices nothing.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pgsupervisor.control.access import Peer, peer_of
from pgsupervisor.control.hearing import Hearing
from pgsupervisor.control.household import Household, Turn
from pgsupervisor.control.protocol import (
    Parameters,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from pgsupervisor.errors import MalformedMessageError
from pgsupervisor.values import frozen

_MAX_UNREAD = 1024 * 1024


class Call:
    """A request, who made it, and the way back: `progress` for what comes before the answer.

    `permitted` once it is known that this peer may make it; `again` is what another process is asked that goes on
    with it. Whoever answers it has its `turn`, and passes that on in the end, or when there is something to wait for.
    """

    def __init__(self, request: Request, peer: Peer, writer: asyncio.StreamWriter, turn: Turn) -> None:
        self.request = self.again = request
        self.peer = peer
        self.turn = turn
        self.permitted = False
        self.answered = False
        self._writer = writer

    def progress(self, parameters: Parameters) -> None:
        """Send a reply that others follow, if the client asked for `more`; never waits.

        A client that leaves too much unread is dropped.
        """
        if self.send(parameters) and self._writer.transport.get_write_buffer_size() > _MAX_UNREAD:
            self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def stream(self, parameters: Parameters, patience: float | None = None) -> None:
        """Send a reply that others follow, in its turn, and wait until the client has read enough of it (`read`)."""
        await self.turn.take()
        self.send(parameters)
        await self.read(patience)

    async def read(self, patience: float | None = None) -> None:
        """Wait until the client has read enough of what was sent, however long; it is somebody else's turn.

        With `patience` (in seconds), one that does not is dropped, and ConnectionAbortedError is raised.
        """
        self.turn.pass_on()
        try:
            async with asyncio.timeout(patience):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError from None

    def send(self, parameters: Parameters) -> bool:
        """Send a reply that others follow, and return True, if the client asked for `more` and still can be told."""
        if not self.request.more or self.answered or self._writer.is_closing():
            return False
        self._writer.write(encode_reply(Reply(parameters, continues=True)))
        self.turn.household.told(self._writer.transport)
        return True


Answer: TypeAlias = Callable[[Call], Awaitable[Reply | None]]
"""Answers a call with its last reply; None leaves it to the process that goes on with the conversation.

It passes the call's turn on.
"""


@frozen
class BrokenOff:
    """A conversation that can be gone on with.

    `left` are calls that were not answered, and `unread` is the beginning of another one.
    """

    connection: socket.socket
    left: tuple[Request, ...]
    unread: bytes


async def converse(
    connection: socket.socket,
    unread: bytes,
    answer: Answer,
    interruption: asyncio.Future[None],
    household: Household,
) -> BrokenOff | None:
    """Talk with one client until it hangs up, or has said all and has its answers, or says what is no message.

    Of what it says, `unread` has been received already. Upon the `interruption` no more is read; when the answer that
    is under way is given, the conversation is broken off, unless the client has not even read what it was told. The
    `household` is that of the client's user.
    """
    loop = asyncio.get_running_loop()
    connection.setblocking(False)  # noqa: FBT003  # the standard library's
    hearing = Hearing(unread)
    transport, _ = await loop.connect_accepted_socket(lambda: hearing, connection)
    writer = asyncio.StreamWriter(transport, hearing, None, loop)
    answering = asyncio.create_task(_answer_all(hearing, writer, answer, interruption, household))
    leaving = asyncio.create_task(_hang_up(connection))

    def stop_reading(_interruption: asyncio.Future[None]) -> None:
        hearing.stop()

    interruption.add_done_callback(stop_reading)
    household.transports.add(transport)
    broken_off = None
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        all_read = not (leaving.done() or writer.is_closing() or transport.get_write_buffer_size())
        if all_read and answering.exception() is None and (left := answering.result()) is not None:
            broken_off = BrokenOff(connection.dup(), left, hearing.rest)
    finally:
        interruption.remove_done_callback(stop_reading)
        household.transports.discard(transport)
        for task in (answering, leaving):
            task.cancel()
        transport.abort()
        results = await asyncio.gather(answering, leaving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
    return broken_off


async def _answer_all(
    hearing: Hearing,
    writer: asyncio.StreamWriter,
    answer: Answer,
    interruption: asyncio.Future[None],
    household: Household,
) -> tuple[Request, ...] | None:
    """Answer requests in their order, until one is left to another process; return that and all after it.

    None, if what comes next is no request: Varlink has no answer to that. What was asked before it is answered.
    """
    peer = peer_of(writer.get_extra_info("socket"))
    left: list[Request] = []
    try:
        while (frame := await hearing.next()) is not None:
            turn = Turn(household)
            if not interruption.done():
                await turn.take()
            left += await _answer_one(frame, peer, writer, turn, None if left else answer)
            await writer.drain()
    except MalformedMessageError:
        all_left = None
    else:
        all_left = tuple(left)
    if not interruption.done():
        writer.close()
        await writer.wait_closed()
    return all_left


async def _answer_one(
    frame: bytes, peer: Peer, writer: asyncio.StreamWriter, turn: Turn, answer: Answer | None
) -> tuple[Request, ...]:
    """Answer the request in a frame; return it, if it is left to another process, as it is where there is no `answer`.

    What a request says goes with the answer, and is not kept while its connection waits for anything.

    Raises MalformedMessageError.
    """
    try:
        call = Call(decode_request(frame), peer, writer, turn)
    except MalformedMessageError:
        turn.pass_on()
        raise
    reply = None if answer is None else await answer(call)
    call.answered = True
    if reply is None:
        turn.pass_on()
        return (call.again,)
    if not call.request.oneway:
        writer.write(encode_reply(reply))
        turn.household.told(writer.transport)
    return ()


async def _hang_up(connection: socket.socket) -> None:
    """Wait until the connection is closed, on whichever side; who only ended its sending (shutdown(2)) still reads.

    That is told by EPOLLHUP, which needs not be asked for. Our reader cannot tell it: it sees the end of what is sent,
    and nothing while requests wait to be answered.
    """
    hung_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        watch = select.epoll()
    except OSError:
        # No descriptor is left. That one is gone is noticed when he is written to, then.
        await hung_up.wait()
        return
    with watch as epoll:
        epoll.register(connection, 0)
        loop.add_reader(epoll, hung_up.set)
        try:
            await hung_up.wait()
        finally:
            loop.remove_reader(epoll)
