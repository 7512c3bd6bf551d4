"""A user with as many connections as he may have, all of which ask without end: what that costs others, and us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import tracemalloc

import pytest
from control import LIMIT, Door, play
from test_access import visit_as

from pgsupervisor.control.connection import Call
from pgsupervisor.control.conversations import MAX_CONNECTIONS, Conversations
from pgsupervisor.control.protocol import MAX_REQUEST, Reply

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
