"""A line of a server's log: when it was written, as far as it says so.

What stands before a message is the administrator's to choose (log_line_prefix); by default it begins with the time
(%m), and Debian does it likewise. csvlog and jsonlog always have it. It is written in the time zone log_timezone, with
that zone's abbreviation, which alone says little: IST is three zones. (PostgreSQL manual, "Error Reporting and
Logging"; setup_formatted_log_time in elog.c.)
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from pgsupervisor.system.identity import as_ourselves

_SEARCHED = 512
"""Bytes at the beginning of a line in which the time is looked for: a message further on may speak of another."""

_TIME = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?) ([A-Za-z]{1,5}\b|[+-]\d\d(?::?\d\d)?)")
"""%m and %t."""

_EPOCH = re.compile(rb"(?<![\d.-])(\d{9,11}\.\d{3})(?![\d.-])")
"""%n."""

_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)?")

DEFAULT_PREFIX = "%m [%p] "
"""log_line_prefix where nobody sets it."""

_TIMED = re.compile(r"%-?\d*[mtn]")


def says_when(prefix: str) -> bool:
    """Tell whether a log_line_prefix has lines say when they were written: by %m, %t or %n."""
    return _TIMED.search(prefix.replace("%%", "")) is not None


@as_ourselves()
def zone_named(name: str) -> tzinfo | None:
    """Return a time zone by the name that PostgreSQL has for it; None if this machine does not know it."""
    # One that the system does not know is looked for among Python's modules, which another user might not read.
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # PostgreSQL does not care for case (pg_open_tzfile in pgtz.c).
        known = next((each for each in zoneinfo.available_timezones() if each.lower() == name.lower()), None)
        return None if known is None else zoneinfo.ZoneInfo(known)


def moment(line: bytes, zone: tzinfo | None, *, csv: bool = False) -> float | None:
    """Return when a line was written, as a Unix time, with log_timezone being `zone` (None: that of this machine).

    None if the line does not say; it may be part of a message that has several lines, and speak of another time. In
    plain text, all but the first of these begin with a tab (append_with_tabs in elog.c). In `csv` they are as they were
    sent, and it is the line's first field that says when it was written.
    """
    if line.startswith(b"	"):
        return None
    beginning = line[:_SEARCHED]
    found = _TIME.match(beginning) if csv else _TIME.search(beginning)
    epoch = None if csv else _EPOCH.search(beginning)
    if epoch is not None and (found is None or epoch.start() < found.start()):
        return float(epoch[1])
    if found is None:
        return None
    try:
        local = datetime.fromisoformat(found[1].decode("ascii"))
        return _in(local, found[2].decode("ascii"), zone).timestamp()
    except (ValueError, OverflowError):  # such as the 31st of June
        return None


def _in(local: datetime, abbreviation: str, zone: tzinfo | None) -> datetime:
    """Return a time in the zone of the abbreviation behind it."""
    if abbreviation in {"UTC", "GMT"}:
        return local.replace(tzinfo=UTC)
    offset = _OFFSET.fullmatch(abbreviation)
    if offset is not None:
        east = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return local.replace(tzinfo=timezone(east if offset[1] == "+" else -east))
    # In the hour that comes twice when clocks are put back, only the abbreviation tells which one it is.
    first, second = (
        local.replace(fold=fold).astimezone() if zone is None else local.replace(tzinfo=zone, fold=fold)
        for fold in (0, 1)
    )
    return second if first.tzname() != abbreviation == second.tzname() else first
