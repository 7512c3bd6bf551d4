"""What is printed to a terminal is escaped, whatever it says and wherever it comes from; nothing else is obeyed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import ROOT
from fake_daemon import FakeDaemon, Script, error, part, reply, says
from pgsupctl import Finished, pgsupctl, pgsupctl_on_terminal
from test_cli_terminal import SHOP

from pgsupervisor.cli.refusals import _WORDS
from pgsupervisor.daemon.reporting import Reporter, logger
from pgsupervisor.supervision.events import Events

EVIL = "a\x1b]0;owned\x07\x1b[2J\x1b[8m\r\n\x9b31m\u202eb\u2066\u2028\x7f\udcff"
"""A title for the window, a cleared screen, hidden text, another line, C1, text that runs backwards, a stray byte."""

SHOWN = r"a\x1b]0;owned\x07\x1b[2J\x1b[8m\r\n\x9b31m\u202eb\u2066\u2028\x7f\xff"

OURS = re.compile(r"\x1b\[(?:\d*m|[KJ]|\d+F)|\r(?=\x1b\[K)")
"""What we ourselves have a terminal do: colours, and a line that is drawn over."""

CLUSTER = {**SHOP, "name": EVIL, "version": EVIL, "state": EVIL, "reason": EVIL}
EVENT = {
    "sequence": 1,
    "time": 1.0,
    "level": EVIL,
    "event": EVIL,
    "cluster": EVIL,
    "facts": {EVIL: EVIL, "reason": EVIL},
}
CHANGED = {**EVENT, "event": "state changed", "facts": {"was": EVIL, "now": EVIL, "files": [EVIL], "reason": EVIL}}
ORDERED = {**EVENT, "event": "ordered", "facts": {"order": EVIL, "uid": 0}}
OUTCOMES = [{"name": EVIL, "ok": True, "state": EVIL, "message": EVIL}]
CHANGE = {"name": EVIL, "action": EVIL, "effect": EVIL, "keys": [EVIL]}
SETTING = {
    "name": EVIL,
    "written": EVIL,
    "running": EVIL,
    "path": EVIL,
    "line": 1,
    "source": EVIL,
    "pending": False,
    "differs": True,
}
DAEMON = {"version": EVIL, "pid": 1, "started": 0.0, "inventory": EVIL, "clusters": 1}
TOLD = ("name", "path", "why", "key", "user", "method", "parameter")
FACTS = {**dict.fromkeys(TOLD, EVIL), "clusters": [EVIL], "line": 1}
LOG = part(name=EVIL, source="logfile", text=EVIL + "\n", position="1")
UNREADABLE = part(name=EVIL, text="", why=EVIL)

ORDER = says(part(progress={"name": EVIL, "state": EVIL, "reason": EVIL}), reply(outcomes=OUTCOMES))
UPDATE = says(reply(changes=[CHANGE], outcomes=OUTCOMES, daemon=[EVIL, "x"], later=[EVIL]))

ASKED: dict[str, tuple[tuple[str, ...], dict[str, Script]]] = {
    "status": (("status",), {"GetStatus": says(reply(clusters=[CLUSTER]))}),
    "watch": (("status", "-w"), {"Monitor": says(part(clusters=[CLUSTER]), part(clusters=[], removed=[EVIL]), None)}),
    "order": (("stop", "all"), {"Stop": ORDER}),
    "update": (("update",), {"Update": UPDATE}),
    "logs": (
        ("logs", "all"),
        {"GetStatus": says(reply(clusters=[CLUSTER, SHOP])), "GetLog": says(LOG, UNREADABLE, reply(text=""))},
    ),
    "events": (("events",), {"Monitor": says(reply(clusters=[], events=[EVENT, CHANGED, ORDERED]))}),
    "get": (("config", "a", "get"), {"GetConfiguration": says(reply(settings=[SETTING]))}),
    "diff": (("config", "a", "diff"), {"GetConfiguration": says(reply(settings=[SETTING]))}),
    "check": (("config", "a", "check"), {"CheckConfiguration": says(reply(problems=[EVIL], unchecked=EVIL))}),
    "set": (("config", "a", "set", "b=c"), {"SetConfiguration": ORDER}),
    "info": (("daemon", "info"), {"GetDaemon": says(reply(**DAEMON))}),
    "upgrade": (("daemon", "upgrade"), {"UpgradeDaemon": says(reply(was=EVIL, version=EVIL, pid=1))}),
    "an unknown error": (("daemon", "info"), {"GetDaemon": says(error(EVIL, **{EVIL: EVIL}))}),
    **{name: (("daemon", "info"), {"GetDaemon": says(error(name, **FACTS))}) for name in _WORDS},
}


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


def harmless(text: str) -> bool:
    """Tell whether a terminal obeys nothing of a text but what we ask of it."""
    return all(line.isprintable() for line in OURS.sub("", text).replace("\t", "").split("\n"))


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("asked", ASKED)
def test_what_a_daemon_says(path: str, asked: str, term: str) -> None:
    """Of whatever comes from the daemon, a terminal obeys nothing, and there is no line more than without it."""
    arguments, scripts = ASKED[asked]
    with FakeDaemon(path, scripts):
        finished = pgsupctl_on_terminal("-s", path, *arguments, columns=2000, env={"TERM": term})
    assert harmless(finished.output + finished.errors), finished
    assert SHOWN in finished.output + finished.errors or not _tells(asked), finished
    assert all(line.isprintable() for line in finished.errors.split("\n"))


def _tells(asked: str) -> bool:
    """Tell whether an answer has words that come from the daemon."""
    return asked not in {"io.pgsupervisor.ShuttingDown", "io.pgsupervisor.Upgrading"}


@pytest.mark.parametrize("asked", [each for each in ASKED if each != "logs"])
def test_what_goes_through_a_pipe(path: str, asked: str) -> None:
    """It is escaped there as well, as what reads it may show it; a log alone is passed on byte by byte."""
    arguments, scripts = ASKED[asked]
    with FakeDaemon(path, scripts):
        finished = pgsupctl("-s", path, *arguments)
    assert harmless(finished.output + finished.errors), finished


def test_a_log_through_a_pipe(path: str) -> None:
    """A log is bytes for whoever asked for them."""
    arguments, scripts = ASKED["logs"]
    with FakeDaemon(path, scripts):
        output = pgsupctl("-s", path, *arguments).output
    assert output == "".join(f"{SHOWN}: {line}\n" for line in EVIL.split("\n"))


EVIL_WORD = EVIL.replace("\udcff", "")
"""What an argument can be that is sent."""


@pytest.mark.parametrize(
    "arguments",
    [
        (EVIL,),
        ("status", f"--{EVIL}"),
        ("status", EVIL),
        ("logs", "a", "-n", EVIL),
        ("stop", "a", "--mode", EVIL),
        ("config", EVIL_WORD, "diff", EVIL_WORD),
        ("config", "a", "set", EVIL_WORD),
        ("-s", f"/tmp/{EVIL}", "status"),
        ("check", "-c", f"/tmp/{EVIL}"),
    ],
)
def test_what_is_wrong_with_the_command_line(arguments: tuple[str, ...]) -> None:
    """A script may have its arguments from anywhere: what is said of them is escaped, too."""
    finished = pgsupctl(*arguments)
    assert (finished.output, finished.errors != "") == ("", True)
    assert harmless(finished.errors), finished


def test_what_files_say(short_directory: Path) -> None:
    """What pgsupctl and pgsupervisord say of an inventory is escaped: its keys, its values, its name."""
    inventory = short_directory / EVIL_WORD.replace("\x00", "")
    inventory.write_text('[clusters."a\\u001b[2J\\u202e"]\nx = 1\n', encoding="utf-8")
    said = pgsupctl("check", "-c", str(inventory)).errors
    arguments = [sys.executable, "-m", "pgsupervisor", "-c", str(inventory)]
    refused = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert [harmless(said), harmless(refused.stderr)] == [True, True], (said, refused.stderr)
    assert r"\x1b[2J" in said
    assert refused.stderr.removeprefix("pgsupervisord") == said.removeprefix("pgsupctl")


def test_what_the_daemon_logs_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A daemon in a terminal shows whatever it logs; of a traceback, the lines stay."""
    reporter = Reporter(logger("console", Events()))
    reporter.ordered(EVIL, EVIL, 0, {"mode": EVIL, "settings": [EVIL]})
    try:
        (_ for _ in ()).throw(ValueError(EVIL))
    except ValueError as mistake:
        reporter.mistake(EVIL, mistake)
    said = capsys.readouterr().err
    assert harmless(said), said
    assert (SHOWN in said, "Traceback (most recent call last):\n" in said) == (True, True)


def test_a_terminal_that_is_not_as_dumb_as_it_says(path: str) -> None:
    """TERM=dumb asks for nothing to be drawn, and not for a log to be obeyed."""
    arguments, scripts = ASKED["logs"]
    with FakeDaemon(path, scripts):
        finished = pgsupctl_on_terminal("-s", path, *arguments, env={"TERM": "dumb"})
    lines = [rf"{SHOWN}: {line}" for line in SHOWN.split(r"\n")]
    assert finished == Finished(0, "".join(f"{line}\n" for line in lines), f"pgsupctl: {SHOWN}: {SHOWN}\n")
