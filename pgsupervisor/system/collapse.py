"""A file that loses its beginning while others append to it: what the kernel can do, and how to tell that it has.

fallocate(2) can take whole blocks out of a file (FALLOC_FL_COLLAPSE_RANGE): all that follows moves up, and the file
becomes shorter. Whoever appends (O_APPEND) notices nothing, since the kernel does one thing at a time to a file. Only
ext4 and xfs do it; every other file system can but be emptied (ftruncate(2)), with whatever was appended a moment ago.

Whether a beginning has been taken off already cannot be told by what the file says: the next lines may well be the same
ones. But a file whose beginning is gone begins in another block of the disk (ioctl_fiemap(2)).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from pgsupervisor.system.archives import GUARDED
from pgsupervisor.system.remote import filesystem

_COLLAPSE_RANGE = 0x08
"""FALLOC_FL_COLLAPSE_RANGE (linux/falloc.h)."""

_FAR = 1 << 40
"""An offset that no log reaches: nothing can be taken off there, and to ask for it is refused as such."""

_FIEMAP = 0xC020660B
"""FS_IOC_FIEMAP (linux/fs.h)."""

_SYNC = 1
"""FIEMAP_FLAG_SYNC (linux/fiemap.h): what is only in memory gets its place on the disk first."""

_REQUEST = struct.Struct("=QQLLLL")
"""struct fiemap: start, length, flags; then what the kernel fills in, how many extents fit, and a reserved word."""

_EXTENT = struct.Struct("=QQQ32x")
"""struct fiemap_extent: where it is in the file, where on the disk, how long; and what is of no interest here."""

_collapsing: set[tuple[int, int]] = set()
"""File systems that were seen to take off the beginning of a file, by st_dev and f_fsid (statvfs(3)).

To try it costs ext4 half a millisecond, and in the next minutes each file that is made there: the number of one that
has just been removed is passed over for a while (recently_deleted in ext4's ialloc.c).
"""

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_fallocate.restype = ctypes.c_int


def collapses(descriptor: int) -> bool:
    """Tell whether the file can lose its beginning; it must be open for writing, and only its times are changed.

    Raises OSError if nothing may be taken off this one.
    """
    try:
        _collapse(descriptor, _FAR, block_size(descriptor))
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.ENOSYS}:
            return False
        if error.errno != errno.EINVAL:
            raise
    return True


def danger(log: str) -> str:
    """Say why a log at this path cannot be rotated without the danger of losing lines; empty if it can.

    A file without a name is tried, as ext4 takes it for a change of a file that this is asked of it. Where there are no
    such files, it is the log. Raises OSError if we may not write there.
    """
    directory = os.path.dirname(log)
    found = os.stat(directory).st_dev, os.statvfs(directory).f_fsid
    if found in _collapsing and os.access(directory, os.W_OK, effective_ids=True):
        return ""
    try:
        descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
            raise
        descriptor = os.open(log, os.O_WRONLY | GUARDED)
    try:
        if collapses(descriptor):
            _collapsing.add(found)
            return ""
        kind = filesystem(os.fstat(descriptor).st_dev) or "its filesystem"
    finally:
        os.close(descriptor)
    return f"rotating the log may lose lines, as {kind} cannot take off the beginning of a file (ext4 and xfs can)"


def block_size(descriptor: int) -> int:
    """Return the size in bytes of the blocks of the file system; only whole ones can be taken off."""
    return os.fstatvfs(descriptor).f_bsize


def take_off(descriptor: int, size: int) -> None:
    """Take the first `size` bytes, whole blocks, off a file, which must have more than these.

    Raises OSError.
    """
    _collapse(descriptor, 0, size)


def first_block(descriptor: int) -> int:
    """Return where on the disk the file begins, in bytes; 0 if that cannot be told. Writes the file to the disk.

    Raises OSError if it cannot be written.
    """
    request = bytearray(_REQUEST.pack(0, 1, _SYNC, 0, 1, 0) + bytes(_EXTENT.size))
    try:
        fcntl.ioctl(descriptor, _FIEMAP, request)
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.ENOTTY}:
            return 0
        raise
    found: int = _REQUEST.unpack_from(request)[3]
    place: int = _EXTENT.unpack_from(request, _REQUEST.size)[1]
    return place if found else 0


def _collapse(descriptor: int, start: int, size: int) -> None:
    if _fallocate(descriptor, _COLLAPSE_RANGE, start, size) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
