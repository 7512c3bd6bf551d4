"""pgsupctl on a terminal: colours, lines that are drawn over, and nothing that fits no terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, Script, error, part, reply, says
from pgsupctl import Finished, asked, pgsupctl_on_terminal

SHOP = {
    "name": "shop",
    "state": "RUNNING",
    "wanted": True,
    "since": 0,
    "pid": 4711,
    "port": 5432,
    "version": "15.18",
    "restarts": 0,
    "reason": "",
    "standby": False,
    "yours": True,
}
WEB = {
    **SHOP,
    "name": "web",
    "state": "FATAL",
    "pid": None,
    "reason": "initdb: error: \x1b[31mno\x1b[0m " + "space " * 8,
}


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


def seen(path: str, scripts: dict[str, Script], *arguments: str, **terminal: object) -> Finished:
    """Run pgsupctl on a terminal against a fake daemon."""
    with FakeDaemon(path, scripts):
        return pgsupctl_on_terminal("-s", path, *arguments, **terminal)


def test_status_is_coloured_and_fits(path: str) -> None:
    """A state has its colour, and a reason that does not fit stands below, with nothing in it to obey."""
    clusters = [{**each, "since": time.time() - 200} for each in (SHOP, WEB)]
    assert seen(path, {"GetStatus": says(reply(clusters=clusters))}, "status") == Finished(
        3,
        "NAME  STATE    SINCE  PID   PORT  VERSION  RESTARTS  REASON\n"
        "shop  \033[32mRUNNING\033[0m  3 min  4711  5432  15.18    0\n"
        "web   \033[31mFATAL\033[0m    3 min  -     5432  15.18    0\n"
        "    initdb: error: \\x1b[31mno\\x1b[0m space space space space space space space\n"
        "    space\n",
        "",
    )


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_declined(path: str, env: dict[str, str]) -> None:
    """NO_COLOR turns colours off; a dumb terminal gets what a pipe gets."""
    scripts = {"Start": says(reply(outcomes=[{"name": "shop", "ok": True, "state": "RUNNING", "message": ""}]))}
    finished = seen(path, scripts, "start", "shop", env=env)
    assert finished == Finished(0, "shop: RUNNING\n" if "TERM" in env else "\r\033[Kshop: RUNNING\n", "")


def test_progress_is_drawn_over_and_gone_in_the_end(path: str) -> None:
    """While an order waits there is one line, cut to the width; in the end there is one line for each cluster."""
    scripts = {
        "Restart": says(
            part(progress={"name": "shop", "state": "STOPPING", "reason": ""}),
            part(progress={"name": "shop", "state": "STARTING", "reason": "recovering\n12 s and more"}),
            reply(outcomes=[{"name": "shop", "ok": False, "state": "FATAL", "message": "no"}]),
        )
    }
    assert seen(path, scripts, "restart", "shop", columns=30) == Finished(
        1,
        "\r\033[Kshop: STOPPING\r\033[Kshop: STARTING  recovering\\n1…\r\033[Kshop: \033[31mFATAL\033[0m  no\n",
        "",
    )


def test_an_error_does_not_stand_behind_the_progress(path: str) -> None:
    """The line of progress is taken away before the error is told."""
    shutting_down = error("io.pgsupervisor.ShuttingDown")
    scripts = {"Stop": says(part(progress={"name": "shop", "state": "STOPPING", "reason": ""}), shutting_down)}
    finished = seen(path, scripts, "stop", "shop")
    assert (finished.status, finished.output) == (1, "\r\033[Kshop: STOPPING\r\033[K")
    assert finished.errors == "pgsupctl: pgsupervisord is about to end, and takes no more orders\n"


def test_json_is_json_on_a_terminal_too(path: str) -> None:
    scripts = {"Stop": says(part(progress={"name": "a", "state": "STOPPING", "reason": ""}), reply(outcomes=[]))}
    assert seen(path, scripts, "--json", "stop", "a") == Finished(0, '{"outcomes": []}\n', "")


def test_watching_draws_the_table_over_itself(path: str) -> None:
    """What changed is redrawn in place; a time of day, unlike a duration, stays true while nothing changes."""
    stopping = {**SHOP, "state": "STOPPING", "since": 90_061}
    scripts = {"Monitor": says(part(clusters=[SHOP]), part(clusters=[stopping]), None)}
    finished = seen(path, scripts, "status", "-w")
    header = "NAME  STATE{}   SINCE            PID   PORT  VERSION  RESTARTS  REASON\033[K\n"
    assert finished.status == 4
    assert finished.output == (
        f"{header.format(' ')}"
        "shop  \033[32mRUNNING\033[0m  Jan 01 00:00:00  4711  5432  15.18    0\033[K\n\033[J"
        f"\033[2F{header.format('  ')}"
        "shop  \033[33mSTOPPING\033[0m  Jan 02 01:01:01  4711  5432  15.18    0\033[K\n\033[J"
    )


def test_watching_more_than_fits(path: str) -> None:
    """What cannot be drawn over is not drawn."""
    clusters = [{**SHOP, "name": f"c{number}"} for number in range(9)]
    finished = seen(path, {"Monitor": says(part(clusters=clusters), None)}, "status", "-w", lines=6)
    names = [line.split()[0] for line in finished.output.splitlines() if line != "\033[J"]
    assert names == ["NAME", "c0", "c1", "c2", "…"]
    assert finished.output.endswith("… and 6 more\033[K\n\033[J")


def test_a_log_cannot_command_the_terminal(path: str) -> None:
    """On a terminal, control characters and stray bytes of a log are written out; tabs stay."""
    scripts = logs_of(shop="a\tb \x1b]0;title\x07 \udcff é\n")
    assert seen(path, scripts, "logs", "shop") == Finished(0, "a\tb \\x1b]0;title\\x07 \\xff é\n", "")


def test_a_log_in_colours(path: str) -> None:
    """How severe a line is has a colour, and of several clusters each one's name; a pipe gets neither."""
    lines = '1 LOG:  a\n2 ERROR:  b\n3 DETAIL:  of LOG:  c\n4,WARNING,x\n{"error_severity":"FATAL"}\nPROLOG: d\n'
    shown = [
        "1 \033[36mLOG\033[0m:  a",
        "2 \033[31mERROR\033[0m:  b",
        "3 \033[2mDETAIL\033[0m:  of LOG:  c",
        "4,\033[33mWARNING\033[0m,x",
        '{"error_severity":"\033[31mFATAL\033[0m"}',
        "PROLOG: d",
    ]
    assert seen(path, logs_of(shop=lines), "logs", "shop").output.splitlines() == shown
    both = seen(path, logs_of(shop="a\n", web="b\n"), "logs", "all").output
    assert both == "\033[36mshop:\033[0m a\n\033[35mweb:\033[0m b\n"
    assert asked(path, logs_of(shop=lines), "logs", "shop")[1].output == lines


def logs_of(**texts: str) -> dict[str, Script]:
    """Return the scripts of a daemon with these logs."""
    pieces = (part(name=name, source="logfile", text=text, position="1") for name, text in texts.items())
    clusters = [{**SHOP, "name": name} for name in texts]
    return {"GetStatus": says(reply(clusters=clusters)), "GetLog": says(*pieces, reply(text=""))}
