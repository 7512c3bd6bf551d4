"""pgsupctl update: have the inventory read again, and say what that changes."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import cast

from pgsupervisor.cli.answers import Change, Changes
from pgsupervisor.cli.screen import Screen, escape
from pgsupervisor.control.client import Client


def run(arguments: Namespace, _screen: Screen) -> int:
    """Print the changes, one per line."""
    with Client(arguments.socket, timeout=None) as client:
        answer = cast("Changes", client.call("Update", dry_run=arguments.dry_run))
    if arguments.json:
        print(json.dumps(answer))
        return 0
    for change in answer["changes"]:
        print(_line(change))
    if not answer["changes"]:
        print("nothing changes")
    elif arguments.dry_run:
        print("nothing was done; without --dry-run it will be")
    return 0


def _line(change: Change) -> str:
    """Return a change as a line: `change  shop  port, settings  (restart)`."""
    words = (change["action"].ljust(6), change["name"], ", ".join(change["keys"]))
    effect = "  (restart)" if change["effect"] == "restart" else ""
    return escape("  ".join(filter(None, words)) + effect)
