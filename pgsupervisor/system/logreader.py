"""Reading a log together with its archives, as the one sequence of bytes that was written.

Who reads has a position in that sequence, and reads on from there, in the log or, where he is behind, in the archives.
Rotation may take away what he stands in, compress it or remove it: the archive that he has open stays his, and what
comes after that is found by its position. Only who is so far behind that even the oldest archive begins later has lost
something, and is told so.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from pgsupervisor.errors import LogLostError
from pgsupervisor.system.archives import GUARDED
from pgsupervisor.system.rotation import RotatedLog, begin_of, end_of, parts

BLOCK = 64 * 1024
"""Bytes that are read at a time."""


class LogReader:
    """Reads a log from a position on; made for following.

    A log that became shorter than what was read is read from its beginning, and so is another file at its place, after
    the rest of the last one; while there is none, there is no more to read than that.
    """

    def __init__(self, log: RotatedLog, position: int) -> None:
        self.position = position
        self._log = log
        self._archive: BinaryIO | None = None
        self._file: BinaryIO | None = None

    @property
    def path(self) -> str:
        """The file that is written to."""
        return self._log.path

    @property
    def place(self) -> str:
        """How far it has read."""
        return str(self.position)

    def read(self) -> bytes:
        """Return the next piece, of at most 64 KiB; empty at the end of the log as it is now. Blocks.

        Raises LogLostError if what comes next is not kept any more, and OSError if it cannot be read.
        """
        with self._log.accessed():
            return self._read()

    def _read(self) -> bytes:
        while True:
            if self._archive is not None:
                piece = self._archive.read(BLOCK)
                if piece:
                    return self._passed(piece)
                self._archive.close()
                self._archive = None
            with self._log.held_still():
                found = self._next()
            if found is not None:
                return self._passed(found)

    def close(self) -> None:
        """Let go of what is open."""
        for file in (self._archive, self._file):
            if file is not None:
                file.close()
        self._archive = self._file = None

    def _next(self) -> bytes | None:
        """Read in the log; None if an archive had to be opened instead."""
        file = self._current()
        if file is None:
            return b""
        begin, size = begin_of(file.fileno()), os.fstat(file.fileno()).st_size
        if self.position > begin + size:
            self.position = begin
        if self.position >= begin:
            return os.pread(file.fileno(), BLOCK, self.position - begin)
        for part in reversed(parts(self._log.path)):
            if part.begin <= self.position:
                self._archive = part.open()
                self._archive.seek(self.position - part.begin)
                return None
        raise LogLostError(self._log.path)

    def _current(self) -> BinaryIO | None:
        """Return the file that is to be read: the log, or the one that was the log while there is more in it.

        It stays open, so that no other has its inode.
        """
        try:
            found = os.fdopen(os.open(self._log.path, os.O_RDONLY | GUARDED), "rb", 0)
        except FileNotFoundError:
            return self._file
        if self._file is not None:
            last = self._file.fileno()
            same = os.path.samestat(os.fstat(last), os.fstat(found.fileno()))
            if same or begin_of(last) <= self.position < end_of(last):
                found.close()
                return self._file
            self._file.close()
            self.position = begin_of(found.fileno())
        self._file = found
        return found

    def _passed(self, piece: bytes) -> bytes:
        self.position += len(piece)
        return piece


def written_since(log: RotatedLog, position: int, limit: int = 64 * 1024) -> str:
    """Return what was written to a log from a position on, of a long text only the last `limit` bytes. Blocks.

    A log that is not there, or may not be read, is empty.
    """
    with contextlib.suppress(OSError, LogLostError):
        with log.held_still():
            end = parts(log.path)[-1].end
        with contextlib.closing(LogReader(log, max(position, end - limit))) as reader:
            return b"".join(iter(reader.read, b""))[-limit:].decode("utf-8", "replace")
    return ""
