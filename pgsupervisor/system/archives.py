"""The older parts of a log: `NAME.1` is the youngest, `NAME.2` is older, and one with `.gz` behind it is compressed.

Put together from the highest number down, and the log itself at last, they are what was written, byte for byte. Where
one ends and the next begins is where a block of the disk does, so a line may begin in one and end in the next.

Whatever is done to them is done so that it can be done again from the beginning, should we be killed in between: a name
means a whole file or nothing, and is only given away after it was freed.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import tempfile
import zlib
from itertools import count
from typing import BinaryIO

GUARDED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How a file is opened in a log directory that others can write to: a symlink must not lead root elsewhere, and a
FIFO without another end must not hold us up."""

_COMPRESSED = ".gz"

_TRAILER = 4
"""Bytes at the end of a compressed file that say how long it was (RFC 1952), modulo 4 GiB."""

_CHUNK = 1 << 20

_TOO_LARGE = 1 << 32
"""Bytes of an archive that is not compressed, as nobody could tell its size then."""


def archives(log: str) -> list[str]:
    """Return the paths of the archives of a log, the youngest first.

    They are looked for by their names, up to the first number that is free: in a directory with the logs of a thousand
    servers, to list it for each of them would take longer than all else.
    """
    found: list[str] = []
    for number in count(1):
        archive = f"{log}.{number}"
        # Of one that is there twice, since its compression was cut off, the plain one is taken.
        path = next((path for path in (archive, archive + _COMPRESSED) if os.path.lexists(path)), None)
        if path is None:
            break
        found.append(path)
    return found


def make_room(log: str) -> None:
    """Have no archive with the number 1, by adding 1 to the numbers of all, from the highest down."""
    numbered = list(enumerate(archives(log), start=1))
    for number, path in reversed(numbered):
        os.rename(path, f"{log}.{number + 1}{_COMPRESSED if path.endswith(_COMPRESSED) else ''}")


def remove_beyond(log: str, most: int) -> None:
    """Remove all archives but the `most` youngest, the oldest first."""
    for path in reversed(archives(log)[most:]):
        os.unlink(path)


def remove_doubles(log: str) -> None:
    """Remove the compressed archives that are there plain as well."""
    for path in plain(log):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + _COMPRESSED)


def plain(log: str) -> list[str]:
    """Return the paths of the archives that are not compressed, the oldest first."""
    return [path for path in reversed(archives(log)) if not path.endswith(_COMPRESSED)]


def compressible(log: str) -> list[str]:
    """Return the paths of the archives that can be compressed, and are not, the oldest first.

    Raises OSError.
    """
    return [path for path in plain(log) if size_of(path) < _TOO_LARGE]


def compress(archive: str, into: int) -> None:
    """Write an archive into a file that is open, compressed, and bring that to the disk; it is as old as the archive.

    Raises OSError.
    """
    with open_guarded(archive) as source, open(into, "wb", closefd=False) as file:
        with gzip.GzipFile(os.path.basename(archive), "wb", fileobj=file, mtime=0) as packed:
            shutil.copyfileobj(source, packed, _CHUNK)
        file.flush()
        facts = os.fstat(source.fileno())
        os.utime(into, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.fsync(into)


def replace_by_compressed(archive: str, compressed: str) -> None:
    """Have a file in the place of the archive that was compressed into it."""
    os.rename(compressed, archive + _COMPRESSED)
    os.unlink(archive)


def open_archive(path: str) -> BinaryIO:
    """Open an archive for reading at any place; one that is compressed is unpacked into a file without a name.

    An archive belongs to whom its log belongs, who can put anything there: it is unpacked only as far as it says how
    long it is, and so that others have room as well.

    Raises OSError, also for one that is compressed and damaged.
    """
    source = open_guarded(path)
    if not path.endswith(_COMPRESSED):
        return source
    with source, contextlib.ExitStack() as failed:
        size = _size_in(source, compressed=True)
        if size > shutil.disk_usage(tempfile.gettempdir()).free // 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        unpacked = failed.enter_context(tempfile.TemporaryFile())
        try:
            _unpack(source, size, unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise gzip.BadGzipFile(f"{path} is damaged") from error
        unpacked.seek(0)
        failed.pop_all()
    return unpacked


def _unpack(source: BinaryIO, size: int, into: BinaryIO) -> None:
    """Unpack a file whose unpacked content has that size; what is no such file is refused before it takes long.

    Raises EOFError, zlib.error and gzip.BadGzipFile.
    """
    # What cannot be compressed becomes longer by 5 bytes in 64 KiB (RFC 1951), and there is a header.
    if os.fstat(source.fileno()).st_size > size + size // 1000 + 1000:
        raise gzip.BadGzipFile
    source.seek(0)
    with gzip.GzipFile(fileobj=source) as packed:
        while piece := packed.read(min(_CHUNK, size + 1)):
            size -= len(piece)
            if size < 0:
                raise gzip.BadGzipFile
            into.write(piece)


def size_of(path: str) -> int:
    """Return how many bytes of the log are in an archive."""
    with open_guarded(path) as file:
        return _size_in(file, compressed=path.endswith(_COMPRESSED))


def _size_in(file: BinaryIO, *, compressed: bool) -> int:
    size = file.seek(0, os.SEEK_END)
    if not compressed or size < _TRAILER:
        return size
    file.seek(size - _TRAILER)
    return int.from_bytes(file.read(_TRAILER), "little")


def open_guarded(path: str) -> BinaryIO:
    """Open a log, or an archive as it is, for reading; neither a symlink nor a FIFO can do us harm.

    Raises OSError.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | GUARDED), "rb")
