"""One client's connection: requests in, replies out, in order, within bounds.

A client is a stranger until proven slow, hostile or gone. It may send one request after another (they are answered
in their order), it may hang up while an order waits (the wait ends, the order does not), and it may stop reading
(it is dropped when more than `_MAX_UNREAD` bytes wait for it). Nothing that it does costs anybody else more than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Awaitable, Callable
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
    """A request, who made it, and the way back: `progress` for what comes before the answer."""

    def __init__(self, request: Request, peer: Peer, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.peer = peer
        self._writer = writer

    def progress(self, parameters: Parameters) -> None:
        """Send a reply that others follow, if the client asked for `more`; never waits.

        A client that leaves too much unread is dropped.
        """
        if not self.request.more or self._writer.is_closing():
            return
        self._writer.write(encode_reply(Reply(parameters, continues=True)))
        if self._writer.transport.get_write_buffer_size() > _MAX_UNREAD:
            self._writer.transport.abort()

    async def stream(self, parameters: Parameters) -> None:
        """Send a reply that others follow, and wait until the client has read enough of what came before."""
        self.progress(parameters)
        await self._writer.drain()


Answer: TypeAlias = Callable[[Call], Awaitable[Reply]]
"""Answers a call with its last reply."""


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Talk with one client until it hangs up, or says something that is no message."""
    peer = peer_of(writer.get_extra_info("socket"))
    requests: asyncio.Queue[Request | None] = asyncio.Queue(_MAX_PIPELINED)
    answering = asyncio.create_task(_answer_all(requests, peer, writer, answer))
    listening = asyncio.create_task(_listen(reader, requests, writer.get_extra_info("socket")))
    try:
        await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
        if listening.done() and not listening.result():
            await answering
    finally:
        for task in (listening, answering):
            task.cancel()
        results = await asyncio.gather(listening, answering, return_exceptions=True)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _listen(
    reader: asyncio.StreamReader, requests: asyncio.Queue[Request | None], connection: socket.socket
) -> bool:
    """Read requests until the end; tell whether the client is gone altogether, and not merely done with asking."""
    frames = FrameReader(MAX_REQUEST)
    while data := await reader.read(_CHUNK):
        frames.feed(data)
        try:
            while (frame := frames.next()) is not None:
                await requests.put(decode_request(frame))
        except MalformedMessageError:
            # Varlink has no answer to what is no message. What was asked before it is answered.
            break
    await requests.put(None)
    return _hung_up(connection)


def _hung_up(connection: socket.socket) -> bool:
    """Tell whether the other end is closed; one that only ended its own sending (shutdown(2)) still reads."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


async def _answer_all(
    requests: asyncio.Queue[Request | None], peer: Peer, writer: asyncio.StreamWriter, answer: Answer
) -> None:
    while (request := await requests.get()) is not None:
        reply = await answer(Call(request, peer, writer))
        if not request.oneway:
            writer.write(encode_reply(reply))
            await writer.drain()
