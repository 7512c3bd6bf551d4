"""Log files that a server writes into directly.

The daemon opens the file and hands the descriptor over; from then on the kernel appends what the server writes,
and nobody stands between them. The daemon may hang, die or be upgraded, and no line is lost or delayed by it.
Everything else here only reads.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from pgsupervisor.system.process import User

_BLOCK = 64 * 1024
"""Bytes that are read at a time from the end of a file."""

_GUARDED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened in a log directory that others can write to: a symlink must not lead root elsewhere, and a
FIFO without another end must not hold us up."""


def open_for_append(path: str, owner: User | None) -> BinaryIO:
    """Open a log file for a server to write into, and make it (mode 0640, for `owner`) if it is not there.

    Every write goes to the end of the file, whoever else writes, and however often the file is cut (O_APPEND).
    A symlink at its place is refused.

    Raises OSError.
    """
    with contextlib.ExitStack() as failed:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _GUARDED, 0o640)
        failed.callback(os.close, descriptor)
        if owner is not None and os.fstat(descriptor).st_uid != owner.uid:
            os.fchown(descriptor, owner.uid, owner.gid)
        failed.pop_all()
    return os.fdopen(descriptor, "wb", buffering=0)


def written_since(path: str, offset: int, limit: int = _BLOCK) -> str:
    """Return what was written to the file after `offset`, of a long text only the last `limit` bytes.

    A file that is not there, or may not be read, is empty.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(offset, size - limit))
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


class LogReader:
    """Reads a log file from near its end, and goes on from where it was; made for following.

    A file that became shorter than what was read was cut (rotated by copying): reading goes on at its beginning.
    """

    def __init__(self, path: str, lines: int, most: int) -> None:
        """Begin `lines` lines before the end of the file, but no more than `most` bytes.

        Raises OSError if it cannot be read, or is a symlink.
        """
        self._file = os.fdopen(os.open(path, os.O_RDONLY | _GUARDED), "rb", buffering=0)
        with contextlib.ExitStack() as failed:
            failed.callback(self._file.close)
            self._file.seek(_start_of_last_lines(self._file, lines, most))
            failed.pop_all()

    def read(self) -> bytes:
        """Return the next piece, of at most 64 KiB; empty at the end of the file as it is now."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        return self._file.read(_BLOCK) or b""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _start_of_last_lines(file: BinaryIO, lines: int, most: int) -> int:
    """Return the offset at which the last `lines` lines of a file begin. A last line without an end counts."""
    end = file.seek(0, os.SEEK_END)
    earliest = max(0, end - most)
    position, wanted = end, lines
    if end and _read_at(file, end - 1, 1) != b"\n":
        wanted -= 1
    while position > earliest and wanted >= 0:
        start = max(earliest, position - _BLOCK)
        block = _read_at(file, start, position - start)
        found = len(block)
        while wanted >= 0 and (found := block.rfind(b"\n", 0, found)) >= 0:
            wanted -= 1
            if wanted < 0:
                return start + found + 1
        position = start
    return end if lines <= 0 else earliest


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
