"""pgsupctl events: sentences for people, documents for programs, and an end when it is time."""

from __future__ import annotations

import os
import pwd
import signal
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, Script, error, part, reply, says
from pgsupctl import Finished, asked, pgsupctl_on_terminal, started

from pgsupervisor.control.protocol import Request


@pytest.fixture
def path(short_directory: Path) -> str:
    """Return a path for a socket."""
    return str(short_directory / "control")


ME = pwd.getpwuid(os.geteuid()).pw_name


def event(name: str, cluster: str | None = "shop", level: str = "info", /, **facts: object) -> dict[str, object]:
    """Return an event as the daemon tells of it."""
    return {"sequence": 7, "time": 90_061.5, "level": level, "event": name, "cluster": cluster, "facts": facts}


STARTED = event("state changed", was="STARTING", now="RUNNING", on="Ready", pid=101)
FAILED = event("state changed", "web", "error", was="STARTING", now="FATAL", on="Exited", reason="no \x1b[2Jspace")
ORDERED = event("ordered", order="stop", uid=os.geteuid(), mode="fast", timeout=30.0, force=True)
STRANGE = event("ordered", None, order="update", uid=4_000_000_000)


def happened(*events: dict[str, object], **more: object) -> dict[str, Script]:
    """Return a daemon of which this is known."""
    return {"Monitor": says(reply(clusters=[], events=list(events), **more))}


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ((), {"names": [], "past": 10}),
        (("shop", "web-*"), {"names": ["shop", "web-*"], "past": 10}),
        (("-n", "25"), {"names": [], "past": 25}),
        (("-n", "999999"), {"names": [], "past": 1000}),
    ],
)
def test_what_is_asked(path: str, arguments: tuple[str, ...], parameters: dict[str, object]) -> None:
    """Once is one call; more than are kept are not asked for."""
    requests, finished = asked(path, happened(), "events", *arguments)
    assert (requests, finished) == ([Request("io.pgsupervisor.Monitor", parameters)], Finished(0, "", ""))


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (STARTED, "shop  STARTING → RUNNING  pid 101"),
        (FAILED, "web  STARTING → FATAL  no \\x1b[2Jspace"),
        (event("state changed", was="STARTING", now="STARTING", reason="slow"), "shop  STARTING  slow"),
        (ORDERED, f"shop  stop ordered by {ME}  mode fast; timeout 30; force true"),
        (STRANGE, "-  update ordered by 4000000000"),
        (event("order refused", None, "warning", method="Stop", uid=4_000_000_000), "-  Stop refused to 4000000000"),
        (event("reloaded", files=["/a", "/b"], changes=[], reason=None), "shop  reloaded  files /a, /b"),
        (event("log rotated", archive="/l.1", size=10_000_000), "shop  log rotated  archive /l.1; size 10000000"),
        (event("daemon started", None, pid=7), "-  daemon started  pid 7"),
        (event("ordered"), "shop  ordered"),
        (event("new\nkind", "s\x07", of={"it": [1]}), 's\\x07  new\\nkind  of {"it": [1]}'),
    ],
)
def test_sentences(path: str, told: dict[str, object], line: str) -> None:
    """An event is one line: when, which cluster, and what; with nothing in it that a terminal obeys."""
    assert asked(path, happened(told), "events")[1] == Finished(0, f"1970-01-02 01:01:01  {line}\n", "")


def test_json(path: str) -> None:
    """JSON has one event per line, with its facts as keys, in their order; what every event has comes first."""
    odd = event("odd", None, level="info", time="x", fact={"a": [1, None]})
    head, rest = '{"sequence": 7, "time": 90061.5, "level": "info",', '"mode": "fast", "timeout": 30.0, "force": true'
    _, finished = asked(path, happened(ORDERED, odd, missed=3), "events", "--json")
    assert finished.output.splitlines() == [
        '{"missed": 3}',
        f'{head} "event": "ordered", "cluster": "shop", "order": "stop", "uid": {os.geteuid()}, {rest}}}',
        f'{head} "event": "odd", "cluster": null, "fact": {{"a": [1, null]}}}}',
    ]


def test_events_are_followed(path: str) -> None:
    """Each event is printed as it comes, and what was missed is told; Ctrl-C is the end."""
    scripts = {
        "Monitor": says(
            part(clusters=[], events=[STARTED]),
            part(clusters=[], removed=[]),
            part(clusters=[], removed=[], events=[FAILED], missed=12),
        )
    }
    with FakeDaemon(path, scripts) as daemon, started("-s", path, "events", "-f", "-n", "1", "shop") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().rstrip("\n") for _ in range(3)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert lines == [
        "1970-01-02 01:01:01  shop  STARTING → RUNNING  pid 101",
        "… 12 events were missed: more came than are kept",
        "1970-01-02 01:01:01  web  STARTING → FATAL  no \\x1b[2Jspace",
    ]
    assert (process.returncode, rest, errors) == (130, b"", b"")
    assert daemon.requests == [Request("io.pgsupervisor.Monitor", {"names": ["shop"], "past": 1}, more=True)]


def test_the_end_of_the_daemon(path: str) -> None:
    """When the daemon goes, so do we, as `status -w` does."""
    _, finished = asked(path, {"Monitor": says(part(clusters=[], events=[STARTED]), None)}, "events", "-f")
    assert (finished.status, finished.output.count("\n")) == (4, 1)


def test_a_reader_that_has_seen_enough(path: str) -> None:
    """`pgsupctl events -f | head -1` ends without a word when there is more to print."""
    read, write = os.pipe()
    os.close(read)
    with FakeDaemon(path, happened(STARTED)), started("-s", path, "events", "-f", stdout=write) as process:
        os.close(write)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (141, b"")


def test_on_a_terminal(path: str) -> None:
    """A warning is yellow, an error is red."""
    warned = event("order refused", None, "warning", method="Stop", uid=4_000_000_000)
    with FakeDaemon(path, happened(STARTED, warned, FAILED, missed=1)):
        finished = pgsupctl_on_terminal("-s", path, "events")
    assert finished.output.splitlines() == [
        "\033[33m… 1 event was missed: more came than are kept\033[0m",
        "1970-01-02 01:01:01  shop  STARTING → RUNNING  pid 101",
        "1970-01-02 01:01:01  -  \033[33mStop refused to 4000000000\033[0m",
        "1970-01-02 01:01:01  web  \033[31mSTARTING → FATAL  no \\x1b[2Jspace\033[0m",
    ]


def test_a_name_that_nobody_has(path: str) -> None:
    _, finished = asked(path, {"Monitor": says(error("io.pgsupervisor.NoSuchCluster", name="x"))}, "events", "x")
    assert finished == Finished(1, "", "pgsupctl: there is no cluster x; `pgsupctl status` shows which there are\n")
