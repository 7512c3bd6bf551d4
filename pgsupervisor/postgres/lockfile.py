"""Lock files that a server has left empty: postmaster.pid, and the one beside each Unix socket.

A server makes such a file and then writes into it (CreateLockFile in src/backend/utils/init/miscinit.c). If it is
killed between the two, the file stays empty, and PostgreSQL starts no server over that: another might be about to
write. That is not as rare as it seems. Whoever watches the directory, as we do, is woken between the two, and takes the
processor: of 300 servers that were killed in their first 40 ms, 14 left an empty postmaster.pid, and 9 an empty lock
file of their socket.

A file is never removed here. It is given what makes PostgreSQL replace it: our process id, for a server takes its own
parent for no other server. It is appended, so a server that somebody else starts at this moment writes over it, or has
written already, and keeps its file.
"""

from __future__ import annotations

import contextlib
import os

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import pidfile, preflight
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.installation import Installation


def take_over(
    installation: Installation, data_directory: str, *, config_file: str | None = None, settings: Settings | None = None
) -> None:
    """Have the server that this process starts next replace those of its lock files that are empty.

    It must be known that no other is being started on the data directory (`datalock.obstacle`). Raises OSError if the
    disk is full.
    """
    _fill(os.path.join(data_directory, pidfile.NAME))
    paths: list[str] = []
    # A configuration that cannot be read is for the server to refuse.
    with contextlib.suppress(ConfigurationError, OSError):
        paths = preflight.socket_locks(installation, data_directory, config_file=config_file, settings=settings)
    for path in paths:
        _fill(path)


def _fill(path: str) -> None:
    # What is not ours to write, the server may not replace either, and says so.
    with contextlib.suppress(FileNotFoundError, PermissionError):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            if os.fstat(file).st_size == 0:
                os.write(file, b"%d\n" % os.getpid())
        finally:
            os.close(file)
