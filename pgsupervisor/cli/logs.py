"""pgsupctl logs: the end of clusters' logs, and what is written while we look.

A log is bytes, in whatever encodings its databases have. To a pipe they go as they are; on a terminal, what is no
printable text is escaped, since anybody who can send a query can write into a log.

Whoever follows logs does not mind that the daemon is started anew: each piece comes with the position after it, and at
these positions we go on when the daemon is back.
"""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

from pgsupervisor.cli.answers import Clusters, LogPiece, LogRefused, told
from pgsupervisor.cli.screen import Screen, as_bytes
from pgsupervisor.control.client import Client
from pgsupervisor.errors import DaemonUnreachableError
from pgsupervisor.escaping import escape

Write = Callable[[str, str], None]
"""Writes whole lines of the named cluster's log."""

_PATIENCE = 10.0
"""Seconds that a daemon which we have followed may be gone."""

_AGAIN = 0.2
"""Seconds between two looks whether it is back: nobody tells of that."""

_PREFIXES = (36, 35, 34, 33, 32)
"""The colours of clusters' names (ECMA-48, "Select Graphic Rendition")."""

_SEVERITIES = {
    **dict.fromkeys(("ERROR", "FATAL", "PANIC"), 31),
    "WARNING": 33,
    **dict.fromkeys(("NOTICE", "INFO", "LOG"), 36),
    **dict.fromkeys(("DETAIL", "HINT", "CONTEXT", "STATEMENT", "QUERY", "LOCATION"), 2),
}
"""What a line begins with in the eyes of its reader, and in which colour; 2 is faint."""

_SEVERITY = re.compile(rf'\b(?:{"|".join(_SEVERITIES)})(?=: |,|")')
"""How a line of a log, of a csvlog or of a jsonlog says how severe it is (elog.c, csvlog.c, jsonlog.c)."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Print the logs."""
    with Client(arguments.socket) as client:
        answer = told(Clusters, client.call("GetStatus", names=arguments.names))
    write = _writer(arguments, screen, [cluster["name"] for cluster in answer["clusters"]])
    since = None if arguments.since is None else time.time() - arguments.since
    for name, lines in _whole_lines(_pieces(arguments, since)):
        write(name, lines)
        if arguments.follow:
            sys.stdout.flush()
    return 0


def _pieces(arguments: Namespace, since: float | None) -> Iterator[LogPiece]:
    """Yield what comes from all logs, as it comes; who follows them waits for a daemon that is gone."""
    positions: dict[str, str] = {}
    gone: float | None = None
    while True:
        try:
            for piece in _asked(arguments, since, positions):
                gone = None
                yield piece
        except DaemonUnreachableError:
            if not (arguments.follow and positions) or (gone is not None and time.monotonic() - gone > _PATIENCE):
                raise
        else:
            return
        if gone is None:
            gone = time.monotonic()
            print("pgsupctl: the connection to pgsupervisord is lost; going on when it answers", file=sys.stderr)
        time.sleep(_AGAIN)


def _asked(arguments: Namespace, since: float | None, positions: dict[str, str]) -> Iterator[LogPiece]:
    """Yield what one daemon sends, from the positions on, which are brought up to date."""
    asked = {"names": arguments.names, "lines": arguments.lines, "since": since, "follow": arguments.follow}
    begin = [{"name": name, "position": position} for name, position in positions.items()]
    with Client(arguments.socket) as client:
        for answer in client.stream("GetLog", **asked, positions=begin):
            if "position" in answer:
                piece = told(LogPiece, answer)
                positions[piece["name"]] = piece["position"]
                yield piece
            elif "why" in answer:
                refused = told(LogRefused, answer)
                print(f"pgsupctl: {escape(refused['name'])}: {escape(refused['why'])}", file=sys.stderr)


def _whole_lines(pieces: Iterator[LogPiece]) -> Iterator[tuple[str, str]]:
    """Yield whole lines from pieces that may end anywhere; only a last line may have no end."""
    begun: dict[tuple[str, str], list[str]] = {}
    for piece in pieces:
        # Put together only once: a line may be as long as a query, and come in thousands of pieces.
        beginning = begun.setdefault((piece["name"], piece["source"]), [])
        lines, end, rest = piece["text"].rpartition("\n")
        if end:
            yield piece["name"], "".join((*beginning, lines, end))
            beginning.clear()
        if rest:
            beginning.append(rest)
    for (name, _), beginning in begun.items():
        if beginning:
            yield name, "".join(beginning)


def _writer(arguments: Namespace, screen: Screen, names: Sequence[str]) -> Write:
    """Return what writes lines of the logs of these clusters."""
    if arguments.json:
        return _write_json
    colours = dict(zip(names, cycle(_PREFIXES), strict=False))
    prefixes = {name: screen.tint(f"{escape(name)}:", colours[name]) + " " if len(names) > 1 else "" for name in names}

    def write(name: str, lines: str) -> None:
        prefix = prefixes.get(name, f"{escape(name)}: ")
        if screen.obeys:
            for line in lines.removesuffix("\n").split("\n"):
                print(prefix + _shown(line, screen))
            return
        if prefix:
            lines = prefix + lines.removesuffix("\n").replace("\n", f"\n{prefix}") + "\n"
        sys.stdout.buffer.write(as_bytes(lines))

    return write


def _write_json(name: str, lines: str) -> None:
    for line in lines.removesuffix("\n").split("\n"):
        print(json.dumps({"name": name, "line": line}))


def _shown(line: str, screen: Screen) -> str:
    """Return a line as a terminal shows it."""
    text = "\t".join(map(escape, line.split("\t")))
    found = _SEVERITY.search(text)
    if found is None:
        return text
    return text[: found.start()] + screen.tint(found[0], _SEVERITIES[found[0]]) + text[found.end() :]
