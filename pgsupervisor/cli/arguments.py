"""What can be asked: the commands of pgsupctl, their arguments, and their help.

argparse takes longer to make a dozen parsers than the daemon takes to answer, so only two are made: one for what
stands before the command's name, one for what stands after it. `COMMANDS` has a parser's text and makings ready
for each, and the module of `pgsupervisor.cli` that carries the command out.
"""

from __future__ import annotations

from argparse import PARSER, SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence

import pgsupervisor
from pgsupervisor.escaping import escape
from pgsupervisor.shapes import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn


class Parser(ArgumentParser):
    """A parser whose complaints a terminal only shows: a script may have its arguments from anywhere."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and exit."""
        super().error(escape(message))


class Command(NamedTuple):
    """A command: the module that carries it out, what it does, examples, what adds its arguments to a parser, and more.

    `details` is what its help says besides.
    """

    module: str
    about: str
    examples: Sequence[str]
    add_arguments: Callable[[ArgumentParser], None]
    details: str = ""


def parse(argv: Sequence[str] | None) -> Namespace:
    """Read the command line `argv` (None: that of the process).

    What is returned has the command's `module` too, and its `parser` for errors that are found later.

    Raises SystemExit for `--help`, `--version` and wrong usage, after having said it.
    """
    top = _top_parser()
    before = top.parse_args(argv)
    name, *after = before.command
    if name not in COMMANDS:
        top.error(f"there is no command {name!r}; choose one of {', '.join(COMMANDS)}")
    parser = _parser(f"{top.prog} {name}", COMMANDS[name])
    # An option may stand between arguments, as in `config shop --json get`; to allow it takes time.
    options = any(argument.startswith("-") for argument in after)
    read = parser.parse_intermixed_args if options else parser.parse_args
    return read(
        after,
        Namespace(socket=before.socket, json=before.json, command=name, module=COMMANDS[name].module, parser=parser),
    )


def _top_parser() -> ArgumentParser:
    commands = "".join(f"\n  {name:<8}  {command.about}" for name, command in COMMANDS.items())
    top = _new_parser(
        "pgsupctl",
        "Looks at the PostgreSQL clusters that pgsupervisord keeps, and gives orders.",
        f"commands (`pgsupctl COMMAND --help` tells more):{commands}\n\n{_EXIT_STATUS}\n\nexample:\n  pgsupctl status",
    )
    top.add_argument("--version", action="version", version=f"pgsupctl {pgsupervisor.__version__}")
    top.add_argument("command", nargs=PARSER, metavar="COMMAND", help="one of the commands below, and its arguments")
    top.set_defaults(socket=None, json=False)
    return top


def _parser(program: str, command: Command) -> ArgumentParser:
    """Return the parser of what stands after a command's name."""
    examples = "".join(f"\n  {example}" for example in command.examples)
    about = f"{command.about[0].upper()}{command.about[1:]}."
    parser = _new_parser(
        program, about, f"{command.details}example{'s' if len(command.examples) > 1 else ''}:{examples}"
    )
    command.add_arguments(parser)
    return parser


def _new_parser(program: str, about: str, epilog: str) -> ArgumentParser:
    """Return a parser of what may stand before the command and after it; what is not given has no value yet."""
    parser = Parser(
        program,
        description=about,
        epilog=epilog,
        formatter_class=_help_formatter,
        allow_abbrev=False,
        # Its own option would have its text looked for in translations, where it is not.
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="show this help message and exit")
    parser.add_argument(
        "-s", "--socket", default=SUPPRESS, help="the daemon's control socket (default: $PGSUPERVISOR_SOCKET)"
    )
    parser.add_argument(
        "--json", action="store_true", default=SUPPRESS, help="print JSON: one document, or one per line of a stream"
    )
    return parser


def _help_formatter(prog: str) -> RawDescriptionHelpFormatter:
    """Return what lays out the help. Its width is said, because argparse imports shutil to find one."""
    return RawDescriptionHelpFormatter(prog, width=100)


def _status(parser: ArgumentParser) -> None:
    _add_names(parser)
    parser.add_argument("-w", "--watch", action="store_true", help="go on, and show every change")


def _order(parser: ArgumentParser) -> None:
    _add_names(parser)
    parser.add_argument("--no-wait", action="store_true", help="give the order, and do not wait for what comes of it")


def _stop(parser: ArgumentParser) -> None:
    _order(parser)
    parser.add_argument(
        "--mode",
        choices=("smart", "fast", "immediate"),
        help="wait for clients, disconnect them, or crash (default: the inventory's stop_mode)",
    )
    parser.add_argument(
        "--timeout",
        type=_duration,
        metavar="TIME",
        help="how long a mode may take before the next harder one, as in 30s (default: the inventory's stop_timeout)",
    )


def _restart(parser: ArgumentParser) -> None:
    _stop(parser)
    parser.add_argument(
        "--force", action="store_const", const=True, help="also stop a server that would not start again"
    )


def _update(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")


def _logs(parser: ArgumentParser) -> None:
    _add_names(parser, "+")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("-n", "--lines", type=_count, default=10, metavar="LINES", help="how many lines (default: 10)")
    begin.add_argument(
        "--since", type=_duration, metavar="DURATION", help='what was written in that time, such as "10min"'
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, and show what is written")


def _events(parser: ArgumentParser) -> None:
    _add_names(parser)
    parser.add_argument(
        "-n", "--lines", type=_count, default=10, metavar="LINES", help="how many of the last events (default: 10)"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on, and show what happens")


def _config(parser: ArgumentParser) -> None:
    parser.add_argument("name", type=_name, metavar="NAME", help="a cluster")
    parser.add_argument(
        "action", choices=("get", "set", "unset", "diff", "check"), metavar="ACTION", help="one of the actions below"
    )
    parser.add_argument("settings", nargs="*", default=[], type=_name, metavar="SETTING", help="what it is about")


def _check(parser: ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="the inventory (default: where the daemon looks for it)")


def _daemon(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("info", "upgrade", "stop", "install"), help="one of the actions below")
    parser.add_argument(
        "--leave",
        action="store_const",
        const=True,
        help="stop: leave the servers running (default: the inventory's on_exit)",
    )
    parser.add_argument("--user", action="store_true", help="install: a service of your own, not one of the system")
    parser.add_argument("--dry-run", action="store_true", help="install: only show what would be written")


def _add_names(parser: ArgumentParser, nargs: str = "*") -> None:
    parser.add_argument(
        "names", nargs=nargs, type=_name, metavar="NAME", help="a cluster, a pattern such as 'shop-*', or `all`"
    )


def _name(text: str) -> str:
    """Accept what can be sent: an argument is bytes, and may be no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"not UTF-8: {text!a}") from None
    return text


def _duration(text: str) -> float:
    from pgsupervisor import quantities  # noqa: PLC0415  # few commands are given one

    try:
        return quantities.duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < len("1000000000")):
        raise ArgumentTypeError(f"must be a number of lines, not {text!r}")
    return int(text)


_CONFIG_DETAILS = """\
actions:
  get [KEY ...]      show what the files say, what the running server goes by, and where that comes from;
                     without a KEY, for all settings that a file sets, or that differ
  set KEY=VALUE ...  write settings into postgresql.conf, and have the server take them; what it refuses is
                     put back as it was (exit status 1)
  unset KEY ...      take settings out of postgresql.conf, likewise
  diff               show what differs between the files and the running server (exit status 1 if anything does)
  check              say why the next start would fail (exit status 1 if it would)

To a pipe, `get` prints a line for each setting: name, value in the file, running value, where that is from,
and a note, separated by tabs; a value that is not there is a dash, and the note may be empty.

"""

_RESTART_DETAILS = """\
A server that runs is not stopped if it would not start again, because of a mistake in its files or anything else
that can be told beforehand (exit status 1). --force stops it all the same.

"""

_RELOAD_DETAILS = """\
Each server is asked what it made of its files: applied, pending restart, rejected (exit status 1: of what it
refuses, the old configuration stays in force), or unverified, if it could not be asked.

"""

_EVENTS_DETAILS = """\
Events are changes of state, reloads, orders and by whom they were given, and whatever else pgsupervisord logs, which
keeps the last 1,000 of them. Without a NAME, those about the daemon itself are shown as well.

"""

_DAEMON_DETAILS = """\
actions:
  info     show what the daemon is
  upgrade  have it become the version that is installed now, as the same process; servers run on, and nobody is
           turned away (exit status 1: it cannot, and goes on as it was)
  stop     end it
  install  make this installation a service of systemd's: write its unit, and say what to do next; one that somebody
           has changed is left alone (exit status 1)

"""

COMMANDS = {
    "status": Command(
        "status",
        "show how the clusters are",
        ("pgsupctl status", "pgsupctl status 'shop-*'", "pgsupctl status -w", "pgsupctl --json status"),
        _status,
    ),
    "start": Command("orders", "start clusters", ("pgsupctl start shop", "pgsupctl start all"), _order),
    "stop": Command(
        "orders",
        "stop clusters",
        ("pgsupctl stop shop", "pgsupctl stop 'shop-*' --mode smart --timeout 2min"),
        _stop,
    ),
    "restart": Command(
        "orders",
        "stop clusters, and start them again",
        ("pgsupctl restart shop --mode fast", "pgsupctl restart shop --force"),
        _restart,
        _RESTART_DETAILS,
    ),
    "reload": Command(
        "orders",
        "have servers read their configuration again",
        ("pgsupctl reload shop web",),
        _order,
        _RELOAD_DETAILS,
    ),
    "kill": Command(
        "orders",
        "kill servers (SIGKILL); crash recovery follows when they are started again",
        ("pgsupctl kill shop",),
        _order,
    ),
    "update": Command(
        "update",
        "have the inventory read again, and apply what changed",
        ("pgsupctl update --dry-run", "pgsupctl update"),
        _update,
    ),
    "logs": Command(
        "logs",
        "show the end of clusters' logs",
        ("pgsupctl logs shop", "pgsupctl logs shop web -n 50 -f", "pgsupctl logs shop --since 10min"),
        _logs,
    ),
    "events": Command(
        "events",
        "show what has happened, and by whose order",
        ("pgsupctl events", "pgsupctl events shop -n 100", "pgsupctl events -f --json"),
        _events,
        _EVENTS_DETAILS,
    ),
    "config": Command(
        "config",
        "show and change the settings of a cluster",
        (
            "pgsupctl config shop get work_mem",
            "pgsupctl config shop set work_mem=64MB shared_buffers=1GB",
            "pgsupctl config shop unset work_mem",
            "pgsupctl config shop diff",
        ),
        _config,
        _CONFIG_DETAILS,
    ),
    "check": Command(
        "check",
        "look for mistakes in the inventory and in every cluster, without a daemon",
        ("pgsupctl check", "pgsupctl check -c inventory.toml"),
        _check,
    ),
    "daemon": Command(
        "daemon",
        "ask, upgrade, end or install the daemon itself",
        (
            "pgsupctl daemon info",
            "pgsupctl daemon upgrade",
            "pgsupctl daemon stop --leave",
            "pgsupctl daemon install --dry-run",
        ),
        _daemon,
        _DAEMON_DETAILS,
    ),
}

_EXIT_STATUS = """\
exit status:
  0  done (status: all are running)
  1  refused, or failed
  2  wrong usage
  3  status: something is not running
  4  pgsupervisord cannot be reached"""
