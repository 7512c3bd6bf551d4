"""What keeps a server down from outside: the machine has no more of something, or a disk is not there.

None of it is a mistake in the cluster, and all of it passes: space is freed, a limit is raised, a disk is mounted. So a
server that falls for such a cause is tried again for as long as that lasts, and comes back by itself.
"""

from __future__ import annotations

import errno
import os

_SHORTAGES = (
    errno.EAGAIN,  # of processes, for fork(2), or of memory that may be locked
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOSPC,  # of space on a disk, or of semaphores (semget(2))
    errno.EROFS,  # what the kernel makes of a disk with errors
)

_WORDS = (
    *(os.strerror(number) for number in _SHORTAGES),
    "insufficient file descriptors",  # set_max_safe_fds in fd.c
)

_ADVICE = {
    errno.EAGAIN: "raise the limit of processes (ulimit -u, TasksMax, pids.max), or end some",
    errno.EMFILE: "raise the daemon's limit of open files (ulimit -n, LimitNOFILE)",
    errno.ENFILE: "raise fs.file-max",
}


def names_shortage(text: str) -> bool:
    """Tell whether an error's text, in English, says that the machine has no more of something."""
    return any(word in text for word in _WORDS)


def passes(error: OSError) -> bool:
    """Tell whether what the machine refused us may be had another time."""
    return error.errno in {*_SHORTAGES, errno.ENOENT}


def refusal(error: OSError) -> str:
    """Say what the machine refused us, and what to do about it."""
    advice = _ADVICE.get(error.errno or 0)
    return str(error) if advice is None else f"{error.strerror}: {advice}"


def absence(data_directory: str) -> str | None:
    """Return what to do where a data directory is missing or empty, as the mount point of a disk that is late is.

    None if there is anything in it.
    """
    try:
        with os.scandir(data_directory) as entries:
            empty = not any(entries)
    except FileNotFoundError:
        return f"{data_directory} does not exist: mount its disk, or make it with initdb"
    except OSError:
        return None  # whatever it is, it is there
    return f"{data_directory} is empty: mount its disk, or make a cluster there with initdb" if empty else None
