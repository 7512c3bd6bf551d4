"""Clusters' logs, for one who asks: what was written last, or since a moment, and what is written from then on.

The text travels as JSON. A byte that is no UTF-8 becomes a lone surrogate on the way (PEP 383) and the byte again at
the other end, so a client can write exactly what the server wrote.

Each piece comes with the position after it, and the request that is under way says at any time how it would have to be
asked to go on from there: that is what is handed over when the daemon is upgraded, and nobody notices.
"""

from __future__ import annotations

import asyncio
import json
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
"""Bytes of a log that one reply holds at most, as it is written on the wire, where a byte may take six."""

_WEIGHED = 16 * 1024
"""Characters that are weighed at once."""

_PATIENCE = 60.0
"""Seconds in which a reader must have taken a piece. Our own begins again where it was, once it reads again."""

_UNTIMED = "no line says when it was written"


async def tail(call: Call, kept: Kept, asked: Logs) -> Parameters:
    """Return the end of a cluster's log in one piece.

    Raises RefusalError and InvalidParameterError.
    """
    text = b""
    async with call.turn.household.reading:
        for source in await _open(kept, asked, most=_MOST_AT_ONCE):
            with _refusals(kept):
                async for piece in source:
                    text = (text + piece.text)[-_MOST_AT_ONCE:]
        await call.turn.take()
        return {"text": _end(_text(text))}


async def _open(kept: Kept, asked: Logs, most: int | None = None) -> Sequence[AsyncGenerator[LogPiece, None]]:
    """Open the log of a cluster.

    Raises RefusalError and InvalidParameterError.
    """
    position = next((each.position for each in asked.positions or () if each.name == kept.spec.name), None)
    with _refusals(kept):
        start = LogStart(asked.lines, most, asked.since, position)
        return await kept.postmaster.log.open(start, follow=asked.follow)


async def send_logs(call: Call, kept: Sequence[Kept], asked: Logs) -> Parameters:
    """Send the logs of clusters in pieces, and, to follow them, whatever is written, until cancelled.

    Raises RefusalError and InvalidParameterError.
    """
    sender = _Sender(call, {each.name: each.position for each in asked.positions or ()})
    opened: list[tuple[Kept, AsyncGenerator[LogPiece, None]]] = []
    refused: dict[str, RefusalError] = {}
    for each in kept:
        try:
            async with call.turn.household.reading:
                opened += [(each, source) for source in await _open(each, asked)]
        except RefusalError as refusal:
            refused[each.spec.name] = refusal
    if refused and not opened:
        raise next(iter(refused.values()))
    for name, why in refused.items():
        await call.stream({"name": name, "text": "", "why": why.reply.parameters.get("why", _UNTIMED)})
    if not asked.follow:
        for each, source in opened:
            await sender.send(each, source)
        return {"text": ""}
    try:
        async with asyncio.TaskGroup() as tasks:
            for each, source in opened:
                tasks.create_task(sender.send(each, source))
    except ExceptionGroup as errors:
        # The first that fails ends them all: who reads on would not know that there is less.
        raise errors.exceptions[0] from errors
    return {"text": ""}


class _Sender:
    """Sends pieces of logs, and knows at which `positions` they end."""

    def __init__(self, call: Call, positions: dict[str, str]) -> None:
        self._call = call
        self._positions = positions
        # However many logs there are, for a slow reader no more waits than a piece of each.
        self._one_at_a_time = asyncio.Lock()

    async def send(self, kept: Kept, source: AsyncGenerator[LogPiece, None]) -> None:
        """Send what comes from one source.

        Raises RefusalError.
        """
        name = kept.spec.name
        with _refusals(kept):
            async with aclosing(source):
                async for piece in source:
                    async with self._one_at_a_time:
                        await self._call.turn.take()
                        # Both at once: what was sent is what need not be sent again.
                        self._positions[name] = piece.position
                        self._call.again = _going_on(self._call.request, self._positions)
                        self._call.send(
                            {
                                "name": name,
                                "source": piece.source,
                                "text": _text(piece.text),
                                "position": piece.position,
                            }
                        )
                        await self._call.read(_PATIENCE)


def _going_on(request: Request, positions: Mapping[str, str]) -> Request:
    """Return a request that goes on from these positions."""
    listed = [{"name": name, "position": position} for name, position in positions.items()]
    return request._replace(parameters={**request.parameters, "positions": listed})


@contextmanager
def _refusals(kept: Kept) -> Iterator[None]:
    """Refuse, in the words of the interface, to send what cannot be read."""
    spec = kept.spec
    try:
        yield
    except ConnectionError:
        raise  # that is the client's end
    except OSError as error:
        elsewhere = isinstance(error, FileNotFoundError) and spec.log_path is None
        why = f"it {spec.log_elsewhere}" if elsewhere else error.strerror or str(error)
        raise RefusalError(protocol.LOG_NOT_READABLE, path=error.filename or spec.logfile, why=why) from error
    except LogLostError as error:
        raise RefusalError(protocol.LOG_LOST, path=error.path) from error
    except LogUntimedError as error:
        raise RefusalError(protocol.LOG_UNTIMED, path=error.path) from error
    except ValueError as error:
        raise InvalidParameterError("positions") from error


def _end(text: str) -> str:
    """Return as much of the end of a text as one reply holds."""
    size = 0
    for end in range(len(text), 0, -_WEIGHED):
        size += len(json.dumps(text[max(0, end - _WEIGHED) : end])) - len('""')
        if size > _MOST_AT_ONCE:
            return text[end:]
    return text


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "surrogateescape")
