"""What the control server answers: each method, and each mistake."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest
from control import LIMIT, Door, play
from fakes import spec

from pgsupervisor import __version__
from pgsupervisor.control import protocol
from pgsupervisor.errors import LogLostError, LogUntimedError
from pgsupervisor.supervision.kept import LogStart, Undo, Usage

SERVICE = "org.varlink.service"


def test_the_service_tells_what_it_is() -> None:
    """GetInfo and GetInterfaceDescription answer as Varlink says."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        info = await one.call(f"{SERVICE}.GetInfo")
        assert info == {
            "parameters": {
                "vendor": "pgsupervisor",
                "product": "pgsupervisord",
                "version": __version__,
                "url": "https://github.com/pgsupervisor/pgsupervisor",
                "interfaces": [SERVICE, "io.pgsupervisor"],
            }
        }
        for name in (SERVICE, "io.pgsupervisor"):
            reply = await one.call(f"{SERVICE}.GetInterfaceDescription", {"interface": name})
            assert reply == {"parameters": {"description": protocol.interface_description(name)}}

    play(scene)


def test_status() -> None:
    """GetStatus tells every field of the interface's Cluster."""

    async def scene(door: Door) -> None:
        await door.until("b", "RUNNING")
        door.postmaster("b").used = Usage(memory=3 << 20, cpu=1.5)
        one = await door.visit()
        reply = await one.call("GetStatus", {"names": ["b"]})
        (told,) = reply["parameters"]["clusters"]
        assert 0 <= time.time() - told.pop("since") < LIMIT
        assert told == {
            "name": "b",
            "yours": True,
            "state": "RUNNING",
            "wanted": True,
            "pid": 101,
            "port": 5432,
            "version": "18.0",
            "restarts": 0,
            "crashes": 0,
            "crashed": None,
            "reason": "",
            "report": None,
            "polled": None,
            "rotation": None,
            "standby": False,
            "memory": 3 << 20,
            "cpu": 1.5,
            "limits": None,
            "installation": "pg",
            "data_directory": "/srv/b",
            "socket_directory": None,
            "logfile": "/log/shop.log",
        }

    play(scene)


def test_status_without_what_clusters_use() -> None:
    """How clusters are is told also while the kernel does not answer what they use."""
    answered = threading.Event()

    async def scene(door: Door) -> None:
        await door.until("b", "RUNNING")
        door.postmaster("b").counting = answered
        one = await door.visit()
        reply = await one.call("GetStatus", {"names": ["b"]})
        (told,) = reply["parameters"]["clusters"]
        answered.set()
        assert (told["state"], told["memory"], told["cpu"]) == ("RUNNING", None, None)

    try:
        play(scene)
    finally:
        answered.set()


def test_daemon() -> None:
    """GetDaemon tells of the daemon; StopDaemon begins its end, and from then on one may only look."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        info = await one.call("GetDaemon")
        assert info["parameters"] == {
            "version": __version__,
            "pid": os.getpid(),
            "started": 1000.0,
            "inventory": "/etc/inventory.toml",
            "cgroup": None,
            "limits": "no cgroup",
            "clusters": 2,
        }
        assert await one.call("StopDaemon", {"leave": True}) == {"parameters": {}}
        assert await one.call("Stop", {"names": ["a"]}) == {"error": protocol.SHUTTING_DOWN, "parameters": {}}
        assert "error" not in await one.call("GetStatus", {"names": []})

    assert play(scene).leave == [True]


@pytest.mark.parametrize(
    ("method", "parameters", "error", "facts"),
    [
        ("Frobnicate", {}, protocol.METHOD_NOT_FOUND, {"method": "io.pgsupervisor.Frobnicate"}),
        ("com.example.Do", {}, protocol.INTERFACE_NOT_FOUND, {"interface": "com.example"}),
        (f"{SERVICE}.Do", {}, protocol.METHOD_NOT_FOUND, {"method": f"{SERVICE}.Do"}),
        (
            f"{SERVICE}.GetInterfaceDescription",
            {"interface": "com.example"},
            protocol.INTERFACE_NOT_FOUND,
            {"interface": "com.example"},
        ),
        ("GetStatus", {}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": "a"}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": [1]}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": None}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": [], "colour": 1}, protocol.INVALID_PARAMETER, {"parameter": "colour"}),
        ("GetStatus", {"names": ["x" * 129]}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": ["*"] * 17}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("Monitor", {"names": ["?"] * 17, "past": 0}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": ["*"] * 15 + ["x*"]}, protocol.NO_SUCH_CLUSTER, {"name": "x*"}),
        ("GetStatus", {"names": ["x"]}, protocol.NO_SUCH_CLUSTER, {"name": "x"}),
        ("Stop", {"names": ["a"], "mode": "hard"}, protocol.INVALID_PARAMETER, {"parameter": "mode"}),
        ("Stop", {"names": ["a"], "timeout": -1}, protocol.INVALID_PARAMETER, {"parameter": "timeout"}),
        ("Stop", {"names": ["a"], "timeout": "1s"}, protocol.INVALID_PARAMETER, {"parameter": "timeout"}),
        ("Start", {"names": ["a"], "mode": "fast"}, protocol.INVALID_PARAMETER, {"parameter": "mode"}),
        ("GetLog", {}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetLog", {"names": ["a"], "lines": 1.5}, protocol.INVALID_PARAMETER, {"parameter": "lines"}),
        ("GetLog", {"names": ["a"], "since": "now"}, protocol.INVALID_PARAMETER, {"parameter": "since"}),
        ("GetLog", {"names": ["a"], "follow": True}, protocol.INVALID_PARAMETER, {"parameter": "more"}),
        ("GetLog", {"names": ["*"]}, protocol.INVALID_PARAMETER, {"parameter": "more"}),
        ("GetLog", {"names": ["x"]}, protocol.NO_SUCH_CLUSTER, {"name": "x"}),
        (
            "GetLog",
            {"names": ["a"], "positions": [{"name": "a", "position": "x"}]},
            protocol.INVALID_PARAMETER,
            {"parameter": "positions"},
        ),
        ("Stop", {"names": ["a"], "force": True}, protocol.INVALID_PARAMETER, {"parameter": "force"}),
        ("GetConfiguration", {"name": "a"}, protocol.INVALID_PARAMETER, {"parameter": "keys"}),
        ("GetConfiguration", {"name": "*", "keys": []}, protocol.NO_SUCH_CLUSTER, {"name": "*"}),
        ("SetConfiguration", {"name": "a", "changes": []}, protocol.INVALID_PARAMETER, {"parameter": "changes"}),
        (
            "SetConfiguration",
            {"name": "a", "changes": [{"value": "1"}]},
            protocol.INVALID_PARAMETER,
            {"parameter": "changes"},
        ),
        (
            "SetConfiguration",
            {"name": "a", "changes": [{"name": "port", "value": 1}]},
            protocol.INVALID_PARAMETER,
            {"parameter": "changes"},
        ),
        (
            "SetConfiguration",
            {"name": "all", "changes": [{"name": "port", "value": "1"}]},
            protocol.NO_SUCH_CLUSTER,
            {"name": "all"},
        ),
        ("CheckConfiguration", {"name": "x"}, protocol.NO_SUCH_CLUSTER, {"name": "x"}),
        ("Monitor", {"names": [], "past": 1001}, protocol.INVALID_PARAMETER, {"parameter": "past"}),
        ("Monitor", {"names": [], "past": -1}, protocol.INVALID_PARAMETER, {"parameter": "past"}),
        ("Monitor", {"names": [], "after": -1}, protocol.INVALID_PARAMETER, {"parameter": "after"}),
        ("Monitor", {"names": ["a", "x-*"]}, protocol.NO_SUCH_CLUSTER, {"name": "x-*"}),
        ("GetDaemon", {"x": 1}, protocol.INVALID_PARAMETER, {"parameter": "x"}),
        ("StopDaemon", {"leave": "yes"}, protocol.INVALID_PARAMETER, {"parameter": "leave"}),
    ],
)
def test_a_mistake_is_named(method: str, parameters: object, error: str, facts: dict[str, object]) -> None:
    """A request that cannot be carried out is answered by an error that names what is wrong; the connection stays."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        assert await one.call(method, parameters) == {"error": error, "parameters": facts}
        assert "error" not in await one.call("GetStatus", {"names": []})

    play(scene)


def test_progress_is_for_those_who_ask_for_more() -> None:
    """With `more` each change on the way is told, and the outcomes come last."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await door.visit()
        one.ask("Restart", {"names": ["a"]}, more=True)
        replies = [await one.hear()]
        while replies[-1].get("continues"):
            replies.append(await one.hear())
        states = [each["parameters"]["progress"]["state"] for each in replies[:-1]]
        assert (states[0], states[-1]) == ("STOPPING", "RUNNING")
        outcomes = [{"name": "a", "ok": True, "state": "RUNNING", "message": ""}]
        assert replies[-1] == {"parameters": {"outcomes": outcomes}}

    play(scene)


def test_a_mistake_of_ours_that_nobody_waits_for() -> None:
    """An order that fails by a mistake of ours after its client has hung up is told as one that fails before."""
    troubles: list[tuple[str, str]] = []

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        written = asyncio.Event()
        going_on = asyncio.Event()

        async def write(_changes: object) -> Undo:
            written.set()
            await going_on.wait()
            raise ZeroDivisionError("a mistake of ours")

        door.postmaster("a").write = write
        one = await door.visit()
        one.ask("SetConfiguration", {"name": "a", "changes": [{"name": "work_mem", "value": "1"}]})
        await written.wait()
        one.hang_up()
        await door.until_alone()
        assert door.mistakes == []
        going_on.set()
        while not door.mistakes:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)
        troubles.extend((where, str(error)) for where, error in door.mistakes)
        door.mistakes.clear()

    play(scene)
    assert troubles == [("io.pgsupervisor.SetConfiguration", "a mistake of ours")]


def test_the_end_of_a_log() -> None:
    """GetLog gives the last lines, bytes that are no UTF-8 included."""

    async def scene(door: Door) -> None:
        log = door.postmaster("a").log
        for line in (b"one\n", b"two\n", b"th\xff\n"):
            log.write(line)
        one = await door.visit()
        assert await one.call("GetLog", {"names": ["a"], "lines": 2}) == {"parameters": {"text": "two\nth\udcff\n"}}
        assert await one.call("GetLog", {"names": ["a"], "since": 7.5}) == {
            "parameters": {"text": "one\ntwo\nth\udcff\n"}
        }
        assert log.opened == [LogStart(2, 2**20), LogStart(10, 2**20, 7.5)]

    play(scene)


def test_a_long_log_in_one_answer() -> None:
    """Of a log that is asked for in one answer, no more than the last MiB comes."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.write(b"x" * 2**20)
        door.postmaster("a").log.write(b"last")
        reply = await (await door.visit()).call("GetLog", {"names": ["a"]})
        assert reply == {"parameters": {"text": "x" * (2**20 - 4) + "last"}}

    play(scene)


def test_logs_that_are_followed() -> None:
    """Followed, what is written later comes too, of several logs; each piece says where to go on, and one can."""

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            door.postmaster(name).log.write(b"old\n")
        one = await door.visit()
        one.ask("GetLog", {"names": ["a", "b"], "lines": 1, "follow": True}, more=True)
        heard = [await one.hear() for _ in range(4)]
        assert sorted(map(str, heard)) == sorted(
            str(piece(name, text, position)) for name in ("a", "b") for text, position in (("", "0"), ("old\n", "1"))
        )
        door.postmaster("b").log.write(b"new\n")
        assert await one.hear() == piece("b", "new\n", "2")
        other = await door.visit()
        positions = [{"name": "b", "position": "1"}]
        other.ask("GetLog", {"names": ["b"], "positions": positions}, more=True)
        assert [await other.hear() for _ in range(3)] == [
            piece("b", "", "1"),
            piece("b", "new\n", "2"),
            {"parameters": {"text": ""}},
        ]

    play(scene)


def piece(name: str, text: str, position: str) -> dict[str, object]:
    """Return a piece of a log, as it is sent."""
    parameters = {"name": name, "source": "logfile", "text": text, "position": position}
    return {"parameters": parameters, "continues": True}


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(
    ("refusal", "error", "facts"),
    [
        (FileNotFoundError(2, "No such file", "/log/x"), "LogNotReadable", {"path": "/log/x", "why": "No such file"}),
        (PermissionError(13, "Not yours"), "LogNotReadable", {"path": "/log/shop.log", "why": "Not yours"}),
        (LogLostError("/log/shop.log"), "LogLost", {"path": "/log/shop.log"}),
        (LogUntimedError("/log/shop.log"), "LogUntimed", {"path": "/log/shop.log"}),
    ],
)
def test_a_log_that_is_not_to_be_had(refusal: Exception, error: str, facts: dict[str, str], *, more: bool) -> None:
    """Why a log cannot be read, or not from there, is said in the words of the interface."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.refusal = refusal
        reply = await (await door.visit()).call("GetLog", {"names": ["a"]}, more=more)
        assert reply == {"error": f"io.pgsupervisor.{error}", "parameters": facts}

    play(scene)


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("journal", "it is in the journal: journalctl -t pgsupervisor/a"),
        ("inherit", "it goes to the daemon's standard error"),
        ("none", "it is thrown away; choose another `logfile` to have it"),
    ],
)
def test_a_log_that_is_no_file(word: str, why: str) -> None:
    """A log that is not in a file of the cluster's own is not read here; it is said where it is."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.refusal = FileNotFoundError(2, "No such file")
        one = await door.visit()
        refused = {"error": "io.pgsupervisor.LogNotReadable", "parameters": {"path": word, "why": why}}
        assert await one.call("GetLog", {"names": ["a"]}) == refused
        assert await one.call("GetLog", {"names": ["a"], "follow": True}, more=True) == refused
        (told,) = (await one.call("GetStatus", {"names": []}))["parameters"]["clusters"]
        assert told["logfile"] == word

    play(scene, spec("a", logfile=word))


def test_one_of_several_logs_cannot_be_read() -> None:
    """The others are sent, and of this one it is said why not."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.refusal = FileNotFoundError(2, "No such file")
        door.postmaster("b").log.write(b"one\n")
        one = await door.visit()
        one.ask("GetLog", {"names": ["*"]}, more=True)
        assert [await one.hear() for _ in range(4)] == [
            {"parameters": {"name": "a", "text": "", "why": "No such file"}, "continues": True},
            piece("b", "", "0"),
            piece("b", "one\n", "1"),
            {"parameters": {"text": ""}},
        ]

    play(scene)


def test_a_log_that_is_lost_while_it_is_followed() -> None:
    """Who reads too slowly for what is kept is told so, and his call ends, whatever else he follows."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.lost = LogLostError("/log/a.log")
        one = await door.visit()
        one.ask("GetLog", {"names": ["a", "b"], "follow": True}, more=True)
        while (reply := await one.hear()).get("continues"):
            pass
        assert reply == {"error": protocol.LOG_LOST, "parameters": {"path": "/log/a.log"}}
        assert "parameters" in await one.call("GetDaemon")

    play(scene)
