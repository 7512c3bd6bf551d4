"""pgsupctl when things go wrong, when somebody asks for help, and before it has done anything: its start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, error, part, reply, says
from pgsupctl import COMMAND, Finished, asked, environment, pgsupctl, started

from pgsupervisor import __version__
from pgsupervisor.cli.arguments import COMMANDS, parse
from pgsupervisor.control.protocol import Parameters, Reply
from pgsupervisor.supervision.selection import MOST_GLOBS


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


# what goes wrong


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            error("io.pgsupervisor.NoSuchCluster", name="sh\x1bop"),
            "there is no cluster sh\\x1bop; `pgsupctl status` shows which there are",
        ),
        (
            error("io.pgsupervisor.NotPermitted", user="bob", method="io.pgsupervisor.Update", clusters=[]),
            "bob may not do Update; ask as root, or as a member of the admin_group",
        ),
        (
            error("io.pgsupervisor.NotPermitted", user="bob", method="io.pgsupervisor.Stop", clusters=["a", "b"]),
            "bob may not do Stop for a, b, so nothing was done; leave that out, or be named in their `allow`",
        ),
        (
            error("io.pgsupervisor.NotPermitted", user="b", method="a.Kill", clusters=list("abcdefghijk")),
            (
                "b may not do Kill for a, b, c, d, e, f, g, h and 3 more, so nothing was done; leave that out, or be "
                "named in their `allow`"
            ),
        ),
        (
            error("io.pgsupervisor.InventoryInvalid", path="/i.toml", key="clusters.a.port", why="no"),
            "/i.toml: clusters.a.port: no; nothing was changed",
        ),
        (
            error("io.pgsupervisor.InventoryInvalid", path="/i.toml", key="", why="no"),
            "/i.toml: no; nothing was changed",
        ),
        (error("io.pgsupervisor.LogNotReadable", path="/l", why="gone"), "the log /l cannot be read: gone"),
        (
            error("io.pgsupervisor.LogLost", path="/log/shop.log"),
            "the log /log/shop.log was rotated away faster than it was read; keep more of it (`logfile_backups`)",
        ),
        (
            error("io.pgsupervisor.LogUntimed", path="/log/shop.log"),
            "no line of /log/shop.log says when it was written; have log_line_prefix begin with %m",
        ),
        (error("io.pgsupervisor.ShuttingDown"), "pgsupervisord is about to end, and takes no more orders"),
        (
            error("io.pgsupervisor.Upgrading"),
            "pgsupervisord is being upgraded: what was ordered goes on, as `pgsupctl status` shows",
        ),
        (error("io.pgsupervisor.UpgradeRefused", why="no"), "not upgraded: no; the running version goes on"),
        (
            error("org.varlink.service.InvalidParameter", parameter="mode"),
            "what was given as mode is too much, or nothing that this version of pgsupervisord knows",
        ),
        (
            error("org.varlink.service.InvalidParameter", parameter="names"),
            f"too many names, or too long: up to {MOST_GLOBS} of them may be patterns; `all` means every cluster",
        ),
        (error("io.pgsupervisor.Unheard", why="no"), "pgsupervisord answered Unheard: why=no"),
    ],
)
def test_a_refusal_is_told_in_words(path: str, answer: Reply, words: str) -> None:
    """What the daemon refuses is one line, and exit status 1."""
    assert asked(path, {"Start": says(answer)}, "start", "shop")[1] == Finished(1, "", f"pgsupctl: {words}\n")


def test_nobody_is_there(path: str) -> None:
    """A daemon that cannot be reached is exit status 4, and a line that says what to do."""
    finished = pgsupctl("status", env={"PGSUPERVISOR_SOCKET": path})
    assert (finished.status, finished.output) == (4, "")
    assert finished.errors.startswith(f"pgsupctl: cannot reach pgsupervisord at {path}: there is no socket; is pgsuper")


def test_where_the_socket_is(path: str, short_directory: Path) -> None:
    """-s wins, then PGSUPERVISOR_SOCKET, then the place where a daemon of the same user listens."""
    nowhere = {"PGSUPERVISOR_SOCKET": f"{path}-elsewhere"}
    for arguments in (("-s", path, "status"), ("status", "-s", path)):
        with FakeDaemon(path, {"GetStatus": says(reply(clusters=[]))}):
            assert pgsupctl(*arguments, env=nowhere).status == 0
    home = {"XDG_RUNTIME_DIR": str(short_directory / "run"), "PGSUPERVISOR_SOCKET": ""}
    default = "/run/pgsupervisor" if os.geteuid() == 0 else f"{short_directory}/run/pgsupervisor"
    if not Path(default, "control").exists():
        assert f" at {default}/control: " in pgsupctl("status", env=home).errors


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("statsu",),
        ("status", "--wait"),
        ("stop", "a", "--mode", "slow"),
        ("stop", "a", "--timeout", "soon"),
        ("stop", "a", "--timeout", "-1"),
        ("start", "a", "--mode", "fast"),
        ("logs",),
        ("logs", "a", "-n", "many"),
        ("daemon",),
        ("daemon", "downgrade"),
        ("start", "\udcff"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """A mistake on the command line is exit status 2, before anybody is asked."""
    finished = pgsupctl(*arguments)
    assert (finished.status, finished.output) == (2, "")
    assert finished.errors.startswith("usage: pgsupctl")


def test_a_reader_that_has_seen_enough(path: str) -> None:
    """`pgsupctl status | head -0` ends without a word."""
    read, write = os.pipe()
    os.close(read)
    with FakeDaemon(path, {"GetStatus": says(reply(clusters=[]))}):
        done = subprocess.run(
            [*COMMAND, "-s", path, "status"],
            env=environment(),
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_only_the_waiting(path: str) -> None:
    """Ctrl-C while an order waits is exit status 130, without a word; nothing more is sent to the daemon."""
    waiting = threading.Event()

    def restart(_parameters: Parameters) -> Iterator[Reply]:
        yield part(progress={"name": "shop", "state": "STOPPING", "reason": ""})
        waiting.set()

    with FakeDaemon(path, {"Restart": restart}) as daemon, started("-s", path, "restart", "shop") as process:
        assert waiting.wait(30)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, b"", b"")
    assert len(daemon.requests) == 1


# help and start-up


def test_every_command_has_help_with_an_example() -> None:
    for command in COMMANDS:
        finished = pgsupctl(command, "--help")
        assert (finished.status, finished.errors) == (0, "")
        assert re.search(rf"\nexamples?:\n  pgsupctl (--json )?{command}", finished.output), command
    finished = pgsupctl("--help")
    assert finished.status == 0
    assert "\nexample:\n  pgsupctl status\n" in finished.output
    assert all(re.search(rf"\n  {command} +[a-z]", finished.output) for command in COMMANDS)


def test_the_help_tells_when_an_order_fails() -> None:
    """What is no success, though the server runs on as before, is said where the order is explained."""
    assert "rejected (exit status 1" in pgsupctl("reload", "--help").output
    restart = pgsupctl("restart", "--help").output
    assert "not stopped if it would not start again" in restart
    assert "(exit status 1)" in restart


def test_examples_are_commands_that_exist() -> None:
    """What the help suggests is understood."""
    for name, command in COMMANDS.items():
        for example in command.examples:
            assert parse(example.replace("'", "").split()[1:]).command == name


def test_the_version() -> None:
    assert pgsupctl("--version") == Finished(0, f"pgsupctl {__version__}\n", "")


def test_status_imports_what_it_needs_and_nothing_of_the_daemon(path: str) -> None:
    """The client starts quickly because it imports little; what is slow or the daemon's is never among it."""
    code = "import sys; from pgsupervisor.cli.main import main; main(); print(*sys.modules, file=sys.stderr)"
    with FakeDaemon(path, {"GetStatus": says(reply(clusters=[]))}):
        done = subprocess.run(
            [sys.executable, "-c", code, "-s", path, "status"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    imported = set(done.stderr.split())
    assert {"pgsupervisor.cli.status", "pgsupervisor.control.client"} <= imported
    slow = {"asyncio", "dataclasses", "importlib.metadata", "importlib.resources", "inspect", "logging", "msgspec"}
    slow |= {"psutil", "rich", "shutil", "structlog", "subprocess", "threading", "watchdog"}
    assert not imported & slow
    ours = {name for name in imported if name.startswith("pgsupervisor.")}
    rooms = {name.split(".")[1] for name in ours}
    assert rooms == {"cli", "control", "errors", "escaping", "paths", "shapes"}
    assert {name for name in ours if name.startswith("pgsupervisor.control.")} == {
        "pgsupervisor.control.client",
        "pgsupervisor.control.protocol",
    }
