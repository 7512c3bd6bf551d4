"""pgsupctl with pipes: what it asks the daemon, and outputs that scripts can rely on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, Script, part, reply, says
from pgsupctl import Finished, asked, pgsupctl, started

from pgsupervisor.control.protocol import Parameters, Reply, Request


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


def cluster(name: str, state: str = "RUNNING", **known: object) -> dict[str, object]:
    """Return a cluster as the daemon tells of it, two days in its state, and half an hour before that shows as more."""
    facts = {"name": name, "state": state, "wanted": state != "STOPPED", "since": time.time() - 174_600, "pid": 4711}
    return {
        **facts,
        "port": 5432,
        "version": "15.18",
        "restarts": 0,
        "reason": "",
        "standby": False,
        "yours": True,
        **known,
    }


SHOP = cluster("shop")
OLD = cluster("old", "STOPPED", pid=None)
WEB = cluster("web", "FATAL", pid=None, reason="no \x1b[2Jspace")


def outcome(name: str, state: str, message: str = "", *, ok: bool = True) -> dict[str, object]:
    return {"name": name, "ok": ok, "state": state, "message": message}


def progress(name: str, state: str) -> Reply:
    return part(progress={"name": name, "state": state, "reason": ""})


# status


def test_status_when_all_run(path: str) -> None:
    """When all are running, the exit status is 0."""
    _, finished = asked(path, {"GetStatus": says(reply(clusters=[SHOP]))}, "status")
    assert finished.status == 0


def test_status_of_what_was_stopped(path: str) -> None:
    """A cluster that is down makes the exit status 3, also if that was ordered."""
    requests, finished = asked(path, {"GetStatus": says(reply(clusters=[SHOP, OLD]))}, "status")
    assert finished == Finished(
        3,
        "NAME  STATE    SINCE    PID   PORT  VERSION  RESTARTS  REASON\n"
        "shop  RUNNING  2 d 0 h  4711  5432  15.18    0\n"
        "old   STOPPED  2 d 0 h  -     5432  15.18    0\n",
        "",
    )
    assert requests == [Request("io.pgsupervisor.GetStatus", {"names": []})]


def test_status_when_something_is_not_running(path: str) -> None:
    """A cluster that was given up is exit status 3, and shown with its reason, escaped."""
    requests, finished = asked(path, {"GetStatus": says(reply(clusters=[WEB]))}, "status", "web", "shop-*")
    assert finished == Finished(
        3,
        "NAME  STATE  SINCE    PID  PORT  VERSION  RESTARTS  REASON\n"
        "web   FATAL  2 d 0 h  -    5432  15.18    0         no \\x1b[2Jspace\n",
        "",
    )
    assert requests == [Request("io.pgsupervisor.GetStatus", {"names": ["web", "shop-*"]})]


@pytest.mark.parametrize("arguments", [("--json", "status"), ("status", "--json")])
def test_status_as_json(path: str, arguments: tuple[str, ...]) -> None:
    """The whole answer is one JSON document, wherever --json stands."""
    _, finished = asked(path, {"GetStatus": says(reply(clusters=[SHOP, WEB]))}, *arguments)
    assert (finished.status, json.loads(finished.output)) == (3, {"clusters": [SHOP, WEB]})
    assert finished.output.count("\n") == 1


def test_watching_is_a_line_per_change(path: str) -> None:
    """To a pipe, every change is one line at once; when the daemon goes, so do we."""
    stopping = {**SHOP, "state": "STOPPING"}
    gone = part(clusters=[], removed=["web"])
    scripts = {"Monitor": says(part(clusters=[SHOP, WEB]), part(clusters=[stopping]), gone, None)}
    requests, finished = asked(path, scripts, "status", "-w")
    assert (finished.status, finished.output) == (
        4,
        "shop: RUNNING\nweb: FATAL  no \\x1b[2Jspace\nshop: STOPPING\nweb: removed\n",
    )
    assert requests == [Request("io.pgsupervisor.Monitor", {"names": []}, more=True)]
    _, finished = asked(path, scripts, "status", "-w", "--json")
    assert [json.loads(line) for line in finished.output.splitlines()] == [SHOP, WEB, stopping, {"removed": "web"}]


# orders


@pytest.mark.parametrize(
    ("arguments", "method", "parameters"),
    [
        (("start", "shop", "web"), "Start", {"names": ["shop", "web"]}),
        (("stop", "all"), "Stop", {"names": ["all"]}),
        (("stop", "a", "--mode", "smart"), "Stop", {"names": ["a"], "mode": "smart"}),
        (("restart", "--timeout", "500ms", "shop-*"), "Restart", {"names": ["shop-*"], "timeout": 0.5}),
        (("restart", "a", "--timeout", "2min"), "Restart", {"names": ["a"], "timeout": 120.0}),
        (("stop", "a", "--timeout", "30"), "Stop", {"names": ["a"], "timeout": 30.0}),
        (("reload", "a"), "Reload", {"names": ["a"]}),
    ],
)
def test_orders_are_sent_as_given(path: str, arguments: tuple[str, ...], method: str, parameters: Parameters) -> None:
    """Names and options go to the daemon as they are; the outcome is one line per cluster."""
    answers = says(progress("a", "STOPPING"), reply(outcomes=[outcome("a", "RUNNING"), outcome("b", "STOPPED", "why")]))
    requests, finished = asked(path, {method: answers}, *arguments)
    assert finished == Finished(0, "a: RUNNING\nb: STOPPED  why\n", "")
    assert requests == [Request(f"io.pgsupervisor.{method}", parameters, more=True)]


def test_kill_says_what_follows(path: str) -> None:
    _, finished = asked(path, {"Kill": says(reply(outcomes=[outcome("shop", "STOPPED")]))}, "kill", "shop")
    assert finished == Finished(0, "shop: STOPPED\nCrash recovery follows when a killed server is started again.\n", "")


def test_an_order_that_failed_for_one(path: str) -> None:
    """One outcome that is not ok is exit status 1."""
    answer = reply(outcomes=[outcome("a", "RUNNING"), outcome("b", "FATAL", "bad\nport", ok=False)])
    _, finished = asked(path, {"Start": says(answer)}, "start", "all")
    assert finished == Finished(1, "a: RUNNING\nb: FATAL  bad\\nport\n", "")
    _, finished = asked(path, {"Start": says(answer)}, "--json", "start", "all")
    assert (finished.status, json.loads(finished.output)) == (1, answer.parameters)


def test_an_order_that_is_not_waited_for(path: str) -> None:
    """With --no-wait we hang up after the first answer, which says that the order was taken."""
    requests, finished = asked(path, {"Stop": says(progress("a", "STOPPING"))}, "stop", "a", "--no-wait")
    assert finished == Finished(0, "", "")
    assert requests == [Request("io.pgsupervisor.Stop", {"names": ["a"]}, more=True)]


def test_an_order_for_nobody(path: str) -> None:
    """An order without a name is a mistake that could have stopped everything."""
    for command in ("start", "stop", "restart", "reload", "kill"):
        requests, finished = asked(path, {}, command)
        assert (requests, finished.status, finished.output) == ([], 2, "")
        assert finished.errors.endswith("patterns such as 'shop-*'; `all` means every cluster\n")


# the inventory, logs and the daemon


def test_update_says_what_it_did(path: str) -> None:
    """Changes come first, then what came of those that needed an order."""
    changes = [
        {"name": "old", "action": "remove", "effect": "nothing", "keys": []},
        {"name": "shop", "action": "change", "effect": "restart", "keys": ["port", "settings"]},
        {"name": "web", "action": "add", "effect": "nothing", "keys": []},
    ]
    outcomes = [outcome("old", "STOPPED"), outcome("shop", "RUNNING"), outcome("web", "FATAL", "no", ok=False)]
    lines = "remove  old\nchange  shop  port, settings  (restart)\nadd     web\n"
    requests, finished = asked(
        path, {"Update": says(progress("old", "STOPPING"), reply(changes=changes, outcomes=outcomes))}, "update"
    )
    assert finished == Finished(1, f"{lines}old: STOPPED\nshop: RUNNING\nweb: FATAL  no\n", "")
    assert requests == [Request("io.pgsupervisor.Update", {"dry_run": False}, more=True)]
    requests, finished = asked(path, {"Update": says(reply(changes=changes, outcomes=[]))}, "update", "--dry-run")
    assert finished == Finished(0, f"{lines}Nothing was done yet.\n", "")
    assert requests == [Request("io.pgsupervisor.Update", {"dry_run": True}, more=True)]
    _, finished = asked(path, {"Update": says(reply(changes=[], outcomes=[]))}, "update")
    assert finished == Finished(0, "Nothing changes.\n", "")


def logs(*pieces: tuple[str, str], over: threading.Event | None = None) -> dict[str, Script]:
    """Return the scripts of a daemon that sends these pieces of logs, each with its number as position.

    That ends the answer; or nothing more comes, and the daemon hangs up when it is `over`.
    """

    def get_log(_parameters: Parameters) -> Iterator[Reply | None]:
        for number, (name, text) in enumerate(pieces):
            yield part(name=name, source="logfile", text=text, position=str(number))
        if over is None:
            yield reply(text="")
        else:
            over.wait(timeout=30)
            yield None

    clusters = [cluster(name) for name in dict.fromkeys(name for name, _ in pieces)]
    return {"GetStatus": says(reply(clusters=clusters)), "GetLog": get_log}


def test_a_log_is_printed_byte_by_byte(path: str) -> None:
    """To a pipe a log goes as it is, whatever its encoding."""
    scripts = logs(("shop", ""), ("shop", "one\n\x1b[1mtw\udcff"), ("shop", "o"))
    requests, finished = asked(path, scripts, "logs", "shop", "-n", "2")
    assert finished == Finished(0, "one\n\x1b[1mtw\udcffo", "")
    asked_for = {"names": ["shop"], "lines": 2, "follow": False, "positions": []}
    assert requests == [
        Request("io.pgsupervisor.GetStatus", {"names": ["shop"]}),
        Request("io.pgsupervisor.GetLog", asked_for, more=True),
    ]


def test_a_log_since_a_while(path: str) -> None:
    """--since is a duration, and the daemon is asked for what comes after that moment."""
    before = time.time()
    requests, finished = asked(path, logs(("shop", "one\n")), "logs", "shop", "--since", "10min")
    since = requests[1].parameters["since"]
    assert finished == Finished(0, "one\n", "")
    assert isinstance(since, float)
    assert before - 600 <= since <= time.time() - 600
    assert pgsupctl("logs", "shop", "--since", "10min", "-n", "3").status == 2


def test_lines_of_several_logs_say_whose_they_are(path: str) -> None:
    scripts = logs(("shop", "one\ntwo\n"), ("web", "three"))
    assert asked(path, scripts, "logs", "all")[1] == Finished(0, "shop: one\nshop: two\nweb: three\n", "")
    _, finished = asked(path, scripts, "logs", "all", "--json")
    assert [json.loads(line) for line in finished.output.splitlines()] == [
        {"name": "shop", "line": "one"},
        {"name": "shop", "line": "two"},
        {"name": "web", "line": "three"},
    ]


def test_logs_are_followed_line_by_line(path: str) -> None:
    """Pieces end anywhere; what is printed at once is every line that is complete, of each log by itself."""
    over = threading.Event()
    scripts = logs(("shop", "o"), ("web", "x\n"), ("shop", "ne\nt"), ("shop", "wo\nth"), over=over)
    with FakeDaemon(path, scripts), started("-s", path, "logs", "-f", "shop", "web") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
        over.set()
    assert lines == [b"web: x\n", b"shop: one\n", b"shop: two\n"]
    assert (process.returncode, rest, errors) == (130, b"", b"")


def test_a_line_as_long_as_a_query_may_be(path: str) -> None:
    """A line that comes in a thousand pieces is put together once, and not anew with each of them."""
    pieces = [("shop", "x" * 2**16)] * 2**10
    assert asked(path, logs(*pieces, ("shop", "\n")), "logs", "shop")[1] == Finished(0, "x" * 2**26 + "\n", "")


def test_logs_are_followed_past_the_end_of_a_daemon(path: str) -> None:
    """Who follows a log goes on with the next daemon, where he was, in the middle of a line if need be."""
    over = threading.Event()
    with ExitStack() as ended:
        first = ended.enter_context(FakeDaemon(path, logs(("shop", "one\nt"), over=over)))
        with started("-s", path, "logs", "-f", "shop") as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            over.set()
            ended.close()
            with FakeDaemon(path, logs(("shop", "wo\n"))) as second:
                lines += process.stdout.readlines()
                assert process.stderr is not None
                errors = process.stderr.read()
                assert process.wait(timeout=30) == 0
    assert lines == [b"one\n", b"two\n"]
    assert errors == b"pgsupctl: the connection to pgsupervisord is lost; going on when it answers\n"
    assert [request.parameters["positions"] for request in (first.requests[1], second.requests[-1])] == [
        [],
        [{"name": "shop", "position": "0"}],
    ]
    assert asked(path, logs(("shop", "one\n"), over=over), "logs", "shop")[1].status == 4


def test_what_the_daemon_is(path: str) -> None:
    """`daemon info` says which daemon is asked, by its socket and its inventory, and what it is."""
    facts = {"version": "0.1.0", "pid": 7, "started": time.time() - 7530, "inventory": "/etc/i.toml", "clusters": 3}
    facts |= {"cgroup": "/sys/fs/cgroup/system.slice/pgsupervisor.service", "limits": "not now"}
    answers = {"GetDaemon": says(reply(**facts))}
    assert asked(path, answers, "daemon", "info")[1] == Finished(
        0,
        f"version    0.1.0\npid        7\nrunning    2 h 5 min\nsocket     {path}\ninventory  /etc/i.toml\n"
        "cgroup     /sys/fs/cgroup/system.slice/pgsupervisor.service\nlimits     off: not now\nclusters   3\n",
        "",
    )
    assert json.loads(asked(path, answers, "daemon", "info", "--json")[1].output) == facts


def test_an_upgrade(path: str) -> None:
    """`daemon upgrade` says from which version to which."""
    facts = {"was": "0.1.0", "version": "0.2.0", "pid": 7}
    answers = {"UpgradeDaemon": says(reply(**facts))}
    _, finished = asked(path, answers, "daemon", "upgrade")
    assert finished == Finished(0, "pgsupervisord 0.1.0 → 0.2.0, still with pid 7\n", "")
    assert json.loads(asked(path, answers, "daemon", "upgrade", "--json")[1].output) == facts


def test_the_end_of_the_daemon(path: str) -> None:
    """`daemon stop` returns when the daemon has gone; --leave is said only when it was asked for."""
    waited_for: list[Parameters] = []

    def stop(parameters: Parameters) -> Iterator[Reply | bytes | None]:
        yield reply()
        # More than a socket holds: it can only be sent if somebody still reads.
        yield bytes(4 * 1024 * 1024)
        waited_for.append(parameters)
        yield None

    for arguments in (["stop"], ["stop", "--leave"]):
        _, finished = asked(path, {"StopDaemon": stop}, "daemon", *arguments)
        assert finished == Finished(0, "pgsupervisord has ended\n", "")
    assert waited_for == [{}, {"leave": True}]
    assert asked(path, {}, "daemon", "info", "--leave")[1].status == 2
