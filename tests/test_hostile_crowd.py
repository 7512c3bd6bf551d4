"""A user with as many connections as he may have, all of which ask without end: what that costs others, and us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import tracemalloc

import pytest
from control import LIMIT, Door, play, visit_as
from people import somebody_else

from pgsupervisor.control import household
from pgsupervisor.control.connection import Call
from pgsupervisor.control.conversations import MAX_CONNECTIONS, Conversations
from pgsupervisor.control.protocol import MAX_REQUEST, Reply, Request, encode_request

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")


@as_root
def test_a_crowd_has_one_turn() -> None:
    """While one user's 64 connections ask and ask, another user is answered in between, each time."""
    nobody = pwd.getpwnam("nobody").pw_uid
    answered: list[int] = []

    async def answer(call: Call) -> Reply:
        answered.append(call.peer.uid)
        return Reply({})

    async def scene(door: Door) -> None:
        door.conversations = Conversations(answer, door._mistake)
        crowd = [await visit_as(door, nobody, nobody) for _ in range(MAX_CONNECTIONS)]
        for each in crowd:
            for _ in range(100):
                each.ask("GetDaemon")
        for each in crowd:
            await each.hear()
        del answered[:]
        other = await door.visit()
        for _ in range(10):
            await other.call("GetDaemon")
        assert (answered.count(0), answered.count(nobody) < MAX_CONNECTIONS * 10 / 2) == (10, True)

    play(scene)


@as_root
def test_a_crowd_is_looked_up_one_by_one() -> None:
    """Of one user, one request is in work at a time, also while we wait to hear who he is; others are not kept."""
    nobody = pwd.getpwnam("nobody").pw_uid
    at_work: set[Call] = set()
    most = 0
    known = asyncio.Event()

    async def answer(call: Call) -> Reply:
        nonlocal most
        if call.peer.uid == nobody:
            at_work.add(call)
            most = max(most, len(at_work))
            await known.wait()
            at_work.remove(call)
        return Reply({})

    async def scene(door: Door) -> None:
        door.conversations = Conversations(answer, door._mistake)
        crowd = [await visit_as(door, nobody, nobody) for _ in range(MAX_CONNECTIONS)]
        for each in crowd:
            each.ask("GetDaemon")
        other = await door.visit()
        for _ in range(10):
            await other.call("GetDaemon")
        known.set()
        for each in crowd:
            await each.hear()

    play(scene)
    assert most == 1


def test_who_has_a_turn_and_leaves() -> None:
    """Whoever hangs up, at whatever moment, leaves the turn to others of the same user."""

    async def answer(call: Call) -> Reply:
        if call.request.more:
            await asyncio.get_running_loop().create_future()
        return Reply({})

    async def scene(door: Door) -> None:
        door.conversations = Conversations(answer, door._mistake)
        for number in range(50):
            one = await door.visit()
            one.ask("Monitor", {"names": []}, more=True)
            if number % 2:
                await asyncio.sleep(0.001)
            one.hang_up()
        other = await door.visit()
        assert "parameters" in await other.call("GetDaemon")

    play(scene)


@as_root
def test_who_reads_nothing_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too much waits to be read, the user who has left the most loses a connection, and nobody else does."""
    nobody = pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(household, "_MOST_UNREAD", 4 * 2**20)

    async def answer(_call: Call) -> Reply:
        return Reply({"text": "x" * 2**20})

    async def scene(door: Door) -> None:
        door.conversations = Conversations(answer, door._mistake)
        loop = asyncio.get_running_loop()
        other = await door.visit()
        with contextlib.ExitStack() as stack:
            deaf = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(8)]
            for each in deaf:
                with somebody_else(nobody, nobody):
                    each.connect(door.path)
                each.setblocking(False)  # noqa: FBT003  # the standard library's
                await loop.sock_sendall(each, encode_request(Request("io.pgsupervisor.GetDaemon", {})))
            for _ in range(8):
                assert len(str(await other.call("GetDaemon"))) > 2**20
            dropped = 0
            for each in deaf:
                text = b""
                with contextlib.suppress(ConnectionError):
                    while not text.endswith(b"\0") and (piece := await loop.sock_recv(each, 2**20)):
                        text += piece
                dropped += not text.endswith(b"\0")
            assert 3 <= dropped <= 5
        assert "parameters" in await other.call("GetDaemon")

    play(scene)


@pytest.mark.alone  # to count each byte takes time
def test_what_a_crowd_says_is_not_kept() -> None:
    """Long requests of 64 connections, each with more of them behind it, take less than 64 MB at any time."""
    head, tail = b'{"method":"io.pgsupervisor.GetStatus","parameters":{"names":[', b"{}]}}\0"
    request = head + b"[]," * ((MAX_REQUEST - len(head) - len(tail)) // 3) + tail

    async def scene(door: Door) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(MAX_CONNECTIONS)]
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
            for each in crowd:
                each.connect(door.path)
                each.setblocking(False)  # noqa: FBT003  # the standard library's
                with contextlib.suppress(BlockingIOError):
                    while True:  # until the kernel takes no more
                        each.send(request)
            async with asyncio.timeout(LIMIT):
                for each in crowd:
                    assert b"InvalidParameter" in await loop.sock_recv(each, 4096)
            assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
        await door.until_alone()

    play(scene)
