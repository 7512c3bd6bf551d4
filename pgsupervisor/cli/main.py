"""The entry point of pgsupctl: reads the command line, runs the command, and says by the exit status how it went."""

from __future__ import annotations

import gc
import io
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from pgsupervisor.cli.arguments import parse
from pgsupervisor.cli.refusals import words
from pgsupervisor.cli.screen import Screen, screen
from pgsupervisor.errors import DaemonUnreachableError, PgSupervisorError, RemoteError
from pgsupervisor.escaping import escape
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
    arguments.socket = arguments.socket or default_paths(os.geteuid(), os.environ).socket
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
    # importlib would have to be imported for it, and imports more.
    module = __import__(f"pgsupervisor.cli.{arguments.module}", fromlist=["run"])
    run: Callable[[Namespace, Screen], int] = module.run
    # What was imported stays, and the collector need not look through it for garbage, least of all at the end.
    gc.freeze()
    try:
        return run(arguments, screen(os.environ))
    except PgSupervisorError as error:
        sys.stdout.flush()
        said = words(error) if isinstance(error, RemoteError) else str(error)
        unreachable = isinstance(error, DaemonUnreachableError)
        print(f"pgsupctl: {escape(said)}{_roots(arguments.socket) if unreachable else ''}", file=sys.stderr)
        return UNREACHABLE if unreachable else FAILED


def _roots(socket: str) -> str:
    """Say where root's daemon is, if there is one, to a user who has none of his own.

    It is not asked in its place: an order for all clusters would be carried out on others than were meant.
    """
    roots = default_paths(0, {}).socket
    own = default_paths(os.geteuid(), {**os.environ, "PGSUPERVISOR_SOCKET": ""}).socket
    return f"; that of root's is {roots}" if own == socket != roots and os.path.exists(roots) else ""
