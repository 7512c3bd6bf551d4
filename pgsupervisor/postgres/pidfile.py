"""postmaster.pid: what a server says of itself, and which process it really is.

A postmaster writes postmaster.pid into its data directory when it starts, rewrites it in place as it goes on, and
removes it when it ends. Its lines are (PostgreSQL's src/include/utils/pidfile.h)::

    1  the postmaster's process id; negative: a single-user backend, which is no server and is never signalled
    2  the data directory
    3  when the postmaster started, in seconds since the epoch
    4  the port
    5  the first Unix socket directory; empty if there is none
    6  the first listen address; empty if there is none
    7  key and id of the System V shared memory segment, which tells of processes that outlived a postmaster
    8  starting, ready, standby (recovers, and takes no connections: hot_standby is off) or stopping

The later lines come later: a server that starts shows an empty file, then some lines, then all. After a power cut
the file of a server long gone may still be there, and its number may by now belong to any other process. So the
file only says where to look; what runs there is told by the process itself (`postmaster`).

The file is never removed here: PostgreSQL does that itself where it is safe, and its removal by another can let two
servers loose on the same data.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path
from typing import Literal, get_args

from pgsupervisor.system.guarded import beginning_of
from pgsupervisor.system.identity import acting
from pgsupervisor.system.process import Facts, Process, at_work_in, facts, hold, is_zombie, works_in
from pgsupervisor.system.safepath import user_name
from pgsupervisor.system.sharedmemory import Segment
from pgsupervisor.values import frozen

NAME = "postmaster.pid"
"""The file's name in the data directory."""

Status = Literal["starting", "ready", "standby", "stopping"]
"""What a server says it is doing, in line 8."""

_STATUSES: dict[str, Status] = {status: status for status in get_args(Status)}

_PID = re.compile(r"\s*(-?[1-9][0-9]{0,8})\s*", re.ASCII)

_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,18}\s*", re.ASCII)
"""What is read as a number, so that it fits 64 bits."""

_MOST = 8192
"""Bytes that a server would write at most (BLCKSZ, in AddToDataDirLockFile in miscinit.c)."""

_NO_FILE = {errno.EISDIR, errno.EINVAL, errno.ELOOP}
"""What is there instead: a directory, a FIFO or a device, a symbolic link to itself."""

_PROGRAMS = {"postgres", "postmaster", "edb-postgres", ".postgres-wrapped"}
"""What the server's program is called, by PostgreSQL and by packagers (EDB, Nix)."""

_START_TOLERANCE = 3
"""Seconds between a process's start and the time that it writes in line 3, at most (pg_ctl allows as much)."""


@frozen
class PidFile:
    """What postmaster.pid says; None for what is not written yet, or empty.

    `pid` is negative for a single-user backend. `started` is in seconds since the epoch. `shared_memory` is key and
    id of the server's System V segment.
    """

    pid: int
    data_directory: str | None
    started: int | None
    port: int | None
    socket_directory: str | None
    listen_address: str | None
    shared_memory: Segment | None
    status: Status | None


def parse(text: str) -> PidFile | None:
    """Read the text of a postmaster.pid; None if it is empty, half written or no such text at all.

    A line counts once its line end is there: the number 12 may be the first half of 1234.
    """
    lines = text.split("\n")[:-1]
    lines += [""] * (8 - len(lines))
    pid = _PID.fullmatch(lines[0])
    if pid is None:
        return None
    memory = [_number(word) for word in lines[6].split()]
    return PidFile(
        pid=int(pid[1]),
        data_directory=lines[1] or None,
        started=_number(lines[2]),
        port=_number(lines[3]),
        socket_directory=lines[4] or None,
        listen_address=lines[5] or None,
        shared_memory=(memory[0], memory[1]) if len(memory) == 2 and memory[0] and memory[1] else None,  # noqa: PLR2004 - key and id
        status=_STATUSES.get(lines[7].strip()),
    )


def _number(text: str) -> int | None:
    """Return a line that is a number as that number."""
    return int(text) if _NUMBER.fullmatch(text) else None


def read(data_directory: str) -> PidFile | None:
    """Read the postmaster.pid of a data directory; None if there is none, or nothing in it that could be read as one.

    Raises PermissionError as `text` does.
    """
    found = text(data_directory)
    return None if found is None else parse(found)


def text(data_directory: str) -> str | None:
    """Return the text of the postmaster.pid of a data directory; None if there is none.

    What has the name and is no file has a text that is none of a server's, and that of a large one is cut off.

    Raises PermissionError, with what to do next, if it is not ours to read: that is no "not running".
    """
    path = os.path.join(data_directory, NAME)
    try:
        return beginning_of(path, _MOST).decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        why = "may not be read, so nobody can tell whether a server runs there; ask as root or as the directory's owner"
        raise PermissionError(errno.EACCES, why, path) from error
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return "\0"


def postmaster(data_directory: str) -> Process | None:
    """Find the server that runs on a data directory, and hold it; the caller closes what it gets.

    None if no server runs there. The process must be told apart from a stranger that has the number by now, so its
    pidfd is opened first, then its own facts are looked at, then the file once more. A zombie is not running.

    Raises PermissionError as `read` does, and for the server of another user than the one as whom root looks for it.
    """
    written = read(data_directory)
    if written is None or written.pid < 0:
        return None
    held = hold(written.pid)
    if held is None:
        return None
    with contextlib.ExitStack() as on_mismatch:
        on_mismatch.callback(held.close)
        known = facts(written.pid)
        if known is None or not wrote(known, written, data_directory) or not held.alive():
            return None
        again = read(data_directory)
        if again is None or (again.pid, again.started) != (written.pid, written.started):
            return None
        if is_anothers(known):
            why = f"names a server of {user_name(known.uid)}'s, which is left alone; see where the directory leads"
            raise PermissionError(errno.EACCES, why, os.path.join(data_directory, NAME))
        on_mismatch.pop_all()
        return held


def is_anothers(known: Facts) -> bool:
    """Tell whether a process is not of the user as whom root looks for it.

    He may write what he likes into a postmaster.pid, and have a link in the place of his directory a moment later: so
    it would be somebody else's server that root gets hold of for him, to stop and to kill.
    """
    who = acting()
    return who is not None and known.uid != who.uid


def wrote(known: Facts, written: PidFile, data_directory: str) -> bool:
    """Tell whether a process, which has the number in the file, is the postmaster or single-user backend that wrote it.

    Either works in its data directory (ChangeToDataDir in miscinit.c) and runs `postgres`. Both together are
    proof; its start time is none, since it moves with the wall clock. Only where the process belongs to another
    user, so that we cannot look, the start time and the owner must do.
    """
    try:
        in_place = works_in(known.pid, data_directory)
        if in_place is not None and known.executable is not None:
            return in_place and _runs_postgres(known.executable)
        return (
            written.started is not None
            and abs(known.started - written.started) <= _START_TOLERANCE
            and known.uid == Path(data_directory).stat().st_uid
        )
    except (FileNotFoundError, NotADirectoryError):
        return False


def at_work(data_directory: str) -> bool:
    """Tell whether any process of PostgreSQL that we see works in a data directory."""
    found = map(facts, at_work_in(data_directory))
    return any(known is not None and (known.executable is None or _runs_postgres(known.executable)) for known in found)


def of_pg_upgrade(server: Process) -> bool:
    """Tell whether pg_upgrade has started a server for its own use (`-b`; start_postmaster in pg_upgrade's server.c).

    It starts and stops the servers of both clusters several times, and whoever starts one in between ruins its work.
    """
    return "-b" in server.arguments()


def ignoring(leftover: PidFile | None, data_directory: str) -> dict[str, str]:
    """Return the environment variables with which a server can start over a postmaster.pid that was left behind.

    If some process of the server's user has the number in it by now, the server would take that for another server and
    refuse to start, unless it is told that it is its grandparent (PG_GRANDPARENT_PID, meant for pg_ctl; CreateLockFile
    in miscinit.c). It is told so only of what is certainly no server of this data directory: a dead one that its parent
    has not reaped yet, another program, or a server that works elsewhere. Its other lock, the shared memory, stays in
    force. `leftover` must have been read before it was found that no server runs.
    """
    if leftover is None:
        return {}
    pid = abs(leftover.pid)
    known = facts(pid)
    if not (is_zombie(pid) if known is None else _is_another(known, data_directory)):
        return {}
    return {"PG_GRANDPARENT_PID": str(pid)}


def _is_another(known: Facts, data_directory: str) -> bool:
    """Tell whether a process is certainly no server of a data directory, nor one of its processes."""
    if known.executable is None:
        return False
    try:
        return not _runs_postgres(known.executable) or works_in(known.pid, data_directory) is False
    except FileNotFoundError:
        return False


def _runs_postgres(executable: str) -> bool:
    """Tell whether a program is the server."""
    return Path(executable).name in _PROGRAMS
