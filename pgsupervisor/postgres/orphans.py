"""Orphaned backends: processes of a server whose postmaster has ended, and which keep another from starting.

A postmaster that is killed cannot end its processes. One that waits for a client notices at once that it is alone, and
ends; one that computes does not look up until it is done, which may be never. While one of them lives, data could be
written behind a new server's back, so PostgreSQL starts none: "pre-existing shared memory block is still in use"
(PGSharedMemoryIsInUse in src/backend/port/sysv_shmem.c). It goes by the System V segment that postmaster.pid names.

So do we. An orphan is a process that is attached to that segment and works in the data directory; its name proves
nothing. A single-user backend, and a postmaster that somebody starts at this moment, have segments of their own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pgsupervisor.postgres.pidfile import is_anothers
from pgsupervisor.system.process import Process, at_work_in, facts, hold, works_in
from pgsupervisor.system.sharedmemory import Segment, attached, in_use, is_attached


def left_behind(data_directory: str, segment: Segment | None) -> list[Process]:
    """Hold the processes of a server whose postmaster has ended that are still there; the caller closes them.

    `segment` is that server's shared memory, learnt before it was found that no server runs on the data directory: what
    postmaster.pid says now may be another's. A process that is not ours to look at is not found.
    """
    if segment is None or not attached(segment):
        return []
    orphans = []
    for pid in at_work_in(data_directory):
        process = hold(pid)
        if process is None:
            continue
        # Looked at once it is held: so it is this process that is looked at.
        if _belongs(process, data_directory, segment):
            orphans.append(process)
        else:
            process.close()
    return orphans


def segment_of(data_directory: str) -> Segment | None:
    """Return the shared memory of the server that worked on a data directory last, where no postmaster.pid tells.

    A server makes its key of the directory's inode (PGSharedMemoryCreate in src/backend/port/sysv_shmem.c), or of a
    number soon after, if that key is somebody else's: such a one is not found.
    """
    try:
        return in_use(os.stat(data_directory).st_ino)
    except OSError:
        return None


def postmaster_among(processes: Sequence[Process], written: int | None) -> Process | None:
    """Return the one of some processes of a server that is its postmaster, so that none of them is an orphan.

    `written` is the number in its postmaster.pid. `pidfile.postmaster` does not find it if that file is gone, or if its
    program has been moved away under it.
    """
    parents = {known.parent for process in processes if (known := facts(process.pid)) is not None}
    return next((process for process in processes if process.pid == written or process.pid in parents), None)


def _belongs(process: Process, data_directory: str, segment: Segment) -> bool:
    """Tell whether a process that is held uses a server's shared memory and works in its data directory."""
    try:
        at_work = works_in(process.pid, data_directory)
        known = facts(process.pid)
        ours = known is not None and not is_anothers(known)
        return at_work is True and ours and is_attached(process.pid, segment) and process.alive()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError, PermissionError):
        return False
