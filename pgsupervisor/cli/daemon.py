"""pgsupctl daemon: the daemon itself, what it is, how it becomes another version or a service, and how it ends."""

from __future__ import annotations

import json
import time
from argparse import Namespace

from pgsupervisor.cli.answers import Daemon, Upgraded, told
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import duration
from pgsupervisor.control.client import Client
from pgsupervisor.escaping import escape


def run(arguments: Namespace, _screen: Screen) -> int:
    """Carry out `daemon info`, `daemon upgrade`, `daemon stop` or `daemon install`."""
    if arguments.leave and arguments.action != "stop":
        arguments.parser.error("--leave says what `daemon stop` does to the servers")
    if (arguments.user or arguments.dry_run) and arguments.action != "install":
        arguments.parser.error("--user and --dry-run are for `daemon install`")
    if arguments.action == "install":
        from pgsupervisor.cli.install import install  # noqa: PLC0415  # the only one that asks no daemon

        return install(arguments)
    with Client(arguments.socket) as client:
        if arguments.action == "stop":
            answer = client.call("StopDaemon", leave=arguments.leave)
            client.wait_for_end()
            print(json.dumps(answer) if arguments.json else "pgsupervisord has ended")
            return 0
        if arguments.action == "upgrade":
            # A stream has no limit of time, as an upgrade waits for what must not be cut off.
            upgraded = told(Upgraded, next(client.stream("UpgradeDaemon")))
            print(json.dumps(upgraded) if arguments.json else _upgraded(upgraded))
            return 0
        daemon = told(Daemon, client.call("GetDaemon"))
    print(json.dumps(daemon) if arguments.json else _text(daemon, arguments.socket, time.time()))
    return 0


def _upgraded(answer: Upgraded) -> str:
    return f"pgsupervisord {escape(answer['was'])} → {escape(answer['version'])}, still with pid {answer['pid']}"


def _text(daemon: Daemon, socket: str, now: float) -> str:
    """Return what is known of the daemon, one fact per line."""
    limits = daemon.get("limits")
    return (
        f"version    {escape(daemon['version'])}\n"
        f"pid        {daemon['pid']}\n"
        f"running    {duration(now - daemon['started'])}\n"
        f"socket     {escape(socket)}\n"
        f"inventory  {escape(daemon['inventory'])}\n"
        f"cgroup     {escape(daemon.get('cgroup') or 'none')}\n"
        f"limits     {'on' if limits is None else escape(f'off: {limits}')}\n"
        f"clusters   {daemon['clusters']}"
    )
