"""What can be asked: the commands of pgsupctl, their arguments, and their help.

Each command names the module of `pgsupervisor.cli` that carries it out (`module`), so that only that one is imported.
"""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter

import pgsupervisor
from pgsupervisor import quantities

_DESCRIPTION = "Looks at the PostgreSQL clusters that pgsupervisord keeps, and gives orders."

_EPILOG = """\
NAME is a cluster's name, a glob pattern such as 'shop-*', or `all`.

exit status:
  0  done (status: everything that should run is running)
  1  refused, or failed
  2  wrong usage
  3  status: something is not running
  4  pgsupervisord cannot be reached

example:
  pgsupctl status
"""


class _Commands:
    """Adds commands to a parser, all in the same shape."""

    def __init__(self, parser: ArgumentParser, destination: str) -> None:
        self._added = parser.add_subparsers(dest=destination, metavar="COMMAND", required=True)

    def add(self, name: str, about: str, *examples: str, module: str) -> ArgumentParser:
        """Add a command; `about` is what it does, each of the `examples` a command line."""
        lines = "".join(f"\n  {example}" for example in examples)
        parser = self._added.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=f"example{'s' if len(examples) > 1 else ''}:{lines}",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _add_global(parser)
        parser.set_defaults(module=module, parser=parser)
        return parser


def parser() -> ArgumentParser:
    """Return the parser of the whole command line."""
    top = ArgumentParser(
        "pgsupctl",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"pgsupctl {pgsupervisor.__version__}")
    _add_global(top)
    top.set_defaults(socket=None, json=False)
    commands = _Commands(top, "command")
    _add_status(commands)
    _add_orders(commands)
    _add_inventory(commands)
    _add_logs(commands)
    _add_daemon(commands)
    return top


def _add_global(parser: ArgumentParser) -> None:
    """Add what may stand before the command and after it; what is not given there must not undo what was here."""
    parser.add_argument(
        "-s", "--socket", default=SUPPRESS, help="the daemon's control socket (default: $PGSUPERVISOR_SOCKET)"
    )
    parser.add_argument(
        "--json", action="store_true", default=SUPPRESS, help="print JSON: one document, or one per line of a stream"
    )


def _add_names(parser: ArgumentParser, nargs: str = "*") -> None:
    parser.add_argument("names", nargs=nargs, metavar="NAME", help="a name, a glob pattern, or `all`", type=_name)


def _add_status(commands: _Commands) -> None:
    status = commands.add(
        "status",
        "show how the clusters are",
        "pgsupctl status",
        "pgsupctl status 'shop-*'",
        "pgsupctl status -w",
        "pgsupctl --json status",
        module="status",
    )
    _add_names(status)
    status.add_argument("-w", "--watch", action="store_true", help="go on and show every change")


def _add_orders(commands: _Commands) -> None:
    """Add the commands that order something; all of them wait until it is done."""
    start = commands.add("start", "start clusters", "pgsupctl start shop", "pgsupctl start all", module="orders")
    stop = commands.add(
        "stop",
        "stop clusters",
        "pgsupctl stop shop",
        "pgsupctl stop 'shop-*' --mode smart --timeout 2min",
        module="orders",
    )
    restart = commands.add(
        "restart", "stop clusters and start them again", "pgsupctl restart shop --mode fast", module="orders"
    )
    reload = commands.add(
        "reload", "have servers read their configuration again", "pgsupctl reload all", module="orders"
    )
    kill = commands.add(
        "kill",
        "kill servers with SIGKILL; crash recovery follows when they are started again",
        "pgsupctl kill shop",
        module="orders",
    )
    for parser in (start, stop, restart, reload, kill):
        _add_names(parser)
        parser.add_argument(
            "--no-wait", action="store_true", help="give the order and do not wait for what comes of it"
        )
    for parser in (stop, restart):
        parser.add_argument(
            "--mode",
            choices=("smart", "fast", "immediate"),
            help="wait for clients, disconnect them, or crash (default: stop_mode)",
        )
        parser.add_argument(
            "--timeout",
            type=_duration,
            metavar="TIME",
            help="how long a mode may take before the next harder one, as in 30s or 2min (default: stop_timeout)",
        )


def _add_inventory(commands: _Commands) -> None:
    update = commands.add(
        "update",
        "have the inventory read again, and apply what changed",
        "pgsupctl update --dry-run",
        "pgsupctl update",
        module="update",
    )
    update.add_argument("--dry-run", action="store_true", help="only say what would change")
    check = commands.add(
        "check",
        "look for mistakes in the inventory and in every cluster; needs no daemon, and touches nothing",
        "pgsupctl check",
        "pgsupctl check -c inventory.toml",
        module="check",
    )
    check.add_argument("-c", "--config", metavar="FILE", help="the inventory (default: where the daemon looks for it)")


def _add_logs(commands: _Commands) -> None:
    logs = commands.add(
        "logs",
        "show the end of clusters' logs",
        "pgsupctl logs shop",
        "pgsupctl logs shop web -n 50 -f",
        module="logs",
    )
    _add_names(logs, "+")
    logs.add_argument("-n", "--lines", type=_count, default=10, metavar="LINES", help="how many lines (default: 10)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on and show what is written")


def _add_daemon(commands: _Commands) -> None:
    daemon = commands.add(
        "daemon", "ask or end the daemon itself", "pgsupctl daemon info", "pgsupctl daemon stop", module="daemon"
    )
    actions = _Commands(daemon, "action")
    actions.add("info", "show what the daemon is", "pgsupctl daemon info", module="daemon")
    stop = actions.add(
        "stop",
        "end the daemon; the inventory's on_exit says what happens to the servers",
        "pgsupctl daemon stop --leave",
        module="daemon",
    )
    stop.add_argument(
        "--leave", action="store_const", const=True, help="leave the servers running, whatever on_exit says"
    )


def _name(text: str) -> str:
    """Accept what can be sent; an argument's bytes may be no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"not UTF-8: {text!a}") from None
    return text


def _duration(text: str) -> float:
    try:
        return quantities.duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len("1000000000")):
        raise ArgumentTypeError(f"must be a number of lines, not {text!r}")
    return int(text)
