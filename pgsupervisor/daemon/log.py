"""The log of one cluster: looked after, and opened for who wants to read it.

A server logs to the file that the inventory names, until its logging collector runs; from then on to files that this
names. So both are followed: the words of a server that fails before it has a collector are in the one, and what comes
after that in the others. Of what was written before, the one that was written to last has what is of interest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from functools import partial

from pgsupervisor.daemon import logstart
from pgsupervisor.daemon.following import News, Reader, pieces
from pgsupervisor.daemon.logfile import log_of
from pgsupervisor.daemon.rotating import Rotation, Told
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import collector
from pgsupervisor.supervision.kept import LogPiece, LogSource, LogStart
from pgsupervisor.system.follow import Followed
from pgsupervisor.system.logreader import LogReader
from pgsupervisor.system.watch import Watcher


class HostedLog:
    """The log of one cluster; made and used in the event loop.

    `rotating` has the threads in which it is rotated, and `told` is told of that.
    """

    def __init__(self, spec: ClusterSpec, watcher: Watcher, rotating: Executor, told: Told) -> None:
        self._spec = spec
        self._watcher = watcher
        self._log = log_of(spec)
        self._rotation = Rotation(spec, self._log, watcher, rotating, told)
        self._work: asyncio.Task[None] | None = None
        self._readers: dict[News, LogSource] = {}
        self._began = 0
        self._closed = False

    @property
    def trouble(self) -> str:
        """What there is to say of its rotation; empty if nothing."""
        return self._rotation.trouble

    def attend(self, spec: ClusterSpec, began: int | None = None) -> None:
        """Look after the log that a server by this spec writes; the file may just have been made.

        `began` is the position at which that server has begun to write, as far as that is known. Who follows the log
        reads the last one to its end, and then goes on there.
        """
        if self._spec.logfile != spec.logfile:
            self._log = log_of(spec)
            self._began = began if began is not None else 0 if self._log is None else self._log.end()
            for news, source in self._readers.items():
                if source == "logfile":
                    news.end()
        self._spec = spec
        self._rotation.go_by(spec, self._log)
        if self._work is None:
            self._work = asyncio.create_task(self._rotation.run(), name=f"rotate the log of {spec.name}")
            self._work.add_done_callback(_raise_mistake)

    def close(self) -> None:
        """Look after it no more; who reads it comes to an end."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
        for news in self._readers:
            news.end()

    async def open(self, start: LogStart, *, follow: bool) -> Sequence[AsyncGenerator[LogPiece, None]]:
        """Return what yields the log from there on; to `follow` it, also what is written later."""
        directory = self._spec.data_directory
        find = partial(logstart.readers, self._log, self._spec, start, follow=follow)
        reading = await asyncio.to_thread(find)
        places = {source: reader.place for source, reader in reading.items()}
        return [self._pieces(directory, source, reader, places, follow=follow) for source, reader in reading.items()]

    async def _pieces(
        self, directory: str, source: LogSource, reader: Reader, places: dict[LogSource, str], *, follow: bool
    ) -> AsyncGenerator[LogPiece, None]:
        """Yield what is read, each piece with the places at which all readers of this log are then."""
        # Where it begins, for who will have to go on from there though nothing has come.
        yield LogPiece(source, b"", logstart.encoded(places))
        while True:
            async with aclosing(self._read(directory, source, reader, follow=follow)) as reading:
                async for piece in reading:
                    places[source] = reader.place
                    yield LogPiece(source, piece, logstart.encoded(places))
            log = self._log
            if not follow or self._closed or source != "logfile" or log is None or log.path == reader.path:
                return
            reader = LogReader(log, self._began)

    async def _read(
        self, directory: str, source: LogSource, reader: Reader, *, follow: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield what a reader reads, and to `follow` also what is written later, while that is the log."""
        news = News() if follow else None
        async with AsyncExitStack() as listening:
            if news is not None:
                self._readers[news] = source
                listening.callback(self._readers.pop, news)
                if self._closed or (source == "logfile" and reader.path != self._spec.log_path):
                    news.end()  # while the place to begin was looked for
                listening.callback(self._watch(directory, reader if source == "logfile" else None, news))
            reading = await listening.enter_async_context(aclosing(pieces(reader, self._watcher, news)))
            async for piece in reading:
                yield piece

    def _watch(self, directory: str, logfile: Reader | None, news: News) -> Callable[[], None]:
        """Have it told when there is another file to be read, of the logfile, or of the collector's."""
        if logfile is None or logfile.path is None:
            return Followed(self._watcher, os.path.join(directory, collector.NAME), news.come).close
        # Not what is written to all the logs that are there; of this one, that is asked for by itself.
        return self._watcher.watch(*os.path.split(logfile.path), news.come, contents=False)


def _raise_mistake(task: asyncio.Task[None]) -> None:
    """Have a mistake of ours told: that a log grew without end would hide it."""
    if not task.cancelled():
        task.result()
