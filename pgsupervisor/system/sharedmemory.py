"""System V shared memory: who is still attached to a segment.

A segment outlives the processes that made it, and the kernel counts who is attached (proc(5), /proc/sysvipc/shm). Which
processes these are, their memory maps tell: there a segment stands as `/SYSV` with its key, and its id is the inode.
"""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path
from typing import TypeAlias

from pgsupervisor.system.identity import as_ourselves

Segment: TypeAlias = tuple[int, int]
"""Key and id. Of the key 32 bits count; whether they are written with a sign depends on who writes."""

_ALL_BITS = 0xFFFFFFFF

_libc = ctypes.CDLL(None, use_errno=True)


def attached(segment: Segment) -> int:
    """Return how many processes are attached to a segment; 0 if there is no such segment, or nobody may know."""
    # The table has everybody's segments, and after a shutdown, as a rule, not this one.
    return _attached().get(_plain(segment), 0) if _is_any(segment[0]) else 0


def in_use(key: int) -> Segment | None:
    """Return the segment with a key to which anybody is attached; None if there is none."""
    wanted = key & _ALL_BITS
    if not _is_any(key):
        return None
    return next((each for each, count in _attached().items() if count and each[0] == wanted), None)


def may_have_been(segment: Segment) -> bool:
    """Tell whether a segment is here, or may have been and is gone by itself.

    It stays when all that used it were killed, unless the kernel is told otherwise (shm_rmid_forced, proc(5)).
    """
    try:
        kept = Path("/proc/sys/kernel/shm_rmid_forced").read_text(encoding="ascii").strip() == "0"
    except FileNotFoundError:  # a kernel that cannot be told otherwise
        kept = True
    return not kept or _plain(segment) in _attached()


@as_ourselves()
def is_attached(pid: int, segment: Segment) -> bool:
    """Tell whether a process is attached to a segment; False if it has ended.

    Raises PermissionError if it is not ours to know.
    """
    key, number = segment
    named = b"/SYSV%08x" % (key & _ALL_BITS)
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            # address, permissions, offset, device, inode, and what is mapped: a path may have any bytes but a line end
            mapped = (line.split(maxsplit=5) for line in maps if named in line)
            return any(each[4] == b"%d" % number for each in mapped)
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_any(key: int) -> bool:
    """Tell whether there is a segment with a key, or nobody can say."""
    # Nothing is asked of the segment but its id, which takes no permission (shmget(2)).
    return bool(_libc.shmget(ctypes.c_int(key), ctypes.c_size_t(0), 0) >= 0) or ctypes.get_errno() != errno.ENOENT


def _attached() -> dict[Segment, int]:
    """Return how many processes are attached to each segment that there is."""
    try:
        lines = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:  # a kernel without System V shared memory
        return {}
    return {_plain((int(each[0]), int(each[1]))): int(each[6]) for each in map(str.split, lines)}


def _plain(segment: Segment) -> Segment:
    """Return a segment with its key as it is written without a sign."""
    return segment[0] & _ALL_BITS, segment[1]
