"""pgsupctl update: have the inventory read again, and say what that changes and what came of it."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

from pgsupervisor.cli.progress import exit_status, last_answer, outcome_lines
from pgsupervisor.cli.screen import Screen, escape
from pgsupervisor.control.client import Client

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
    for line in [*map(_line, changes), *outcome_lines(answer, screen)]:
        print(line)
    if not changes:
        print("Nothing changes.")
    elif arguments.dry_run:
        print("Nothing was done yet.")
    return exit_status(answer)


def _line(change: Change) -> str:
    """Return a change as a line: `change  shop  port, settings  (restart)`."""
    words = (change["action"].ljust(6), change["name"], ", ".join(change["keys"]))
    effect = "  (restart)" if change["effect"] == "restart" else ""
    return escape("  ".join(filter(None, words)) + effect)
