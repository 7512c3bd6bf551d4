"""The judge: a server is up when it answers a startup packet, and down when its postmaster is gone.

Both are seen from outside, in the same way for all contestants. Whoever asks a server that starts makes it fork, and
so slower; so a server is asked when it has rewritten its postmaster.pid to say that it is ready, and not before. A file
may say so and be left over from another server; then nobody answers, and the file's next change is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable

from benchmarks.frontend import GOODBYE, STARTUP_PACKET
from benchmarks.ground import Server

from pgsupervisor.system.happenings import Inotify, What

LIMIT = 120.0
"""Seconds after which something hangs."""

_SAYS_SO = (b"ready", b"standby")

_ASKED_AGAIN = 0.005
"""Seconds until a server is asked again that said it was ready and did not answer."""


class Judge:
    """Hears of servers' postmaster.pid, and asks them."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._inotify.start()

    def close(self) -> None:
        """Hear no more."""
        self._inotify.stop()
        self._inotify.join()

    async def all_answer(self, servers: Iterable[Server]) -> float:
        """Wait until each of these servers has answered, and return when the last one did."""
        async with asyncio.timeout(LIMIT):
            return max(await asyncio.gather(*map(self.answers, servers)))

    async def answers(self, server: Server) -> float:
        """Wait until a server answers, and return when it did, by the monotonic clock."""
        async with self._news_of(server) as news:
            while not await _answers(server):
                # One that has ended left what it said last.
                said = _says_ready(server)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ASKED_AGAIN if said else None):
                        await news.wait()
                news.clear()
        return time.monotonic()

    @contextlib.asynccontextmanager
    async def _news_of(self, server: Server) -> AsyncIterator[asyncio.Event]:
        """Have an event that is set whenever a server has rewritten its postmaster.pid to say that it is ready."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: What, name: str) -> None:
            if name == "postmaster.pid" and _says_ready(server):
                loop.call_soon_threadsafe(news.set)

        end = self._inotify.watch(str(server.data_directory), tell, contents=True)
        try:
            yield news
        finally:
            end()


class Postmasters:
    """The postmasters that run at one moment, held by their pidfds, so that none is taken for its successor."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._held = [os.pidfd_open(server.pid) for server in servers]

    async def all_gone(self) -> float:
        """Wait until the last of them has ended, and return when that was."""
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*map(gone, self._held))
        ended = time.monotonic()
        for pidfd in self._held:
            os.close(pidfd)
        return ended


async def gone(pidfd: int) -> None:
    """Wait until the process that a pidfd holds has ended."""
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.add_reader(pidfd, gone.set_result, None)
    try:
        await gone
    finally:
        loop.remove_reader(pidfd)


def _says_ready(server: Server) -> bool:
    try:
        lines = (server.data_directory / "postmaster.pid").read_bytes().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() in _SAYS_SO


async def _answers(server: Server) -> bool:
    """Send a startup packet, and tell whether the server lets us in."""
    with contextlib.suppress(FileNotFoundError, ConnectionError):
        reader, writer = await asyncio.open_unix_connection(server.socket)
        try:
            writer.write(STARTUP_PACKET)
            if await reader.read(1) == b"R":
                writer.write(GOODBYE)
                return True
        finally:
            writer.close()
    return False
