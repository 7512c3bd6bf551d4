"""pgsupctl config: what a cluster's configuration files say, what its server goes by, and how to change that.

The two are not the same: a value may wait for a restart, be overruled by the server's command line, or be refused.
So wherever a setting is shown, both values are, and what stands between them.

On a terminal `get` draws a table; to a pipe each setting is one line, its columns separated by tabs.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from pgsupervisor.cli.answers import Problems, Setting, Settings, told
from pgsupervisor.cli.progress import exit_status, last_answer, outcome_lines
from pgsupervisor.cli.screen import Screen
from pgsupervisor.control.client import Client
from pgsupervisor.errors import ClusterNotRunningError
from pgsupervisor.escaping import escape

_HEADER = ("NAME", "FILE", "RUNNING", "WHERE", "NOTE")
_WIDEST = 40
"""Characters that a column of a table is wide at most."""

_ROLES = {"database", "user", "database user", "global"}
"""Sources of a running value that ALTER ROLE or ALTER DATABASE gives to the role that asks: others see another one."""


def run(arguments: Namespace, screen: Screen) -> int:
    """Carry out `get`, `set`, `unset`, `diff` or `check`."""
    changes = _changes(arguments)
    with Client(arguments.socket) as client:
        match arguments.action:
            case "get":
                return _get(client, arguments, screen)
            case "diff":
                return _diff(client, arguments)
            case "check":
                return _check(client, arguments)
            case _:
                return _change(client, arguments, changes, screen)


def _changes(arguments: Namespace) -> list[dict[str, str | None]]:
    """Return what `set` and `unset` change; what the other actions take is looked at, too."""
    action, settings, error = arguments.action, arguments.settings, arguments.parser.error
    if action in {"set", "unset"} and not settings:
        error(f"name the settings to {action}")
    if action in {"diff", "check"} and settings:
        error(f"`config {arguments.name} {action}` is about the whole configuration; it takes no {settings[0]!r}")
    if action == "set":
        assignments = [text.partition("=") for text in settings]
        for name, equals, _ in assignments:
            if not (name and equals):
                error(f"write KEY=VALUE, not {name + equals!r}; `unset` takes a setting out")
        return [{"name": name, "value": value} for name, _, value in assignments]
    return [{"name": name, "value": None} for name in settings] if action == "unset" else []


def _get(client: Client, arguments: Namespace, screen: Screen) -> int:
    answer = told(Settings, client.call("GetConfiguration", name=arguments.name, keys=arguments.settings))
    if arguments.json:
        print(json.dumps(answer))
        return 0
    rows = [_row(setting) for setting in answer["settings"]]
    for line in _table([_HEADER, *rows]) if screen.terminal else map("\t".join, rows):
        print(line)
    return 0


def _diff(client: Client, arguments: Namespace) -> int:
    settings = told(Settings, client.call("GetConfiguration", name=arguments.name, keys=[]))["settings"]
    if settings and all(setting.get("running") is None for setting in settings):
        raise ClusterNotRunningError(f"{arguments.name}: no server runs that its files could be compared with")
    differing = [setting for setting in settings if setting["differs"]]
    if arguments.json:
        print(json.dumps({"settings": differing}))
    elif differing:
        print(*map(_difference, differing), sep="\n")
    else:
        print(f"Nothing differs: the server goes by what the files of {escape(arguments.name)} say.")
    return 1 if differing else 0


def _check(client: Client, arguments: Namespace) -> int:
    answer = told(Problems, client.call("CheckConfiguration", name=arguments.name))
    if arguments.json:
        print(json.dumps(answer))
    else:
        lines = (*(answer["problems"] or ["ok"]), answer.get("unchecked"))
        print(*map(escape, filter(None, lines)), sep="\n")
    return 1 if answer["problems"] else 0


def _change(client: Client, arguments: Namespace, changes: Sequence[dict[str, str | None]], screen: Screen) -> int:
    answers = client.stream("SetConfiguration", name=arguments.name, changes=changes)
    answer = last_answer(answers, Screen() if arguments.json else screen)
    for line in [json.dumps(answer)] if arguments.json else outcome_lines(answer, screen):
        print(line)
    return exit_status(answer)


def _row(setting: Setting) -> tuple[str, ...]:
    where = _where(setting) or setting.get("source")
    return (
        escape(setting["name"]),
        _value(setting.get("written")),
        _value(setting.get("running")),
        escape(where or "-"),
        escape(_note(setting)),
    )


def _difference(setting: Setting) -> str:
    """Return as a line what differs: `work_mem  running 4MB  file 8MB  /x/postgresql.conf:12  (pending restart)`."""
    values = (f"running {_value(setting.get('running'))}", f"file {_value(setting.get('written'))}")
    parts = (escape(setting["name"]), *values, escape(_where(setting)), f"({escape(_note(setting))})")
    return "  ".join(filter(None, parts))


def _value(value: str | None) -> str:
    """Return a value as it is shown: a dash where there is none, quotes around nothing."""
    return "-" if value is None else escape(value) or "''"


def _where(setting: Setting) -> str:
    path, line = setting.get("path"), setting.get("line")
    return f"{path}:{line}" if path and line else path or ""


def _note(setting: Setting) -> str:
    """Say what stands between the file and the server."""
    if setting["pending"]:
        return "pending restart"
    source = setting.get("source")
    if source in _ROLES:
        return f"only for our role: {source}"
    if not setting["differs"]:
        return ""
    # A value from a file, or none at all: the server has not taken what the file says now.
    return "not in force" if source in {None, "configuration file", "default"} else f"overruled: {source}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns. Nothing is cut off: a value that is very long breaks its own line."""
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
