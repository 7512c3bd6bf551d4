"""One client's connection: what it may do to us, and what that costs everybody else (nothing)."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator

import pytest
from control import Door, play

from pgsupervisor.control.connection import Call, converse
from pgsupervisor.control.conversations import MAX_CONNECTIONS
from pgsupervisor.control.household import Households
from pgsupervisor.control.protocol import Reply, Request, encode_reply, encode_request
from pgsupervisor.supervision.life import Timeout


async def is_served(door: Door) -> None:
    """See that somebody else is served."""
    other = await door.visit()
    reply = await other.call("GetStatus", {"names": ["a"]})
    assert "error" not in reply
    other.hang_up()


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


def test_oneway_is_not_answered() -> None:
    """A oneway request is carried out, and what is answered next is the next request."""

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await door.visit()
        one.ask("Stop", {"names": ["a"]}, oneway=True)
        assert "version" in (await one.call("GetDaemon"))["parameters"]
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
        await door.until_alone()
        postmaster.end(clean=True)
        await door.until("a", "RUNNING")
        assert postmaster.calls.count("spawn") == 2

    play(scene)


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
        await door.until_alone()

    play(scene)


def test_one_who_never_reads_is_dropped() -> None:
    """Progress that nobody reads is kept up to a bound; then its client is dropped, and the order goes on."""

    async def scene(door: Door) -> None:
        other = await door.visit()
        await other.call("Stop", {"names": ["a"]})
        postmaster = door.postmaster("a")
        postmaster.gets_ready = False
        one = await door.visit()
        one.writer.transport.pause_reading()
        one.ask("Start", {"names": ["a"]}, more=True)
        await door.until("a", "STARTING")
        told = 0
        while len(door.conversations._connections) > 1:
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
        one.writer.transport.pause_reading()
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
        await door.until_alone()
        await is_served(door)

    play(scene)


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


def test_one_who_does_not_take_a_piece_in_time() -> None:
    """Who leaves a piece unread for longer than there is patience is dropped; what he has still can be read."""

    async def answer(call: Call) -> Reply:
        while True:
            await call.stream({"text": "x" * 65_536}, patience=0.01)

    async def world() -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            theirs.sendall(encode_request(Request("io.pgsupervisor.GetLog", {}, more=True)))
            interruption = asyncio.get_running_loop().create_future()
            assert await converse(ours, b"", answer, interruption, Households().of(0)) is None
            ours.close()
            return b"".join(iter(lambda: theirs.recv(65_536), b""))

    piece = encode_reply(Reply({"text": "x" * 65_536}, continues=True))
    got = asyncio.run(world())
    assert got == (piece * (len(got) // len(piece) + 1))[: len(got)]
    assert len(got) > len(piece)


def test_no_descriptor_is_left() -> None:
    """Who is let in with the last descriptor that there was is answered all the same."""

    async def answer(_call: Call) -> Reply:
        return Reply({"clusters": []})

    async def world() -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            theirs.sendall(encode_request(Request("io.pgsupervisor.GetStatus", {})))
            theirs.shutdown(socket.SHUT_WR)
            interruption = asyncio.get_running_loop().create_future()
            with no_more_files():
                assert await converse(ours, b"", answer, interruption, Households().of(0)) is None
            return theirs.recv(65_536)

    assert asyncio.run(world()) == encode_reply(Reply({"clusters": []}))


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Let no file be opened for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
