"""One client's connection: requests in, replies out, in order, within bounds.

A client is a stranger until proven slow, hostile or gone. It may send one request after another: they are answered
in their order. It may hang up while an order waits: the wait ends, the order does not, and what was asked behind it
is dropped. It may stop reading: no more is read from it then, and it is dropped when more than `_MAX_UNREAD` bytes
of progress wait for it. Nothing that it does costs anybody else more than that.
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
            self._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def stream(self, parameters: Parameters) -> None:
        """Send a reply that others follow, and wait until the client has read enough of what came before."""
        self.progress(parameters)
        await self._writer.drain()


Answer: TypeAlias = Callable[[Call], Awaitable[Reply]]
"""Answers a call with its last reply."""


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Talk with one client until it hangs up, or has said all and has its answers, or says what is no message."""
    connection: socket.socket = writer.get_extra_info("socket")
    requests: asyncio.Queue[Request | None] = asyncio.Queue(_MAX_PIPELINED)
    listening = asyncio.create_task(_listen(reader, requests))
    answering = asyncio.create_task(_answer_all(requests, peer_of(connection), writer, answer))
    leaving = asyncio.create_task(_hang_up(connection))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (listening, answering, leaving):
            task.cancel()
        writer.transport.abort()
        results = await asyncio.gather(listening, answering, leaving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _listen(reader: asyncio.StreamReader, requests: asyncio.Queue[Request | None]) -> None:
    """Read requests until there are no more; the last one is None."""
    frames = FrameReader(MAX_REQUEST)
    # Varlink has no answer to what is no message. What was asked before it is answered.
    with contextlib.suppress(MalformedMessageError):
        while data := await reader.read(_CHUNK):
            frames.feed(data)
            while (frame := frames.next()) is not None:
                await requests.put(decode_request(frame))
    await requests.put(None)


async def _answer_all(
    requests: asyncio.Queue[Request | None], peer: Peer, writer: asyncio.StreamWriter, answer: Answer
) -> None:
    while (request := await requests.get()) is not None:
        reply = await answer(Call(request, peer, writer))
        if not request.oneway:
            writer.write(encode_reply(reply))
            await writer.drain()
    writer.close()
    await writer.wait_closed()


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
