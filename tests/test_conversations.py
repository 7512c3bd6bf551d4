"""Conversations that are handed over: the client notices nothing, or hears what it is that he waits for no longer."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import cast

import pytest
from control import UPGRADED, Door, Stranger, play

from pgsupervisor.control import protocol
from pgsupervisor.control.access import Peer
from pgsupervisor.control.connection import Call
from pgsupervisor.control.conversations import Conversations
from pgsupervisor.control.household import Households, Turn
from pgsupervisor.control.protocol import Reply, Request
from pgsupervisor.supervision.kept import LogStart


async def served(door: Door) -> Stranger:
    """Visit, and be served."""
    one = await door.visit()
    assert "error" not in await one.call("GetDaemon")
    return one


def test_who_is_silent_goes_along() -> None:
    """Who has asked nothing, or half of something, is answered by the others when he has asked it."""

    async def scene(door: Door) -> None:
        silent, half = await served(door), await served(door)
        half.say(b'{"method": "io.pgsup')
        await asyncio.sleep(0.01)
        await door.change_hands()
        half.say(b'ervisor.GetDaemon"}\0')
        assert "parameters" in await half.hear()
        assert "parameters" in await silent.call("GetDaemon")

    play(scene)


@pytest.mark.parametrize("size", [1, 40, 6000])
def test_what_was_sent_is_answered_once(size: int) -> None:
    """Whatever was asked before, all at once, is answered in its order, by the one or by the other."""

    async def scene(door: Door) -> None:
        one = await served(door)
        for number in range(size):
            one.ask("GetStatus", {"names": [f"x{number}"]})
        await one.writer.drain()
        await door.change_hands()
        replies = [await one.hear() for _ in range(size)]
        assert [reply["parameters"] for reply in replies] == [{"name": f"x{number}"} for number in range(size)]
        assert "parameters" in await one.call("GetDaemon")

    play(scene)


def test_who_watches_goes_on_to_watch() -> None:
    """A Monitor begins anew where it goes on."""

    async def scene(door: Door) -> None:
        one = await served(door)
        first = await one.call("Monitor", {"names": ["a"]}, more=True)
        await door.change_hands()
        again = await one.hear()
        assert (again["continues"], _names(again)) == (True, _names(first))
        door.postmaster("a").end("killed")
        assert _names(await one.hear()) == ["a"]

    play(scene)


def test_who_waits_for_an_order_hears_that_it_goes_on() -> None:
    """An order's client hears that, and no more of it, and may ask something else; what was ordered is done."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        door.postmaster("a").obeys = frozenset()
        one, gone = await served(door), await served(door)
        assert "progress" in str(await one.call("Stop", {"names": ["a"]}, more=True))
        gone.ask("Stop", {"names": ["b"]})
        gone.hang_up()
        await door.until("b", "STOPPED")
        handed = await door.conversations.hand_over()
        assert await one.hear() == {"error": protocol.UPGRADING, "parameters": {}}
        assert len(handed) == 1
        door.conversations.take_back(UPGRADED)
        door.postmaster("a").end(clean=True)
        await door.until("a", "STOPPED")
        assert _names(await one.call("GetStatus", {"names": ["a"]})) == ["a"]

    play(scene)


def test_an_order_that_was_not_begun() -> None:
    """An order behind one that waits is carried out by the others, and its client hears what comes of it."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        door.postmaster("a").obeys = frozenset()
        one = await served(door)
        one.ask("Stop", {"names": ["a"]})
        one.ask("Stop", {"names": ["b"]})
        await door.until("a", "STOPPING")
        await door.change_hands()
        assert await one.hear() == {"error": protocol.UPGRADING, "parameters": {}}
        assert "outcomes" in str(await one.hear())
        assert door.state("b") == "STOPPED"

    play(scene)


def test_who_follows_logs_goes_on_to_follow() -> None:
    """A log is gone on with where it was: no line is told twice, and none is left out."""

    async def scene(door: Door) -> None:
        log = door.postmaster("a").log
        log.write(b"one\n")
        one = await served(door)
        one.ask("GetLog", {"names": ["a", "b"], "lines": 1, "follow": True}, more=True)
        seen = ""
        while seen != "one\n":
            seen += text(await one.hear())
        await door.change_hands()
        log.write(b"two\n")
        while seen != "one\ntwo\n":
            seen += text(await one.hear())
        places = [{"name": "a", "position": "1"}, {"name": "b", "position": "0"}]
        assert [log.opened[-1], door.postmaster("b").log.opened[-1]] == [
            LogStart(1, position=place["position"]) for place in places
        ]

    play(scene)


def text(reply: dict[str, object]) -> str:
    """Return the text of a piece of a log."""
    parameters = reply["parameters"]
    assert isinstance(parameters, dict)
    return str(parameters["text"])


def test_who_asked_for_the_upgrade_hears_of_it() -> None:
    """UpgradeDaemon is answered by the others, and what its client asked behind it as well."""

    async def scene(door: Door) -> None:
        one = await served(door)
        one.ask("UpgradeDaemon")
        one.ask("GetDaemon")
        await door.upgrading.wait()
        await door.change_hands()
        assert await one.hear() == {"parameters": dict(UPGRADED.parameters)}
        assert "inventory" in str(await one.hear())

    play(scene)


def test_an_upgrade_that_is_refused() -> None:
    """A refusal is an answer like any other; one that comes late is told on the way back."""

    async def scene(door: Door) -> None:
        one = await served(door)
        one.ask("UpgradeDaemon")
        await door.upgrading.wait()
        door.refuse.set()
        refused = {"error": protocol.UPGRADE_REFUSED, "parameters": {"why": "there is no other version"}}
        assert await one.hear() == refused
        door.refuse.clear()
        one.ask("UpgradeDaemon")
        await door.upgrading.wait()
        assert [each.asked for each in await door.conversations.hand_over()] == [True]
        door.refuse.set()
        door.conversations.take_back(Reply({"why": "late"}, error=protocol.UPGRADE_REFUSED))
        assert await one.hear() == {"error": protocol.UPGRADE_REFUSED, "parameters": {"why": "late"}}
        assert "parameters" in await one.call("GetDaemon")

    play(scene)


def test_whoever_hangs_up_while_he_is_told() -> None:
    """A client that goes in the very moment in which something is sent to it is no mistake of ours."""
    gone = asyncio.Event()

    async def send(_call: Call) -> Reply:
        await gone.wait()
        raise ConnectionResetError

    async def scene(door: Door) -> None:
        unheard: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        one = await door.visit()
        watching = Call(
            Request("io.pgsupervisor.Monitor", {}, more=True), Peer(1, 0, 0), one.writer, Turn(Households().of(0))
        )
        answering = asyncio.create_task(Conversations(send, door._mistake)._answer(watching))
        await asyncio.sleep(0.01)
        gone.set()
        answering.cancel()
        await asyncio.wait({answering})
        del answering  # nobody is left who could hear of it
        gc.collect()
        assert unheard == []

    play(scene)


def test_an_upgrade_after_one_that_was_refused_early() -> None:
    """Where nothing was handed over yet, there is nothing to take back, and everybody goes along the next time."""

    async def scene(door: Door) -> None:
        one = await served(door)
        assert "parameters" in await one.call("GetDaemon")
        door.conversations.take_back(UPGRADED)
        assert [each.asked for each in await door.conversations.hand_over()] == [False]
        door.conversations.take_back(UPGRADED)
        assert "parameters" in await one.call("GetDaemon")

    play(scene)


def test_who_does_not_read_is_dropped() -> None:
    """A client that has not read what he was told keeps nobody waiting for long: he does not go along."""

    async def scene(door: Door) -> None:
        door.postmaster("a").log.write(b"x" * 2**20)
        other = await served(door)
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(door.path)
            one.sendall(protocol.encode_request(Request("io.pgsupervisor.GetLog", {"names": ["a"], "lines": 1})))
            loop.add_reader(one, told.set)
            await told.wait()
            loop.remove_reader(one)
            assert len(await door.change_hands()) == 1
        assert "parameters" in await other.call("GetDaemon")

    play(scene)


def test_who_watches_and_does_not_read_is_dropped() -> None:
    """Of what one who watches has not read, no half is given to others."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        await served(door)
        one = await served(door)
        one.writer.transport.pause_reading()
        one.ask("Monitor", {"names": ["a"]}, more=True)
        for number in range(4_000):
            door.postmaster("a").get_ready(standby=number % 2 == 0)
            await asyncio.sleep(0)
        assert len(await door.change_hands()) == 1

    play(scene)


def test_nonsense_does_not_go_along() -> None:
    """Who said what is no message is not given to others: the connection ends."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        door.postmaster("a").obeys = frozenset()
        one = await served(door)
        one.ask("Stop", {"names": ["a"]})
        one.say(b"nonsense\0")
        await door.until("a", "STOPPING")
        assert await door.change_hands() == []
        assert b"Upgrading" in await one.hear_out()

    play(scene)


def _names(reply: dict[str, object]) -> list[object]:
    parameters = cast("dict[str, list[dict[str, object]]]", reply["parameters"])
    return [each["name"] for each in parameters["clusters"]]
