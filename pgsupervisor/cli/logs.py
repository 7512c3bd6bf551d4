"""pgsupctl logs: the end of clusters' logs, and what is written while we look.

A log is bytes, in whatever encodings its databases have. To a pipe they go as they are; on a terminal, what is no
printable text is escaped, since anybody who can send a query can write into a log.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, cast

from pgsupervisor.cli.screen import Screen, escape
from pgsupervisor.control.client import Client
from pgsupervisor.errors import ControlError

if TYPE_CHECKING:
    from pgsupervisor.cli.answers import Clusters, Text

Piece = tuple[str, str | ControlError | None]
"""A cluster's name, and what came of its log: text, an error, or None for the end."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Print the logs line by line."""
    with Client(arguments.socket) as client:
        answer = cast("Clusters", client.call("GetStatus", names=arguments.names))
    names = [cluster["name"] for cluster in answer["clusters"]]
    write = _writer(arguments, screen, prefixed=len(names) > 1)
    pieces = _follow(arguments, names) if arguments.follow else _read(arguments, names)
    for name, line in _lines(pieces):
        write(name, line)
    return 0


def _read(arguments: Namespace, names: Sequence[str]) -> Iterator[Piece]:
    """Yield the end of each log, one after the other."""
    with Client(arguments.socket) as client:
        for name in names:
            yield name, cast("Text", client.call("GetLog", name=name, lines=arguments.lines))["text"]
            yield name, None


def _follow(arguments: Namespace, names: Sequence[str]) -> Iterator[Piece]:
    """Yield what comes from all logs, as it comes. Answers on one connection are in order, so each log has its own."""
    pieces: Queue[Piece] = Queue(maxsize=100)
    for name in names:
        Thread(target=_follow_one, args=(arguments, name, pieces.put), daemon=True).start()
    ended = 0
    while ended < len(names):
        name, text = pieces.get()
        ended += text is None
        yield name, text


def _follow_one(arguments: Namespace, name: str, put: Callable[[Piece], None]) -> None:
    """Pass on what comes from one log, and in the end why there is no more."""
    try:
        with Client(arguments.socket) as client:
            for answer in client.stream("GetLog", name=name, lines=arguments.lines, follow=True):
                put((name, cast("Text", answer)["text"]))
    except ControlError as error:
        put((name, error))
    put((name, None))


def _lines(pieces: Iterator[Piece]) -> Iterator[tuple[str, str]]:
    """Yield whole lines, without their ends, from pieces that may end anywhere; an error is raised."""
    begun: dict[str, str] = {}
    for name, text in pieces:
        if isinstance(text, ControlError):
            raise text
        *lines, rest = (begun.pop(name, "") + (text or "")).split("\n")
        for line in lines:
            yield name, line
        if rest and text is None:
            yield name, rest
        elif rest:
            begun[name] = rest


def _writer(arguments: Namespace, screen: Screen, *, prefixed: bool) -> Callable[[str, str], None]:
    """Return what writes a line of the named cluster's log."""

    def write(name: str, line: str) -> None:
        if arguments.json:
            print(json.dumps({"name": name, "line": line}))
        else:
            shown = "\t".join(map(escape, line.split("\t"))) if screen.terminal else line
            text = f"{name}: {shown}\n" if prefixed else f"{shown}\n"
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        if arguments.follow:
            sys.stdout.flush()

    return write
