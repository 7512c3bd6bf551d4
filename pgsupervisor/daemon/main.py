"""pgsupervisord: host the PostgreSQL clusters of an inventory, in the foreground, until told to stop."""

from __future__ import annotations

import pgsupervisor.daemon.beginning  # noqa: F401  # before all others

# isort: split
import argparse
import asyncio
import faulthandler
import os
import sys
from collections.abc import Sequence

from pgsupervisor import __version__
from pgsupervisor.daemon import handover
from pgsupervisor.daemon.enclosure import end_limits
from pgsupervisor.daemon.program import TRIAL, Program, handed_over
from pgsupervisor.daemon.reporting import logger
from pgsupervisor.daemon.service import serve
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.escaping import escape
from pgsupervisor.inventory import load
from pgsupervisor.paths import default_inventory_path
from pgsupervisor.supervision.events import Events
from pgsupervisor.system import standard


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon and return its exit status: 0 when it was told to stop, 1 when it could not start."""
    standard.occupy()
    # What hangs is told when systemd's watchdog ends us, which it does by SIGABRT.
    faulthandler.enable(standard.STANDARD_ERROR)
    asked = _parser().parse_args(arguments)
    try:
        if asked.demo:
            from pgsupervisor.daemon.demo import demo  # noqa: PLC0415  # only a demonstration needs it

            return demo()
        if asked.end_limits:
            end_limits()
            return 0
        inventory = load(asked.config)
        if asked.trial:
            handover.decode(sys.stdin.buffer.read())
            print(__version__)  # noqa: T201  # for the daemon that wants to become this version
            return 0
        document = handed_over()
        before = None if document is None else handover.decode(document)
        events = Events(() if before is None else before.events)
        log = logger(inventory.daemon.log_format, events)
        asyncio.run(serve(inventory, log, events, program=Program.own(), before=before, limiting=asked.limits))
    except PgSupervisorError as error:
        print(f"pgsupervisord: {escape(str(error))}", file=sys.stderr)  # noqa: T201  # the one line for whoever started us
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    default = default_inventory_path(os.geteuid(), os.environ)
    parser = argparse.ArgumentParser(
        prog="pgsupervisord",
        description="Host the PostgreSQL clusters of an inventory, in the foreground.",
        epilog="SIGTERM or SIGINT stop all servers, a second SIGINT at once; SIGHUP reads the inventory again. "
        "Example: pgsupervisord -c /etc/pgsupervisor/inventory.toml",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-c", "--config", metavar="FILE", default=default, help=f"the inventory (default: {default})")
    what.add_argument(
        "--demo", action="store_true", help="show what this is with two clusters in a temporary directory"
    )
    what.add_argument(
        "--end-limits",
        action="store_true",
        help="for ExecStopPost= of a service with --limits: make it possible to start the service again",
    )
    parser.add_argument(
        "--limits",
        action="store_true",
        help="bring memory_max, cpu_weight and tasks_max into force, in a service with Delegate=yes and "
        "ExecStopPost=pgsupervisord --end-limits",
    )
    parser.add_argument(TRIAL, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"pgsupervisord {__version__}")
    return parser
