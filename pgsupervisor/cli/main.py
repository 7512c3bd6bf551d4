"""The entry point of pgsupctl: reads the command line, runs the command, and says by the exit status how it went."""

from __future__ import annotations

import importlib
import io
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from pgsupervisor.cli.arguments import parse
from pgsupervisor.cli.screen import Screen, escape, screen
from pgsupervisor.control import protocol
from pgsupervisor.errors import DaemonUnreachableError, PgSupervisorError, RemoteError
from pgsupervisor.paths import default_paths

FAILED = 1
UNREACHABLE = 4
INTERRUPTED = 130
NOBODY_READS = 141
"""What a shell shows for a program that SIGINT or SIGPIPE ended: 128 and the signal's number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run pgsupctl with the arguments `argv` (None: those of the process), and return its exit status.

    Raises SystemExit for `--help`, `--version` and wrong usage.
    """
    arguments = parse(argv)
    arguments.socket = arguments.socket or _default_socket()
    # A terminal in another encoding gets escapes where it lacks a character.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _exit_status(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What is still to be written has nowhere to go, and Python would try again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return status


def _exit_status(arguments: Namespace) -> int:
    """Import the module of the command, run it, and tell what went wrong."""
    run: Callable[[Namespace, Screen], int] = importlib.import_module(f"pgsupervisor.cli.{arguments.module}").run
    try:
        return run(arguments, screen(os.environ))
    except PgSupervisorError as error:
        sys.stdout.flush()
        print(f"pgsupctl: {escape(_text(error))}", file=sys.stderr)
        return UNREACHABLE if isinstance(error, DaemonUnreachableError) else FAILED


def _default_socket() -> str:
    return os.environ.get("PGSUPERVISOR_SOCKET") or default_paths(os.geteuid(), os.environ).socket


def _text(error: PgSupervisorError) -> str:
    """Say what went wrong, and what to do next."""
    if not isinstance(error, RemoteError):
        return str(error)
    facts = error.parameters
    match error.name:
        case protocol.NO_SUCH_CLUSTER:
            return f"there is no cluster {facts.get('name')}; `pgsupctl status` shows which there are"
        case protocol.NOT_PERMITTED:
            method = str(facts.get("method")).rpartition(".")[2]
            return f"{facts.get('user')} may not do {method}; ask as root, or as a member of the admin_group"
        case protocol.INVENTORY_INVALID:
            key = f"{facts['key']}: " if facts.get("key") else ""
            return f"{facts.get('path')}: {key}{facts.get('why')}; nothing was changed"
        case protocol.LOG_NOT_READABLE:
            return f"the log {facts.get('path')} cannot be read: {facts.get('why')}"
        case protocol.UNKNOWN_SETTING:
            return f"the server knows no setting {facts.get('name')}; `pgsupctl config NAME get` shows what is set"
        case protocol.CONFIGURATION_REFUSED:
            line = f":{facts['line']}" if facts.get("line") else ""
            return f"{facts['path']}{line}: {facts.get('why')}" if facts.get("path") else str(facts.get("why"))
        case protocol.CONFIGURATION_NOT_READABLE:
            return f"where the settings stand cannot be told: {facts.get('why')}"
        case protocol.SHUTTING_DOWN:
            return "pgsupervisord is about to end, and takes no more orders"
        case protocol.UPGRADE_REFUSED:
            return f"not upgraded: {facts.get('why')}; the running version goes on"
        case protocol.UPGRADING:
            return (
                "pgsupervisord is being upgraded: what was ordered goes on, as `pgsupctl status` shows, and a log that "
                "was followed can be followed again"
            )
        case _:
            return f"pgsupervisord answered {error}"
