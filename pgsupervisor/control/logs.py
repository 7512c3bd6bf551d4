"""Clusters' logs, for one who asks: what was written last, or since a moment, and what is written from then on.

The text travels as JSON. A byte that is no UTF-8 becomes a lone surrogate on the way (PEP 383) and the byte again at
the other end, so a client can write exactly what the server wrote.

Each piece comes with the position after it, and the request that is under way says at any time how it would have to be
asked to go on from there: that is what is handed over when the daemon is upgraded, and nobody notices.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager

from pgsupervisor.control import protocol
from pgsupervisor.control.connection import Call
from pgsupervisor.control.parameters import InvalidParameterError, Logs
from pgsupervisor.control.protocol import Parameters, Request
from pgsupervisor.control.refusal import RefusalError
from pgsupervisor.errors import LogLostError, LogUntimedError
from pgsupervisor.supervision.kept import Kept, LogPiece, LogStart

_MOST_AT_ONCE = 1024 * 1024
"""Bytes of a log that one reply holds at most."""


async def tail(kept: Kept, asked: Logs) -> Parameters:
    """Return the end of a cluster's log in one piece.

    Raises RefusalError and InvalidParameterError.
    """
    text = b""
    with _refusals(kept):
        for source in await kept.postmaster.log.open(_start(kept, asked), follow=False):
            async for piece in source:
                text = (text + piece.text)[-_MOST_AT_ONCE:]
    return {"text": _text(text)}


async def send_logs(call: Call, kept: Sequence[Kept], asked: Logs) -> Parameters:
    """Send the logs of clusters in pieces, and, to follow them, whatever is written, until cancelled.

    Raises RefusalError and InvalidParameterError.
    """
    positions = {each.name: each.position for each in asked.positions or ()}
    one_at_a_time = asyncio.Lock()  # what waits for a slow reader is no more than a piece
    sources: list[tuple[Kept, AsyncGenerator[LogPiece, None]]] = []
    for each in kept:
        with _refusals(each):
            sources += [(each, one) for one in await each.postmaster.log.open(_start(each, asked), follow=asked.follow)]
    if not asked.follow:
        for each, source in sources:
            await _send(call, each, source, positions, one_at_a_time)
        return {"text": ""}
    try:
        async with asyncio.TaskGroup() as tasks:
            for each, source in sources:
                tasks.create_task(_send(call, each, source, positions, one_at_a_time))
    except ExceptionGroup as errors:
        # The first that fails ends them all: who reads on would not know that there is less.
        raise errors.exceptions[0] from errors
    return {"text": ""}


async def _send(
    call: Call,
    kept: Kept,
    source: AsyncGenerator[LogPiece, None],
    positions: dict[str, str],
    one_at_a_time: asyncio.Lock,
) -> None:
    """Send what comes from one source; the positions in all logs are brought up to date."""
    name = kept.spec.name
    with _refusals(kept):
        async with aclosing(source):
            async for piece in source:
                answer = {"name": name, "source": piece.source, "text": _text(piece.text), "position": piece.position}
                async with one_at_a_time:
                    # Both at once: what was sent is what need not be sent again.
                    positions[name] = piece.position
                    call.again = _going_on(call.request, positions)
                    await call.stream(answer)


def _going_on(request: Request, positions: Mapping[str, str]) -> Request:
    """Return a request that goes on from these positions."""
    listed = [{"name": name, "position": position} for name, position in positions.items()]
    return request._replace(parameters={**request.parameters, "positions": listed})


def _start(kept: Kept, asked: Logs) -> LogStart:
    position = next((each.position for each in asked.positions or () if each.name == kept.spec.name), None)
    return LogStart(asked.lines, since=asked.since, position=position)


@contextmanager
def _refusals(kept: Kept) -> Iterator[None]:
    """Refuse, in the words of the interface, to send what cannot be read."""
    path = kept.spec.logfile
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise RefusalError(protocol.LOG_NOT_READABLE, path=error.filename or path, why=why) from error
    except LogLostError as error:
        raise RefusalError(protocol.LOG_LOST, path=error.path) from error
    except LogUntimedError as error:
        raise RefusalError(protocol.LOG_UNTIMED, path=error.path) from error
    except ValueError as error:
        raise InvalidParameterError("positions") from error


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "surrogateescape")
