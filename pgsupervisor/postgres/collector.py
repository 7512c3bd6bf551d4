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
import re

from pgsupervisor.system.guarded import beginning_of

NAME = "current_logfiles"

_KINDS = ("stderr", "csvlog", "jsonlog")
"""What a file can have, in the order in which it is read best."""

_MOST = 8192
"""Bytes that are read of that file: it has a line for each of these, and in it a path of at most 1 KiB."""

_VARIES = re.compile(
    r"\d+|(?<![a-z])(?:(?:sun|mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?)(?:day)?"
    r"|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:tember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|[ap]m)(?![a-z])",
    re.IGNORECASE,
)
"""What of a file's name a date or a time may have made (strftime(3); the server's language is C there)."""


def current_logfile(data_directory: str) -> str | None:
    """Return the absolute path of the file that the collector of a cluster writes to, by its last word; None: of none.

    Of several it is the one that is read best: plain text, else csvlog, else jsonlog. Raises OSError if the data
    directory cannot be read.
    """
    try:
        said = beginning_of(os.path.join(data_directory, NAME), _MOST).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    named = dict(line.split(" ", 1) for line in said.split("\n") if " " in line and "\0" not in line)
    path = next((named[kind] for kind in _KINDS if kind in named), None)
    return None if path is None else os.path.join(data_directory, path)


def logfiles(current: str) -> list[str]:
    """Return the files that are named like the `current` one, in the order in which they were written, that last.

    Their names differ in what is a date or a time (log_filename). Others in the directory may be another server's.
    Raises OSError.
    """
    directory, shape = os.path.dirname(current), _shape(os.path.basename(current))
    written: dict[str, int] = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if path != current and _shape(name) == shape:
            with contextlib.suppress(FileNotFoundError):  # removed in this moment
                written[path] = os.lstat(path).st_mtime_ns
    return [*sorted(written, key=lambda path: (written[path], path)), current]


def _shape(name: str) -> str:
    return _VARIES.sub("*", name)
