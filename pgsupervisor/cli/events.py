"""pgsupctl events: what has happened to the clusters and to the daemon, and what happens while we look.

An event is a name, the same for all of its kind, and facts. To people it is told as a sentence; JSON has it as it is.
The daemon knows users by their numbers only, as it must not wait for anybody who knows their names: we may.
"""

from __future__ import annotations

import json
import pwd
from argparse import Namespace
from collections.abc import Iterable, Iterator
from functools import cache

from pgsupervisor.cli.answers import Event, Happened, told
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import moment
from pgsupervisor.control.client import Client
from pgsupervisor.escaping import escape

KEPT = 1000
"""How many events the daemon keeps; more than that nobody can be shown."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Print the last events, one per line, and with `--follow` all that come."""
    asked: dict[str, object] = {"names": arguments.names, "past": min(arguments.lines, KEPT)}
    with Client(arguments.socket) as client:
        answers = client.stream("Monitor", **asked) if arguments.follow else iter([client.call("Monitor", **asked)])
        for answer in answers:
            happened = told(Happened, answer)
            lines = _documents(happened) if arguments.json else _sentences(happened, screen)
            for line in lines:
                print(line, flush=arguments.follow)
    return 0


def _documents(happened: Happened) -> Iterator[str]:
    """Yield events as JSON: what every event has comes first, then its facts."""
    if missed := happened.get("missed"):
        yield json.dumps({"missed": missed})
    for event in happened.get("events") or []:
        always = {key: event.get(key) for key in ("sequence", "time", "level", "event", "cluster")}
        yield json.dumps({**always, **{key: fact for key, fact in event["facts"].items() if key not in always}})


def _sentences(happened: Happened, screen: Screen) -> Iterator[str]:
    """Yield events as people read them: when, which cluster, and what."""
    if missed := happened.get("missed"):
        were = "event was" if missed == 1 else "events were"
        yield screen.paint(f"… {missed} {were} missed: more came than are kept", "warning")
    for event in happened.get("events") or []:
        when = moment(event["time"], "%F %T")
        sentence = screen.paint(escape(_sentence(event)), event["level"])
        yield f"{when}  {escape(event.get('cluster') or '-')}  {sentence}"


def _sentence(event: Event) -> str:
    r"""Return an event in words.

    >>> _sentence({"event": "ordered", "facts": {"order": "stop", "uid": 0, "mode": "fast", "timeout": 2.0}})
    'stop ordered by root  mode fast; timeout 2'
    """
    facts = dict(event["facts"])
    match event["event"], facts:
        case "state changed", {"was": was, "now": now}:
            said = f"{now}" if was == now else f"{was} → {now}"
            told = {"was", "now", "on"}
        case "ordered", {"order": order, "uid": int(uid)}:
            said, told = f"{order} ordered by {_user(uid)}", {"order", "uid"}
        case "order refused", {"method": method, "uid": int(uid)}:
            said, told = f"{method} refused to {_user(uid)}", {"method", "uid"}
        case name, _:
            said, told = name, set()
    rest = "; ".join(_phrases((key, fact) for key, fact in facts.items() if key not in told))
    return f"{said}  {rest}" if rest else said


def _phrases(facts: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Yield facts in words, but those that say nothing; a reason speaks for itself."""
    for key, fact in facts:
        if words := _words(fact):
            yield words if key == "reason" else f"{key} {words}"


def _words(fact: object) -> str:
    match fact:
        case None | []:
            return ""
        case str():
            return fact
        case float():
            return f"{fact:g}"
        case list():
            return ", ".join(map(_words, fact))
        case _:
            return json.dumps(fact)


@cache
def _user(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
