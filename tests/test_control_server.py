"""What the control server answers: each method, and each mistake."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from control import LIMIT, Door, play
from fakes import spec

from pgsupervisor import __version__
from pgsupervisor.control import protocol
from pgsupervisor.supervision.kept import Undo

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
        one = await door.visit()
        reply = await one.call("GetStatus", {"names": ["b"]})
        (told,) = reply["parameters"]["clusters"]
        assert 0 <= time.time() - told.pop("since") < LIMIT
        assert told == {
            "name": "b",
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
            "standby": False,
            "installation": "pg",
            "data_directory": "/srv/b",
            "socket_directory": None,
            "logfile": "/log/shop.log",
        }

    play(scene)


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
        ("GetStatus", {"names": ["x" * 257]}, protocol.INVALID_PARAMETER, {"parameter": "names"}),
        ("GetStatus", {"names": ["x"]}, protocol.NO_SUCH_CLUSTER, {"name": "x"}),
        ("Stop", {"names": ["a"], "mode": "hard"}, protocol.INVALID_PARAMETER, {"parameter": "mode"}),
        ("Stop", {"names": ["a"], "timeout": -1}, protocol.INVALID_PARAMETER, {"parameter": "timeout"}),
        ("Stop", {"names": ["a"], "timeout": "1s"}, protocol.INVALID_PARAMETER, {"parameter": "timeout"}),
        ("Start", {"names": ["a"], "mode": "fast"}, protocol.INVALID_PARAMETER, {"parameter": "mode"}),
        ("GetLog", {"name": "a"}, protocol.INVALID_PARAMETER, {"parameter": "lines"}),
        ("GetLog", {"name": "a", "lines": 1.5}, protocol.INVALID_PARAMETER, {"parameter": "lines"}),
        ("GetLog", {"name": "a", "lines": 1, "follow": True}, protocol.INVALID_PARAMETER, {"parameter": "more"}),
        ("GetLog", {"name": "*", "lines": 1}, protocol.NO_SUCH_CLUSTER, {"name": "*"}),
        (
            "GetLog",
            {"name": "a", "lines": 1},
            protocol.LOG_NOT_READABLE,
            {"path": "/log/shop.log", "why": "No such file or directory"},
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


def test_a_log_that_is_followed(tmp_path: Path) -> None:
    """GetLog gives the last lines; followed, what is written later comes too, bytes that are no UTF-8 included."""
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nth\xff\n")

    async def scene(door: Door) -> None:
        one = await door.visit()
        reply = await one.call("GetLog", {"name": "a", "lines": 2})
        assert reply["parameters"] == {"text": "two\nth\udcff\n"}
        one.ask("GetLog", {"name": "a", "lines": 1, "follow": True}, more=True)
        assert await one.hear() == {"parameters": {"text": "th\udcff\n"}, "continues": True}
        with path.open("a") as file:
            file.write("four\n")
        assert await one.hear() == {"parameters": {"text": "four\n"}, "continues": True}

    play(scene, spec("a", logfile=str(path)))


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
        one = await door.visit()
        refused = {"error": "io.pgsupervisor.LogNotReadable", "parameters": {"path": word, "why": why}}
        assert await one.call("GetLog", {"name": "a", "lines": 1}) == refused
        one.ask("GetLog", {"name": "a", "lines": 1, "follow": True}, more=True)
        assert await one.hear() == refused
        (told,) = (await one.call("GetStatus", {"names": []}))["parameters"]["clusters"]
        assert told["logfile"] == word

    play(scene, spec("a", logfile=word))
