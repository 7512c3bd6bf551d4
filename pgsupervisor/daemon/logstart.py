"""Where to begin to read a cluster's log: all of it blocks, and runs in a thread.

What is at one moment the end of the log, a rotation may have moved a moment later; so the log is held still until there
is a position, which no rotation changes.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import partial

from pgsupervisor.daemon.following import CollectorReader, Reader, open_collected
from pgsupervisor.errors import LogUntimedError
from pgsupervisor.inventory.check import configured_by_files
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres.collector import current_logfile, logfiles
from pgsupervisor.postgres.logline import DEFAULT_PREFIX, moment, says_when, zone_named
from pgsupervisor.postgres.owner import touched_by
from pgsupervisor.supervision.kept import LogSource, LogStart
from pgsupervisor.system.identity import User, acting_as
from pgsupervisor.system.logparts import Part, first_since, last_lines
from pgsupervisor.system.logreader import LogReader
from pgsupervisor.system.rotation import RotatedLog, parts

_ABOUT_TIME = ("log_timezone", "log_line_prefix")
"""The settings that say how the time stands in a line."""


def readers(log: RotatedLog | None, spec: ClusterSpec, start: LogStart, *, follow: bool) -> Mapping[LogSource, Reader]:
    """Return what reads the log from there on, for each place to which the server writes it; two if it is followed.

    Raises OSError if there is nothing to read, LogUntimedError, and ValueError if it begins at no position.
    """
    owner = touched_by(spec.data_directory, spec.user)
    with acting_as(owner):
        return _readers(log, spec, start, owner, follow=follow)


def _readers(
    log: RotatedLog | None, spec: ClusterSpec, start: LogStart, owner: User | None, *, follow: bool
) -> Mapping[LogSource, Reader]:
    files = _collected(spec.data_directory)
    found: dict[LogSource, list[Part]] = {}
    if files and (collected := _one_after_the_other(files, owner)):
        found["collector"] = collected
    with nullcontext() if log is None else log.held_still():
        with suppress(FileNotFoundError):
            if log is not None:
                found["logfile"] = parts(log.path)
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), None if log is None else log.path)
        begins = _resumed(found, start.position) if start.position is not None else _begins(found, start, spec)
    if not follow and start.since is None:
        begins = {source: begins[source] for source in (_newest(found),)}
    reading: dict[LogSource, Reader] = {}
    if log is not None and "logfile" in begins:
        reading["logfile"] = LogReader(log, begins["logfile"])
    if "collector" in begins:
        part = next(each for each in reversed(found["collector"]) if each.begin <= begins["collector"])
        reading["collector"] = CollectorReader(spec.data_directory, owner, part.path, begins["collector"] - part.begin)
    elif files is not None and follow:
        reading["collector"] = CollectorReader(spec.data_directory, owner)
    return reading


def encoded(places: Mapping[LogSource, str]) -> str:
    """Return a position in a log, of which each reader is at its own place."""
    return json.dumps(places)


def _begins(found: Mapping[LogSource, list[Part]], start: LogStart, spec: ClusterSpec) -> dict[LogSource, int]:
    """Return the positions at which to begin.

    Raises OSError and LogUntimedError.
    """
    ends = {source: each[-1].end for source, each in found.items()}
    if start.since is None:
        newest = _newest(found)
        return {**ends, newest: last_lines(found[newest], start.lines, start.most)}
    said = configured_by_files(spec, _ABOUT_TIME) or {}
    zone, prefix = (spec.settings.get(name) or said.get(name) for name in _ABOUT_TIME)
    first: dict[LogSource, int | None] = {}
    for source, each in found.items():
        plain = not each[-1].path.endswith((".csv", ".json"))
        when = partial(moment, zone=None if zone is None else zone_named(zone), csv=each[-1].path.endswith(".csv"))
        # A time that stands in the message itself is not when it was written.
        timed = not plain or says_when(DEFAULT_PREFIX if prefix is None else prefix)
        first[source] = first_since(each, start.since, when) if timed else None
    if not any(each is not None for each in first.values()):
        raise LogUntimedError(found[_newest(found)][-1].path)
    return {source: ends[source] if each is None else each for source, each in first.items()}


def _resumed(found: Mapping[LogSource, list[Part]], position: str) -> dict[LogSource, int]:
    """Return the positions of the places that somebody has left off at.

    Raises ValueError if they are none.
    """
    try:
        places = json.loads(position)
    except RecursionError as error:
        raise ValueError("no position") from error
    if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
        raise ValueError("no position")
    begins = {source: each[-1].begin for source, each in found.items()}
    if "logfile" in found and "logfile" in places:
        begins["logfile"] = int(places["logfile"])
    offset, _, path = places.get("collector", "0").partition(" ")
    if not offset.isdecimal():
        raise ValueError("no position")
    # One that has been removed meanwhile is lost; nor is anything read that is none of the collector's.
    for part in found.get("collector", ()):
        if part.path == path:
            begins["collector"] = part.begin + min(int(offset), part.size)
    return begins


def _newest(found: Mapping[LogSource, list[Part]]) -> LogSource:
    """Return where something was written last."""
    return max(found, key=lambda source: os.stat(found[source][-1].path).st_mtime_ns)


def _collected(data_directory: str) -> list[str] | None:
    """Return the collector's files; None where we cannot look."""
    with suppress(OSError):
        os.stat(data_directory)
        current = current_logfile(data_directory)
        with suppress(FileNotFoundError):
            return [] if current is None else logfiles(current)
        return []
    return None


def _one_after_the_other(files: list[str], owner: User | None) -> list[Part]:
    """Return the collector's files as parts of one log."""
    found: list[Part] = []
    begin = 0
    for path in files:
        with suppress(FileNotFoundError):
            size = os.stat(path).st_size
            found.append(Part(path, begin, size, partial(open_collected, path, owner)))
            begin += size
    return found
