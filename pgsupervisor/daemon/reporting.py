"""The daemon's own log: one constant event name for each kind of thing that happens, with its facts as keys."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO, TypeAlias, cast

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor

from pgsupervisor.daemon.entries import fields
from pgsupervisor.escaping import escape
from pgsupervisor.inventory.spec import LogFormat
from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.life import Event, Life, Reinitialized, Reloaded, State
from pgsupervisor.supervision.plan import Change
from pgsupervisor.system.journal import ENTRIES, Journal, entry
from pgsupervisor.system.rotation import Rotated

Form: TypeAlias = tuple[Sequence[Processor], object]
"""How events are told: the last processors that they pass (structlog), and where what these make of them goes."""

_MOST_TEXT = 16 * 1024
"""Characters that there are in an event, of which the last 1,000 are kept."""

_COST = 16
"""How many characters an item of a list counts for besides its own."""


def logger(log_format: LogFormat, events: Events, journal: str = ENTRIES) -> FilteringBoundLogger:
    """Return the daemon's log on standard error: as told, or else as fits whoever reads there.

    That is lines for people on a terminal, JSON elsewhere, and where systemd has connected it to the journal, entries
    of that, which go to the socket `journal`. Whatever is logged is one of the `events`, too.
    """
    # Python has None for a standard error that was closed before it started.
    stream: TextIO = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as we live
    if log_format == "console" or (log_format == "auto" and stream.isatty()):
        processors, sink = _lines_for_people(stream)
    elif log_format == "auto" and _is_the_journal(stream):
        processors, sink = _entries(journal)
    else:
        processors, sink = _lines_of_json(stream)
    made: FilteringBoundLogger = structlog.wrap_logger(
        sink,
        processors=[_bounded, recorder(events), structlog.processors.add_log_level, *processors],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return made


def _lines_for_people(stream: TextIO) -> Form:
    renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False, exception_formatter=_traceback)
    return [structlog.processors.TimeStamper(fmt="iso", utc=False), _as_shown, renderer], _printer(stream)


def _lines_of_json(stream: TextIO) -> Form:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    renderer = structlog.processors.JSONRenderer()
    return [stamp, structlog.processors.dict_tracebacks, _event_first, renderer], _printer(stream)


def _entries(path: str) -> Form:
    """Tell the journal, which notes the time itself."""
    return [structlog.processors.format_exc_info, _as_entry], _Sender(Journal(path))


def _is_the_journal(stream: TextIO) -> bool:
    """Tell whether systemd has connected a stream to the journal ($JOURNAL_STREAM in systemd.exec(5)).

    The variable alone does not say so: it is inherited by programs whose output goes elsewhere.
    """
    try:
        facts = os.fstat(stream.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


def _printer(stream: TextIO) -> structlog.PrintLogger:
    return structlog.PrintLogger(cast("TextIO", _Unfailing(stream)))


def _bounded(_logger: object, _level: str, facts: EventDict) -> EventDict:
    """Have an event say no more than there is room for: the names and values in it may be some user's."""
    room = _Room()
    return {key: room.for_(fact) for key, fact in facts.items()}


class _Room:
    """What there is left for the facts of one event."""

    def __init__(self) -> None:
        self._left = _MOST_TEXT

    def for_(self, fact: object) -> object:
        """Return as much of a fact as there is room for."""
        match fact:
            case str():
                most, self._left = self._left, max(0, self._left - len(fact))
                return fact if len(fact) <= most else f"{fact[:most]}…"
            case list() | tuple():
                return list(self._some(fact))
            case _:
                return fact

    def _some(self, facts: Sequence[object]) -> Iterator[object]:
        for fact in facts:
            self._left = max(0, self._left - _COST)
            yield self.for_(fact) if self._left else "…"
            if not self._left:
                return


def recorder(events: Events) -> Processor:
    """Return what makes an event of whatever is logged; it comes first, so that nothing is only in the log."""

    def record(_logger: object, level: str, logged: EventDict) -> EventDict:
        facts = {key: plain(fact) for key, fact in logged.items() if key not in {"event", "cluster", "exc_info"}}
        if (error := logged.get("exc_info")) is not None:
            facts["error"] = repr(error)  # without a traceback, which would keep alive all that it came through
        events.record(time.time(), level, logged["event"], logged.get("cluster"), facts)
        return logged

    return record


def plain(fact: object) -> object:
    """Return a fact as JSON can say it, and Varlink; what neither can is said as Python would write it."""
    match fact:
        case Mapping():
            return {str(key): plain(each) for key, each in fact.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in fact]
        case None | bool() | str():
            return fact
        case int() if -(2**63) <= fact < 2**63:
            return int(fact)
        case float() if math.isfinite(fact):
            return fact
        case _:
            return repr(fact)


def _as_shown(_logger: object, _method: str, facts: EventDict) -> EventDict:
    """Have a terminal only show what a fact says; of what is no text, the renderer sees to that itself."""
    return {key: escape(fact) if isinstance(fact, str) else fact for key, fact in facts.items()}


def _traceback(stream: TextIO, error: ExcInfo) -> None:
    """Write a traceback, whose last line is what somebody else may have said."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    stream.write("\n".join(map(escape, text.getvalue().split("\n"))))


def _event_first(_logger: object, _method: str, facts: EventDict) -> EventDict:
    """Put what every line has at its beginning, where the eye looks for it."""
    return {**{name: facts[name] for name in ("timestamp", "level", "event")}, **facts}


def _as_entry(_logger: object, _method: str, facts: EventDict) -> bytes:
    return entry(fields(facts))


class _Sender:
    """Sends entries to the journal; made for structlog, which calls the method of an event's level."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def info(self, made: bytes) -> None:
        self._journal.send(made)

    debug = warning = error = critical = info


class _Unfailing:
    """A stream that loses what nobody takes: that the log's reader is gone must not keep a cluster from its keeper."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class Reporter:
    """Tells the log what happens to the clusters."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def changed(self, name: str, before: Life, event: Event, after: Life) -> None:
        """Log a change of a cluster's state, or of what is said about it, and what came of a reload."""
        if isinstance(event, Reinitialized) and after.crashes != before.crashes:
            self._log.warning("crash within", cluster=name, crashes=after.crashes, pid=after.pid)
        if before.standby and not after.standby and after.state is State.RUNNING:
            self._log.info("promoted", cluster=name, pid=after.pid)
        if isinstance(event, Reloaded):
            self._reloaded(name, event.report)
        if (before.state, before.reason) == (after.state, after.reason):
            return
        tell = self._log.error if after.state is State.FATAL else self._log.info
        if after.state is State.BACKOFF:
            tell = self._log.warning
        tell(
            "state changed",
            cluster=name,
            was=before.state.value,
            now=after.state.value,
            on=type(event).__name__,
            **{key: fact for key, fact in (("pid", after.pid), ("reason", after.reason)) if fact},
        )

    def rotated(self, name: str, what: Rotated | OSError) -> None:
        """Log that a cluster's log was rotated, or why it was not."""
        if isinstance(what, OSError):
            self._log.warning("log not rotated", cluster=name, reason=what.strerror)
            return
        facts = {"archive": what.archive, "bytes": what.size, "dropped": what.dropped}
        self._log.info("log rotated", cluster=name, **{key: fact for key, fact in facts.items() if fact})

    def polled(self, directory: str, why: str) -> None:
        """Log that a directory is looked at again and again, since the kernel does not tell of changes in it."""
        self._log.warning("directory is polled", directory=directory, reason=why)

    def _reloaded(self, name: str, report: Report) -> None:
        tell = self._log.info if report.verdict == "applied" else self._log.warning
        facts = {
            "files": list(report.files),
            "changes": [change.text for change in report.changes],
            "pending": [change.text for change in report.pending],
            "mistakes": [f"{each.path}:{each.line}: {each.why}" for each in report.mistakes],
            "overruled": list(report.overruled),
            "reason": report.unverified,
        }
        tell("reloaded", cluster=name, outcome=report.verdict, **{key: fact for key, fact in facts.items() if fact})

    def counts(self, change: Change) -> None:
        """Log that an update has added, removed or changed a cluster."""
        names = {"add": "cluster added", "remove": "cluster removed", "change": "cluster changed"}
        facts: dict[str, object] = {"keys": list(change.keys), "effect": change.effect} if change.keys else {}
        self._log.info(names[change.action], cluster=change.name, **facts)

    def ordered(self, order: str, cluster: str | None, uid: int, given: Mapping[str, object]) -> None:
        """Log an order, and who has given it."""
        about = {} if cluster is None else {"cluster": cluster}
        self._log.info("ordered", **about, order=order, uid=uid, **given)

    def refused(self, method: str, clusters: Sequence[str], uid: int) -> None:
        """Log that somebody gave an order to clusters, or (none) to the daemon itself, who may not."""
        about: dict[str, object] = {"cluster": clusters[0]} if len(clusters) == 1 else {}
        several = {"clusters": list(clusters)} if len(clusters) > 1 else {}
        self._log.warning("order refused", **about, method=method, uid=uid, **several)

    def hung(self, clusters: Sequence[str]) -> None:
        """Log which clusters have a keeper that does nothing, though there is something to do."""
        reason = "a mistake in pgsupervisor, which its watchdog mends by a restart"
        self._log.error("no progress", clusters=list(clusters), reason=reason)

    def mistake(self, where: str, error: Exception) -> None:
        """Log a mistake of ours, with its traceback."""
        self._log.error("mistake in pgsupervisor", where=where, exc_info=error)

    def loop_mistake(self, _loop: object, context: Mapping[str, object]) -> None:
        """Log what asyncio found unhandled; made for loop.set_exception_handler."""
        self._log.error("mistake in pgsupervisor", where=context.get("message"), exc_info=context.get("exception"))
