"""The logging collector: where a server logs to that has one.

With `logging_collector` on, a process of the server's takes what all others write, and writes it to files of its own,
which it changes by time and by size. What the server's standard error leads to sees no more then. Which files these
are at the moment stands in current_logfiles in the data directory, a line for each kind of log_destination
(PostgreSQL manual, pg_current_logfile; update_metainfo_datafile in syslogger.c). A server that is started without a
collector removes that file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "current_logfiles"

_KINDS = ("stderr", "csvlog", "jsonlog")
"""What a file can have, in the order in which it is read best."""


def current_logfile(data_directory: str) -> str | None:
    """Return the absolute path of the file that the collector of a cluster writes to, by its last word; None: of none.

    Of several it is the one that is read best: plain text, else csvlog, else jsonlog. Raises OSError if the data
    directory cannot be read.
    """
    try:
        lines = Path(data_directory, NAME).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except FileNotFoundError:
        return None
    named = dict(line.split(" ", 1) for line in lines if " " in line)
    path = next((named[kind] for kind in _KINDS if kind in named), None)
    return None if path is None else os.path.join(data_directory, path)


def logfiles(current: str) -> list[str]:
    """Return the files of the same kind beside the `current` one, in the order in which they were written, that last.

    Raises OSError.
    """
    directory, suffix = os.path.dirname(current), os.path.splitext(current)[1]
    written: dict[str, int] = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if path != current and os.path.splitext(name)[1] == suffix:
            with contextlib.suppress(FileNotFoundError):  # removed in this moment
                written[path] = os.lstat(path).st_mtime_ns
    return [*sorted(written, key=lambda path: (written[path], path)), current]
