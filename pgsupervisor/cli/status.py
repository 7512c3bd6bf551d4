"""pgsupctl status: how the clusters are, once or as they change."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Sequence

from pgsupervisor.cli.answers import Cluster, Clusters, told
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import duration, moment, remark, sentence, table
from pgsupervisor.control.client import Client
from pgsupervisor.escaping import escape

NOT_ALL_RUN = 3
"""The exit status when something is not running, also if that is what was ordered, as with supervisorctl."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Print the clusters, and tell by the exit status whether all of them run."""
    with Client(arguments.socket) as client:
        if arguments.watch:
            return _watch(client, arguments, screen)
        answer = told(Clusters, client.call("GetStatus", names=arguments.names))
    if arguments.json:
        print(json.dumps(answer))
    else:
        now = time.time()
        print(*table(answer["clusters"], lambda since: duration(now - since), screen), sep="\n")
    return 0 if all(cluster["state"] == "RUNNING" for cluster in answer["clusters"]) else NOT_ALL_RUN


def _watch(client: Client, arguments: Namespace, screen: Screen) -> int:
    """Print each change as it comes: the whole table drawn over itself on a terminal, else one line per change."""
    known: dict[str, Cluster] = {}
    drawn = 0
    for said in client.stream("Monitor", names=arguments.names):
        answer = told(Clusters, said)
        changed, removed = answer["clusters"], answer.get("removed") or []
        if screen.terminal and not arguments.json:
            known |= {cluster["name"]: cluster for cluster in changed}
            known = {name: cluster for name, cluster in known.items() if name not in removed}
            lines = _fit(table(list(known.values()), _moment, screen), screen)
            up = f"\033[{drawn}F" if drawn else ""
            print(up, *(f"{line}\033[K\n" for line in lines), "\033[J", sep="", end="", flush=True)
            drawn = len(lines)
        else:
            for cluster in changed:
                print(json.dumps(cluster) if arguments.json else _change(cluster), flush=True)
            for name in removed:
                print(json.dumps({"removed": name}) if arguments.json else f"{escape(name)}: removed", flush=True)
    return 0


def _change(cluster: Cluster) -> str:
    return sentence(cluster["name"], cluster["state"], remark(cluster), Screen())


def _moment(since: float) -> str:
    """Say when something began. What is drawn once must stay true, so a duration would be wrong here."""
    return moment(since, "%b %d %H:%M:%S")


def _fit(lines: Sequence[str], screen: Screen) -> Sequence[str]:
    """Return as many lines as a terminal has room for above the cursor's."""
    room = (screen.height or 2) - 1
    return lines if len(lines) <= room else [*lines[: room - 1], f"… and {len(lines) - room + 1} more"]
