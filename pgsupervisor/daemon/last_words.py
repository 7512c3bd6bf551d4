"""What a server said last: the one line of its log that says why it ended."""

from __future__ import annotations

import re

_SEVERE = re.compile(r"\b(?:FATAL|PANIC|ERROR): {1,2}\S.*")
"""A message that a server ends with, behind whatever log_line_prefix puts there (src/backend/utils/error/elog.c)."""

_REMARK = re.compile(r"\b(?:LOG|NOTICE|WARNING|INFO|DEBUG\d?|DETAIL|HINT|CONTEXT|STATEMENT|LOCATION): {1,2}")


def last_words(log: str) -> str:
    """Return the last line that says why, out of what a server wrote since it was started; empty if there is none.

    That is its last FATAL, PANIC or ERROR. The words are translated where lc_messages says so; then, and where a
    program ended before it could log (a library that is missing), it is the last line that is no mere remark.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    severe = [found[0] for line in lines if (found := _SEVERE.search(line))]
    if severe:
        return severe[-1]
    plain = [line for line in lines if not _REMARK.search(line)]
    return plain[-1] if plain else ""
