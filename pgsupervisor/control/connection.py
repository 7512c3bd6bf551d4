"""One client's connection: requests in, replies out, in order, within bounds.

A client is a stranger until proven slow, hostile or gone. It may send one request after another: they are answered
in their order. It may hang up while an order waits: the wait ends, the order does not, and what was asked behind it
is dropped. It may stop reading: no more is read from it then, and it is dropped when more than `_MAX_UNREAD` bytes
of progress wait for it. Nothing that it does costs anybody else more than that.

A conversation can be broken off between two answers, for another process to go on with it: the client notices nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from pgsupervisor.control.access import Peer, peer_of
from pgsupervisor.control.protocol import (
    MAX_REQUEST,
    FrameReader,
    Parameters,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from pgsupervisor.errors import MalformedMessageError

_CHUNK = 64 * 1024
_MAX_UNREAD = 1024 * 1024
_MAX_PIPELINED = 16


class Call:
    """A request, who made it, and the way back: `progress` for what comes before the answer.

    `permitted` once it is known that this peer may make it; `again` is what another process is asked that goes on
    with it.
    """

    def __init__(self, request: Request, peer: Peer, writer: asyncio.StreamWriter) -> None:
        self.request = self.again = request
        self.peer = peer
        self.permitted = False
        self.answered = False
        self._writer = writer

    def progress(self, parameters: Parameters) -> None:
        """Send a reply that others follow, if the client asked for `more`; never waits.

        A client that leaves too much unread is dropped.
        """
        if self._send(parameters) and self._writer.transport.get_write_buffer_size() > _MAX_UNREAD:
            self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def stream(self, parameters: Parameters, patience: float | None = None) -> None:
        """Send a reply that others follow, however long, and wait until the client has read enough of it.

        With `patience` (in seconds), one that does not is dropped, and ConnectionAbortedError is raised.
        """
        self._send(parameters)
        try:
            async with asyncio.timeout(patience):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError from None

    def _send(self, parameters: Parameters) -> bool:
        """Send a reply that others follow, and return True, if the client asked for `more` and still can be told."""
        if not self.request.more or self.answered or self._writer.is_closing():
            return False
        self._writer.write(encode_reply(Reply(parameters, continues=True)))
        return True


Answer: TypeAlias = Callable[[Call], Awaitable[Reply | None]]
"""Answers a call with its last reply; None leaves it to the process that goes on with the conversation."""


@dataclass(frozen=True, slots=True)
class BrokenOff:
    """A conversation that can be gone on with.

    `left` are calls that were not answered, and `unread` is the beginning of another one.
    """

    connection: socket.socket
    left: tuple[Request, ...]
    unread: bytes


async def converse(
    connection: socket.socket, unread: bytes, answer: Answer, interruption: asyncio.Future[None]
) -> BrokenOff | None:
    """Talk with one client until it hangs up, or has said all and has its answers, or says what is no message.

    Of what it says, `unread` has been received already. Upon the `interruption` no more is read; when the answer that
    is under way is given, the conversation is broken off, unless the client has not even read what it was told.
    """
    loop = asyncio.get_running_loop()
    connection.setblocking(False)  # noqa: FBT003  # the standard library's
    reader = asyncio.StreamReader()
    reader.feed_data(unread)
    transport, streams = await loop.connect_accepted_socket(lambda: asyncio.StreamReaderProtocol(reader), connection)
    writer = asyncio.StreamWriter(transport, streams, reader, loop)
    frames = FrameReader(MAX_REQUEST)
    requests: asyncio.Queue[Request | None] = asyncio.Queue(_MAX_PIPELINED)
    listening = asyncio.create_task(_listen(reader, frames, requests))
    answering = asyncio.create_task(_answer_all(requests, writer, answer, interruption))
    leaving = asyncio.create_task(_hang_up(connection))

    def stop_reading(_interruption: asyncio.Future[None]) -> None:
        transport.pause_reading()
        reader.feed_eof()

    interruption.add_done_callback(stop_reading)
    broken_off = None
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        all_read = not (leaving.done() or writer.is_closing() or transport.get_write_buffer_size())
        if all_read and answering.exception() is None and listening.result():
            broken_off = BrokenOff(connection.dup(), answering.result(), frames.rest)
    finally:
        interruption.remove_done_callback(stop_reading)
        for task in (listening, answering, leaving):
            task.cancel()
        transport.abort()
        results = await asyncio.gather(listening, answering, leaving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result
    return broken_off


async def _listen(reader: asyncio.StreamReader, frames: FrameReader, requests: asyncio.Queue[Request | None]) -> bool:
    """Read requests until there are no more, and tell whether all were requests; the last one is None."""
    # Varlink has no answer to what is no message. What was asked before it is answered.
    with contextlib.suppress(MalformedMessageError):
        while data := await reader.read(_CHUNK):
            frames.feed(data)
            while (frame := frames.next()) is not None:
                await requests.put(decode_request(frame))
        await requests.put(None)
        return True
    await requests.put(None)
    return False


async def _answer_all(
    requests: asyncio.Queue[Request | None],
    writer: asyncio.StreamWriter,
    answer: Answer,
    interruption: asyncio.Future[None],
) -> tuple[Request, ...]:
    """Answer requests in their order, until one is left to another process; return that and all after it."""
    peer = peer_of(writer.get_extra_info("socket"))
    left: list[Request] = []
    while (request := await requests.get()) is not None:
        call = Call(request, peer, writer)
        reply = None if left else await answer(call)
        call.answered = True
        if reply is None:
            left.append(call.again)
        elif not request.oneway:
            writer.write(encode_reply(reply))
            await writer.drain()
    if not interruption.done():
        writer.close()
        await writer.wait_closed()
    return tuple(left)


async def _hang_up(connection: socket.socket) -> None:
    """Wait until the connection is closed, on whichever side; who only ended its sending (shutdown(2)) still reads.

    That is told by EPOLLHUP, which needs not be asked for. Our reader cannot tell it: it sees the end of what is sent,
    and nothing while requests wait to be answered.
    """
    hung_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    with select.epoll() as epoll:
        epoll.register(connection, 0)
        loop.add_reader(epoll, hung_up.set)
        try:
            await hung_up.wait()
        finally:
            loop.remove_reader(epoll)
