"""pgsupctl start, stop, restart, reload and kill: an order, what is seen of it on the way, and what came of it.

An order is always sent as a stream: its first answer comes as soon as the daemon has taken the order (a oneway call
would be answered by nothing, not even by a refusal). Not to wait for the outcome is to hang up then.
"""

from __future__ import annotations

import json
from argparse import Namespace
from typing import cast

from pgsupervisor.cli.answers import Ordered, Progress
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import sentence
from pgsupervisor.control.client import Client

_METHODS = {"start": "Start", "stop": "Stop", "restart": "Restart", "reload": "Reload", "kill": "Kill"}

_CLEAR = "\r\033[K"
"""Back to the line's beginning, and clear it (ECMA-48)."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Give the order, and tell by the exit status whether it was carried out for every cluster."""
    if not arguments.names:
        arguments.parser.error("name the clusters, or patterns such as 'shop-*'; `all` means every cluster")
    answer = _answer(arguments, screen)
    outcomes = answer.get("outcomes") or []
    if arguments.json:
        print(json.dumps(answer))
    else:
        for outcome in outcomes:
            print(sentence(outcome["name"], outcome["state"], outcome["message"], screen))
        if arguments.command == "kill":
            print("Crash recovery follows when a killed server is started again.")
    return 0 if all(outcome["ok"] for outcome in outcomes) else 1


def _answer(arguments: Namespace, screen: Screen) -> Ordered:
    """Give the order, show what happens, and return the last answer that was waited for."""
    # `mode` and `timeout` are those of the commands that have them.
    options = {name: getattr(arguments, name, None) for name in ("mode", "timeout")}
    drawing = screen.terminal and not arguments.json
    answer: Ordered = {}
    with Client(arguments.socket) as client:
        try:
            for parameters in client.stream(_METHODS[arguments.command], names=arguments.names, **options):
                answer = cast("Ordered", parameters)
                progress = answer.get("progress")
                if progress and drawing:
                    _show(progress, screen)
                if arguments.no_wait:
                    break
        finally:
            if drawing:
                print(_CLEAR, end="", flush=True)
    return answer


def _show(progress: Progress, screen: Screen) -> None:
    """Draw what happens over what happened before."""
    line = sentence(progress["name"], progress["state"], progress["reason"], Screen())
    print(f"{_CLEAR}{screen.cut(line)}", end="", flush=True)
