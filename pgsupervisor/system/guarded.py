"""Reading files that belong to somebody else, so that none of them does us harm.

Whoever owns a directory can put anything under the name that we read: a FIFO, which may take for ever to open; a
device, with which that may do anything; a file of any size, which costs nothing as long as it is sparse; or files that
lead to each other without end. So what a name leads to is looked at before it is opened, and no more is read than may
be. Symbolic links are followed, as those who read such files in the ordinary way do.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import islice

_PIECE = 64 * 1024
"""How many bytes are asked for at a time."""

_FILE_COST = 256
_LINE_COST = 64
"""How many bytes a file or a name, and a line, count for besides their own: about what it costs to deal with them."""


_contents: ContextVar[dict[str, bytes] | None] = ContextVar("contents of files that are read once", default=None)


@contextmanager
def read_once() -> Iterator[None]:
    """Do what follows in this thread with one content of each file: what is decided by it is decided by the same."""
    former = _contents.set({})
    try:
        yield
    finally:
        _contents.reset(former)


def content_of(path: str, limit: int) -> bytes:
    """Return the content of a file of up to `limit` bytes.

    Raises OSError: IsADirectoryError for a directory, EINVAL for what is no file either, EFBIG for one that is larger.
    """
    known = _contents.get()
    if known is not None and path in known and len(known[path]) <= limit:
        return known[path]
    content = _read(path, limit, whole=True)
    if known is not None:
        known[path] = content
    return content


def beginning_of(path: str, most: int) -> bytes:
    """Return the first `most` bytes of a file, or all that it has.

    Raises OSError as `content_of` does, but for the size.
    """
    return _read(path, most, whole=False)


class Allowance:
    """How much may be read of some files that lead to each other: so many bytes, of all of them together.

    Each of them, each line, and each name in a directory counts for more than its bytes, so that there is an end to
    empty ones as well.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    def content_of(self, path: str) -> bytes:
        """Return the content of a file. Raises OSError; EFBIG where there is no allowance left for it."""
        content = content_of(path, self._left)
        lines = _LINE_COST * content.count(b"\n")
        affordable = len(content) + lines <= self._left
        self._left = max(0, self._left - len(content) - _FILE_COST - (lines if affordable else 0))
        if not affordable:
            raise _too_large(path)
        return content

    def entries_of(self, directory: str) -> list[os.DirEntry[str]]:
        """Return what is in a directory. Raises OSError; EFBIG where there is no allowance left for it."""
        most = self._left // _FILE_COST
        with os.scandir(directory) as found:
            entries = list(islice(found, most + 1))
        self._left = max(0, self._left - _FILE_COST * len(entries))
        if len(entries) > most:
            raise _too_large(directory)
        return entries


def _read(path: str, most: int, *, whole: bool) -> bytes:
    """Read up to `most` bytes of a file, which must not have more if it is to be the `whole`."""
    # The descriptor keeps what was looked at from being exchanged before it is opened.
    named = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = os.fstat(named)
        _check_file(facts.st_mode)
        if whole and facts.st_size > most:
            raise _too_large(path)
        # Without waiting for whoever has a lease on it (fcntl(2)), or, in /proc, for news in it.
        file = os.open(f"/proc/self/fd/{named}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_on(file, most, facts.st_size)
        finally:
            os.close(file)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(named)


def _check_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def _read_on(file: int, most: int, size: int) -> bytes:
    """Read up to `most` bytes of a file that had a `size`; those in /proc say that they have none."""
    pieces = []
    # In pieces, since memory is had for all that is asked for. One byte more tells that a file has not grown.
    asked = min(most, size + 1 if 0 < size < _PIECE else _PIECE)
    left = size or most
    with suppress(BlockingIOError):  # there is no news
        while asked and (piece := os.read(file, asked)):
            pieces.append(piece)
            most -= len(piece)
            left -= len(piece)
            at_end = left <= 0 and len(piece) < asked
            asked = 0 if at_end else min(most, _PIECE)
    return b"".join(pieces)


def _too_large(path: str) -> OSError:
    return OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
