"""pgsupctl start, stop, restart, reload and kill: an order, what is seen of it on the way, and what came of it.

An order is always sent as a stream: its first answer comes as soon as the daemon has taken the order (a oneway call
would be answered by nothing, not even by a refusal). Not to wait for the outcome is to hang up then.
"""

from __future__ import annotations

import json
from argparse import Namespace
from itertools import islice

from pgsupervisor.cli.progress import exit_status, last_answer, outcome_lines
from pgsupervisor.cli.screen import Screen
from pgsupervisor.control.client import Client

_METHODS = {"start": "Start", "stop": "Stop", "restart": "Restart", "reload": "Reload", "kill": "Kill"}


def run(arguments: Namespace, screen: Screen) -> int:
    """Give the order, and tell by the exit status whether it was carried out for every cluster."""
    if not arguments.names:
        arguments.parser.error("name the clusters, or patterns such as 'shop-*'; `all` means every cluster")
    # These are given to the commands that have them.
    options = {name: getattr(arguments, name, None) for name in ("mode", "timeout", "force")}
    with Client(arguments.socket) as client:
        answers = client.stream(_METHODS[arguments.command], names=arguments.names, **options)
        awaited = islice(answers, 1) if arguments.no_wait else answers
        answer = last_answer(awaited, Screen() if arguments.json else screen)
    if arguments.json:
        print(json.dumps(answer))
        return exit_status(answer)
    for line in outcome_lines(answer, screen):
        print(line)
    if arguments.command == "kill":
        print("Crash recovery follows when a killed server is started again.")
    return exit_status(answer)
