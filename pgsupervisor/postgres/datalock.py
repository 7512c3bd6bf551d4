"""The data directory's lock, postmaster.pid, as it looks to somebody who wants to start a server.

PostgreSQL starts no server while the process that the file names is alive, and none if it cannot read a number there
(CreateLockFile in src/backend/utils/init/miscinit.c). It looks for that number among the processes that it sees, and
for the server's shared memory. Both are in vain for a server in another container, or on another machine that shares
the disk: a second server starts, and the data are lost. So these are looked for here, before a start:

- A process that works on the data directory and has the number in its own eyes: a single-user backend, or a server in
  a container that we see into.
- Where we do not see everybody, since we are in a container ourselves or the disk may be shared over a network: a
  server that started after this machine (or container) came up, and whose shared memory is not here. Had it been one
  of ours, that would be here still, also after a SIGKILL of everything.

A file that is empty is what a server leaves that was killed between making it and writing into it, or what one has at
this moment that is being started; that one works in the directory already. Where none does, a start takes the file over
(`lockfile`).

A file from before this machine came up proves nothing there: it is what a power cut leaves, and it looks the same if a
server of another machine has been running all the time. PostgreSQL starts over it, and so do we: a file that had to be
removed by hand after each power cut would be removed without a look, sooner or later.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pgsupervisor.postgres import pidfile
from pgsupervisor.postgres.pidfile import PidFile
from pgsupervisor.system import namespaces
from pgsupervisor.system.process import Process, facts, hold
from pgsupervisor.system.remote import remote_filesystem
from pgsupervisor.system.sharedmemory import may_have_been
from pgsupervisor.values import frozen

_NUMBER = re.compile(r"\s*[+-]?0*[1-9]", re.ASCII)
"""What atoi(3) takes for another number than 0."""


@frozen
class Obstacle:
    """What keeps a server from starting, and what to do about it, in words.

    It is gone when `process`, which is held, has ended; in any case when the lock file is another, or removed.
    """

    why: str
    process: Process | None = None

    def close(self) -> None:
        """Let go of the process; it is not ended by that."""
        if self.process is not None:
            self.process.close()


def obstacle(data_directory: str) -> Obstacle | None:
    """Find what keeps a server from starting on a data directory; the caller closes it.

    A server that runs there is none, if its process id is one of ours: `pidfile.postmaster` finds that.

    Raises PermissionError as `pidfile.read` does.
    """
    text = pidfile.text(data_directory)
    if text is None:
        return None
    path = str(Path(data_directory, pidfile.NAME))
    written = pidfile.parse(text)
    if written is None:
        return None if _NUMBER.match(text) or _left_empty(text, data_directory) else Obstacle(_unreadable(path, text))
    holder = _holder(written, data_directory)
    if holder is not None:
        return Obstacle(_held(written, holder, data_directory), holder)
    return Obstacle(_from_elsewhere(path)) if not _all_seen(data_directory) and _started_elsewhere(written) else None


def problem(data_directory: str) -> str | None:
    """Return what keeps a server from starting on a data directory, in words; None if nothing does."""
    found = obstacle(data_directory)
    if found is None:
        return None
    found.close()
    return found.why


def is_foreign(written: PidFile, *, up_since: float, memory_here: bool) -> bool:
    """Tell whether a lock file whose server is not seen here must be another machine's, or another container's.

    `up_since` is when this one came up, in seconds since the epoch, and `memory_here` whether the server's shared
    memory is here, or may have been.
    """
    return written.started is not None and written.started > up_since and not memory_here


def _left_empty(text: str, data_directory: str) -> bool:
    """Tell whether a lock file has been left empty by a server that is no more."""
    return not text and _all_seen(data_directory) and not pidfile.at_work(data_directory)


def _started_elsewhere(written: PidFile) -> bool:
    memory = written.shared_memory
    here = memory is None or may_have_been(memory)
    return is_foreign(written, up_since=namespaces.up_since(), memory_here=here)


def _all_seen(data_directory: str) -> bool:
    """Tell whether we would see the process of every server that can work on the data directory."""
    return namespaces.sees_every_process() and remote_filesystem(os.stat(data_directory).st_dev) is None


def _holder(written: PidFile, data_directory: str) -> Process | None:
    """Hold the process that has locked the data directory; None if there is none, or if it is a server of ours."""
    for pid in namespaces.known_as(abs(written.pid)):
        held = None if pid == written.pid else hold(pid)
        if held is None:
            continue
        # Looked at once it is held: so it is this process that is looked at.
        known = facts(pid)
        if known is not None and pidfile.wrote(known, written, data_directory) and held.alive():
            return held
        held.close()
    return None


def _unreadable(path: str, text: str) -> str:
    wrong = "names no process" if text else "is empty"
    return (
        f"{path} {wrong}, as after a crash of the machine, and PostgreSQL starts no server over that: make sure that "
        "none runs there, and remove the file"
    )


def _held(written: PidFile, holder: Process, data_directory: str) -> str:
    kind, advice = "server", "stop it there"
    if written.pid < 0:
        kind, advice = "single-user backend", "let it finish, or end it"
    where = "" if abs(written.pid) == holder.pid else " in another container"
    return f"a {kind}{where} works on {data_directory}, with the pid {holder.pid}: {advice}"


def _from_elsewhere(path: str) -> str:
    return (
        f"{path} is of a server that was started on another machine, or in another container, with the same disk: stop "
        "it there or, if it is gone, remove the file"
    )
