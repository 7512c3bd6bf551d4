"""pgsupctl update: have the inventory read again, and say what that changes and what came of it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from pgsupervisor.cli.progress import exit_status, last_answer, outcome_lines
from pgsupervisor.cli.screen import Screen
from pgsupervisor.control.client import Client
from pgsupervisor.escaping import escape
from pgsupervisor.shapes import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsupervisor.cli.answers import Change


def run(arguments: Namespace, screen: Screen) -> int:
    """Print the changes, then what came of those that needed a start, a stop or a restart."""
    with Client(arguments.socket) as client:
        answers = client.stream("Update", dry_run=arguments.dry_run)
        answer = last_answer(answers, Screen() if arguments.json else screen)
    if arguments.json:
        print(json.dumps(answer))
        return exit_status(answer)
    changes = answer.get("changes") or []
    keys, later = answer.get("daemon") or [], answer.get("later") or []
    for line in [*map(_line, changes), *_daemon_lines(keys, later), *outcome_lines(answer, screen)]:
        print(line)
    if not changes and not keys:
        print("Nothing changes.")
    elif arguments.dry_run:
        print("Nothing was done yet.")
    return exit_status(answer)


def _line(change: Change) -> str:
    """Return a change as a line: `change  shop  port, settings  (restart)`."""
    words = (change["action"].ljust(6), change["name"], ", ".join(change["keys"]))
    effect = "  (restart)" if change["effect"] == "restart" else ""
    return escape("  ".join(filter(None, words)) + effect)


def _daemon_lines(keys: Sequence[str], later: Sequence[str]) -> list[str]:
    """Return the keys of [daemon] that differ as lines: those that count now, and those that do not yet."""
    now = [key for key in keys if key not in later]
    lines = [f"[daemon] {', '.join(now)}"] if now else []
    lines += [f"[daemon] {', '.join(later)}  (when pgsupervisord is started again)"] if later else []
    return list(map(escape, lines))
