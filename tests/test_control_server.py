"""What the control server answers, and what it costs others when somebody asks nonsense."""

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
from pgsupervisor.control.server import MAX_CONNECTIONS
from pgsupervisor.supervision.life import Timeout

SERVICE = "org.varlink.service"


async def is_served(door: Door) -> None:
    """See that somebody else is served."""
    other = await door.visit()
    reply = await other.call("GetStatus", {"names": ["a"]})
    assert "error" not in reply
    other.hang_up()


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
        (told,) = reply["parameters"]["clusters"]  # type: ignore[index]
        assert 0 <= time.time() - told.pop("since") < LIMIT
        assert told == {
            "name": "b",
            "state": "RUNNING",
            "wanted": True,
            "pid": 101,
            "port": 5432,
            "version": "18.0",
            "restarts": 0,
            "reason": "",
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
        ("Monitor", {"names": []}, protocol.INVALID_PARAMETER, {"parameter": "more"}),
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


@pytest.mark.parametrize(
    "nonsense",
    [
        b"{\0",
        b"\0",
        b"null\0",
        b"[]\0",
        b"{}\0",
        b'{"method": 1}\0',
        b'{"method": "io.pgsupervisor.GetStatus", "parameters": []}\0',
        b'{"method": "io.pgsupervisor.GetStatus", "more": 1}\0',
        b'{"method": "a", "method": "b"}\0',
        b"\xff\xfe\0",
        b"[" * 60_000 + b"\0",
        b'{"method": "' + b"x" * 65_536 + b'"}\0',
        b"x" * 1_000_000,
        b"GET / HTTP/1.1\r\n\r\n\0",
    ],
    ids=lambda nonsense: repr(nonsense[:40]),
)
def test_nonsense_closes_the_connection(nonsense: bytes) -> None:
    """What is no message, or longer than a message may be, ends that connection, and costs nobody else anything."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.say(nonsense)
        assert await one.hear_out() == b""
        await is_served(door)

    play(scene)


def test_what_came_before_nonsense_is_answered() -> None:
    """Nonsense ends the connection after what was asked before it has been answered."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.ask("GetDaemon")
        one.say(b"nonsense\0")
        assert "parameters" in await one.hear()
        assert await one.hear_out() == b""

    play(scene)


def test_half_a_message_waits() -> None:
    """Half a message keeps nobody else waiting, and is answered when its other half comes."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.say(b'{"method": "io.pgsup')
        await is_served(door)
        one.say(b'ervisor.GetDaemon"}\0')
        assert "parameters" in await one.hear()

    play(scene)


def test_half_a_message_and_gone() -> None:
    """Half a message of somebody who hangs up is nothing."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.say(b'{"method": "io.pgsup')
        one.hang_up()
        await is_served(door)

    play(scene)


def test_requests_are_answered_in_their_order() -> None:
    """Requests that come all at once, more than are read ahead, are answered one after the other."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        for number in range(100):
            one.ask("GetStatus", {"names": [f"x{number}"]})
        replies = [await one.hear() for _ in range(100)]
        assert [reply["parameters"] for reply in replies] == [{"name": f"x{number}"} for number in range(100)]

    play(scene)


def test_one_who_only_ended_his_sending_is_answered() -> None:
    """A client that shuts its sending side down, as `nc -N` does, gets its answers, also of an order that waits."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        postmaster = door.postmaster("a")
        postmaster.obeys = frozenset()
        one = await door.visit()
        one.ask("GetDaemon")
        one.ask("Stop", {"names": ["a"]})
        one.writer.write_eof()
        assert "parameters" in await one.hear()
        await door.until("a", "STOPPING")
        postmaster.end(clean=True)
        reply = await one.hear()
        assert reply["parameters"] == {"outcomes": [{"name": "a", "ok": True, "state": "STOPPED", "message": ""}]}
        assert await one.hear_out() == b""

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
        states = [each["parameters"]["progress"]["state"] for each in replies[:-1]]  # type: ignore[index]
        assert (states[0], states[-1]) == ("STOPPING", "RUNNING")
        outcomes = [{"name": "a", "ok": True, "state": "RUNNING", "message": ""}]
        assert replies[-1] == {"parameters": {"outcomes": outcomes}}

    play(scene)


def test_oneway_is_not_answered() -> None:
    """A oneway request is carried out, and what is answered next is the next request."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await door.visit()
        one.ask("Stop", {"names": ["a"]}, oneway=True)
        assert "version" in (await one.call("GetDaemon"))["parameters"]  # type: ignore[operator]
        assert door.state("a") == "STOPPED"

    play(scene)


@pytest.mark.parametrize("oneway", [False, True])
def test_an_order_of_one_who_hangs_up_at_once(*, oneway: bool) -> None:
    """An order is carried out even if its client hung up right after it had sent it."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await door.visit()
        one.ask("Stop", {"names": ["a"]}, oneway=oneway)
        one.hang_up()
        await door.until("a", "STOPPED")

    play(scene)


def test_an_order_goes_on_when_its_client_hangs_up() -> None:
    """A client that hangs up while its order waits ends the wait alone; unread progress is no mistake of ours."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        postmaster = door.postmaster("a")
        postmaster.obeys = frozenset()
        one = await door.visit()
        one.ask("Restart", {"names": ["a"]}, more=True)
        await door.until("a", "STOPPING")
        one.hang_up()
        await until_alone(door)
        postmaster.end(clean=True)
        await door.until("a", "RUNNING")
        assert postmaster.calls.count("spawn") == 2

    play(scene)


async def until_alone(door: Door) -> None:
    """Wait until the server has let go of every connection."""
    while door.server._connections:  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("shut", [False, True], ids=["hangs up", "ends its sending first"])
@pytest.mark.parametrize("pipelined", [0, 100])
def test_a_listener_who_hangs_up_is_forgotten(*, shut: bool, pipelined: int) -> None:
    """A client that listens and hangs up is let go at once, not when there is something to tell, whatever it said."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.ask("Monitor", {"names": []}, more=True)
        await one.hear()
        for _ in range(pipelined):
            one.ask("GetDaemon")
        await one.writer.drain()
        if shut:
            one.writer.write_eof()
        await is_served(door)
        one.hang_up()
        await until_alone(door)

    play(scene)


def test_one_who_never_reads_is_dropped() -> None:
    """Progress that nobody reads is kept up to a bound; then its client is dropped, and the order goes on."""

    async def scene(door: Door) -> None:
        other = await door.visit()
        await other.call("Stop", {"names": ["a"]})
        postmaster = door.postmaster("a")
        postmaster.gets_ready = False
        one = await door.visit()
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]
        one.ask("Start", {"names": ["a"]}, more=True)
        await door.until("a", "STARTING")
        told = 0
        while len(door.server._connections) > 1:
            postmaster._post(Timeout())  # which makes it say that it still starts
            told += 1
            await asyncio.sleep(0)
        assert told * 100 < 4 * 2**20
        await is_served(door)
        postmaster.get_ready()
        await door.until("a", "RUNNING")

    play(scene)


def test_one_who_asks_and_never_reads() -> None:
    """A client that asks for ever and never reads is not read from any more, and the server can end all the same."""

    async def scene(door: Door) -> None:
        one = await door.visit()
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20_000):
            one.ask("GetStatus", {"names": []})
        await asyncio.sleep(0)
        await is_served(door)

    play(scene)


def test_more_connections_than_one_user_may_have() -> None:
    """One connection too many is closed at once; those that are open stay, and there is room again later."""

    async def scene(door: Door) -> None:
        many = [await door.visit() for _ in range(MAX_CONNECTIONS)]
        for each in many:
            assert "error" not in await each.call("GetDaemon")
        late = await door.visit()
        assert await late.hear_out() == b""
        assert "error" not in await many[0].call("GetDaemon")
        for each in many:
            each.hang_up()
        await until_alone(door)
        await is_served(door)

    play(scene)


def test_monitor() -> None:
    """Monitor tells how the clusters are, then of each one that changes, and of those only that were asked for."""

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            await door.until(name, "RUNNING")
        one = await door.visit()
        one.ask("Monitor", {"names": ["a"]}, more=True)
        assert states(await one.hear()) == {"a": "RUNNING"}
        other = await door.visit()
        await other.call("Stop", {"names": ["b"]})
        await other.call("Stop", {"names": ["a"]})
        seen = {}
        while seen.get("a") != "STOPPED":
            seen |= states(await one.hear())
        assert seen == {"a": "STOPPED"}

    play(scene)


def states(reply: dict[str, object]) -> dict[str, str]:
    """Return the states that a reply tells."""
    return {each["name"]: each["state"] for each in reply["parameters"]["clusters"]}  # type: ignore[index]


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


def test_the_end_of_the_server_ends_everybody() -> None:
    """When the server closes, whoever waits is let go: nobody can keep the daemon from ending."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        door.postmaster("a").obeys = frozenset()
        visitors = [await door.visit() for _ in range(4)]
        visitors[0].ask("Monitor", {"names": []}, more=True)
        visitors[1].ask("Stop", {"names": ["a"]}, more=True)
        visitors[2].say(b"half")
        await door.until("a", "STOPPING")

    play(scene)
