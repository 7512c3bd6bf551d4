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
import stat

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import pidfile, preflight
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.installation import Installation


def take_over(
    installation: Installation,
    data_directory: str,
    config_file: str | None,
    settings: Settings,
    *,
    left_empty: bool,
) -> None:
    """Have the server that this process starts next replace those of its lock files that are empty.

    `left_empty` says of postmaster.pid that it was empty before it was found that no other server is being started on
    the data directory (`datalock.obstacle`): one that has become so since is another server's.

    Raises OSError if the disk is full.
    """
    if left_empty:
        _fill(os.path.join(data_directory, pidfile.NAME))
    paths: list[str] = []
    # A configuration that cannot be read is for the server to refuse.
    with contextlib.suppress(ConfigurationError, OSError):
        paths = preflight.socket_locks(installation, data_directory, config_file=config_file, settings=settings)
    for path in paths:
        _fill(path)


def _fill(path: str) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # what is not ours to write, or no file at all, the server may not replace either, and says so
    try:
        facts = os.fstat(file)
        if facts.st_size == 0 and stat.S_ISREG(facts.st_mode):
            os.write(file, b"%d\n" % os.getpid())
    finally:
        os.close(file)
