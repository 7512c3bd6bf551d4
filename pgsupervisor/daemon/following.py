"""What yields a log to one who reads it: from a position on, and, if he follows it, as it is written.

A busy log is read in large pieces as fast as he takes them, and one that is quiet costs nothing: that it is written to
is told by the kernel, once, and asked for again when all was read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import ExitStack, suppress
from typing import BinaryIO, Protocol

from pgsupervisor.postgres.collector import current_logfile, logfiles
from pgsupervisor.system.archives import open_guarded
from pgsupervisor.system.identity import User, acting_as
from pgsupervisor.system.logreader import BLOCK
from pgsupervisor.system.watch import Watcher


class Reader(Protocol):
    """Reads from one place after the other; the methods block."""

    @property
    def path(self) -> str | None:
        """The file that is written to; None while there is none."""

    @property
    def place(self) -> str:
        """How far it has read, in words of its own."""

    def read(self) -> bytes:
        """Return the next piece; empty if there is no more now. Raises OSError and LogLostError."""

    def close(self) -> None:
        """Let go of what is open."""


class News:
    """That there may be more to read, or never will be."""

    def __init__(self) -> None:
        self.over = False
        self._come = asyncio.Event()

    def come(self) -> None:
        """Say that there may be more."""
        self._come.set()

    def end(self) -> None:
        """Say that there will be no more."""
        self.over = True
        self._come.set()

    def forget(self) -> None:
        """Begin to wait for the next."""
        self._come.clear()

    async def wait(self) -> None:
        """Wait for any since the last were forgotten."""
        await self._come.wait()


async def pieces(reader: Reader, watcher: Watcher, news: News | None) -> AsyncGenerator[bytes, None]:
    """Yield what there is to read, and with `news` also what is written later, until these are over.

    Raises OSError and LogLostError.
    """
    try:
        while news is not None and not news.over:
            news.forget()
            path = reader.path
            with ExitStack() as asked:
                # Before it is read to its end: what is written while that is done is told.
                if (path := reader.path) is not None:
                    with suppress(FileNotFoundError):
                        asked.callback(watcher.growth(path, news.come))
                while piece := await _read(reader):
                    yield piece
                # Of a file that it has come to meanwhile, that has not been asked yet.
                if reader.path == path:
                    await news.wait()
        while piece := await _read(reader):
            yield piece
    finally:
        reader.close()


async def _read(reader: Reader) -> bytes:
    """Read the next piece; who is cancelled waits until that is done, as the reader is closed then."""
    reading = asyncio.get_running_loop().run_in_executor(None, reader.read)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])
        reading.exception()
        raise


class CollectorReader:
    """Reads what the collector of a cluster writes, from an offset in a file of it on; through all files, in order.

    Without a file it begins with the one that comes to be written. `owner` is as whom the files are touched, for they
    lie where the server's user wants them to.
    """

    def __init__(self, data_directory: str, owner: User | None, path: str | None = None, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._data_directory = data_directory
        self._owner = owner
        self._file: BinaryIO | None = None

    @property
    def place(self) -> str:
        """How far it has read, and in which file."""
        return f"{self._offset} {self.path}"

    def read(self) -> bytes:
        """Return the next piece, of at most 64 KiB; empty at the end of what is written now. Blocks.

        Raises OSError.
        """
        with acting_as(self._owner):
            return self._read_on()

    def _read_on(self) -> bytes:
        while True:
            # Before the end of the file is looked for: what comes after the next file has begun, is in that.
            current = current_logfile(self._data_directory)
            if self._file is None and self.path is not None:
                # One that somebody has removed, though it is written to, is nothing to read.
                with suppress(FileNotFoundError):
                    self._file = open_collected(self.path, self._owner)
                    self._file.seek(self._offset)
            renewed = self._renewed()
            piece = b"" if self._file is None else self._read(self._file)
            if renewed and not piece:
                self.close()
                self._offset = 0
                continue
            if piece or current is None or current == self.path:
                self._offset += len(piece)
                return piece
            self._go_on(current)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _renewed(self) -> bool:
        """Tell whether another file has the name of the one that is open."""
        if self._file is not None and self.path is not None:
            with suppress(FileNotFoundError):
                return not os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        return False

    def _read(self, file: BinaryIO) -> bytes:
        if os.fstat(file.fileno()).st_size < self._offset:
            self._offset = file.seek(0)  # it was begun anew under the same name (log_truncate_on_rotation)
        return file.read(BLOCK)

    def _go_on(self, current: str) -> None:
        """Take the file that was written next."""
        self.close()
        files = logfiles(current)
        following = files.index(self.path) + 1 if self.path in files else len(files) - 1
        self.path, self._offset = files[following], 0


def open_collected(path: str, owner: User | None) -> BinaryIO:
    """Open a file of a collector's as its `owner`, and nothing that is no file: who names it could name anything.

    Raises OSError.
    """
    with acting_as(owner), ExitStack() as failed:
        file = failed.enter_context(open_guarded(path))
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PermissionError(errno.EACCES, "it is no regular file", path)
        failed.pop_all()
    return file
