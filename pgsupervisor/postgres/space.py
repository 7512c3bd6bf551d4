"""Room on the disks of a cluster.

A server that cannot write its log ahead (pg_wal) ends with a PANIC, and cannot finish the crash recovery that follows.
It makes whole segments of the log, and removes one again for which there was no room (XLogFileInitInternal in xlog.c).
So a disk that it died of is not quite full when one looks. What it says about it is in the language of lc_messages.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_SEGMENT = 16 * 1024 * 1024
"""Bytes of a segment of the write-ahead log, unless initdb was told otherwise (DEFAULT_XLOG_SEG_SIZE)."""


def full_disks(data_directory: str) -> list[str]:
    """Return what to do about each disk of a cluster that has no room for a server to go on; empty if all have.

    Those are the disks of the data directory, of pg_wal and of the tablespaces. Room that is kept for root is none.
    """
    found: dict[int, str] = {}
    for path in (data_directory, os.path.join(data_directory, "pg_wal"), *_tablespaces(data_directory)):
        with contextlib.suppress(OSError):
            disk, facts = os.stat(path).st_dev, os.statvfs(path)
            room = facts.f_bavail * facts.f_frsize
            if room < _SEGMENT:
                found.setdefault(disk, f"{room // 1024} kB are left on the disk of {path}: make room there")
            elif facts.f_files and not facts.f_favail:
                found.setdefault(disk, f"no more files can be made on the disk of {path}: remove some")
    return list(found.values())


def _tablespaces(data_directory: str) -> list[str]:
    with contextlib.suppress(OSError):
        return [str(path) for path in Path(data_directory, "pg_tblspc").iterdir()]
    return []
