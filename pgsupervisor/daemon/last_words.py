"""What a server said last: the one line of its log that says why it ended."""

from __future__ import annotations

import re

from pgsupervisor.daemon.shortage import names_shortage

_SEVERE = re.compile(r"\b(?:FATAL|PANIC|ERROR): {1,2}\S.*")
"""A message that a server ends with, behind whatever log_line_prefix puts there (src/backend/utils/error/elog.c)."""

_REMARK = re.compile(r"\b(?:LOG|NOTICE|WARNING|INFO|DEBUG\d?|DETAIL|HINT|CONTEXT|STATEMENT|LOCATION): {1,2}")

_NOT_LOADED = re.compile(r"FATAL:  could not load (?:pg_hba\.conf|/.+)")
"""How a server ends that does not take its pg_hba.conf (PostmasterMain in postmaster.c); why stands before it."""

_LOG = re.compile(r"\bLOG:  (.+)")

_TAKEN = re.compile(r"\w+ record cannot match because ")
"""What is said of a rule that is taken all the same, such as hostssl where there is no TLS (hba.c)."""

_RULE = re.compile(r'\bCONTEXT:  line (\d+) of configuration file "(.+)"')

_WHOLE = re.compile(r"could not open |.* contains no entries$")
"""What can be wrong with a file as a whole; there is no line to it."""


def last_words(log: str) -> str:
    """Return the last line that says why, out of what a server wrote since it was started; empty if there is none.

    That is its last FATAL, PANIC or ERROR, or the file, line and reason of its first mistake in pg_hba.conf. The words
    are translated where lc_messages says so; then, and where a program ended before it could log (a library that is
    missing), it is the last line that is no mere remark. Where there are remarks alone, it is the last that names what
    the machine had none of: a postmaster that cannot fork its startup process says no more (postmaster.c).
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    severe = [found[0] for line in lines if (found := _SEVERE.search(line))]
    if severe:
        return (_NOT_LOADED.match(severe[-1]) and _first_mistake(lines)) or severe[-1]
    plain = [line for line in lines if not _REMARK.search(line)]
    lacking = [found[1] for line in lines if (found := _LOG.search(line)) and names_shortage(found[1])]
    return (plain or lacking or [""])[-1]


def _first_mistake(lines: list[str]) -> str:
    """Return why a file of rules was not loaded: its first mistake, or what it has as a whole; empty if unsaid."""
    said = whole = ""
    for line in lines:
        if logged := _LOG.search(line):
            said = logged[1]
            whole = said if _WHOLE.match(said) else whole
        elif (rule := _RULE.search(line)) and not _TAKEN.match(said):
            return f"{rule[2]}:{rule[1]}: {said}"
    return whole
