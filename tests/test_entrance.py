"""The way in: open, shut, and short of descriptors."""

from __future__ import annotations

import asyncio
import errno
import socket
import tempfile
from collections.abc import Awaitable, Callable

from fakes import live

from pgsupervisor.control.entrance import Entrance

LIMIT = 30.0
"""Seconds until a wait is given up."""


class Narrow(socket.socket):
    """A socket for whose next clients there are no descriptors."""

    refusals = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Let somebody in, if there is a descriptor."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


class House:
    """An entrance, who has come in, and why somebody could not."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listening = Narrow(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.listening.bind(path)
        self.listening.listen(128)
        self.let_in: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.failures: list[str | None] = []
        self.failed = asyncio.Event()
        self.entrance = Entrance(self.listening, self.let_in.put_nowait, self.fail)

    def fail(self, error: OSError) -> None:
        """Note why somebody could not come in."""
        self.failures.append(error.strerror)
        self.failed.set()

    async def come(self) -> socket.socket:
        """Connect, which works whether it is open or not."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.path)
        return connection

    async def next(self) -> None:
        """Wait until the next one is in."""
        async with asyncio.timeout(LIMIT):
            (await self.let_in.get()).close()


def visited(scene: Callable[[House], Awaitable[None]]) -> None:
    """Play a scene in front of a house."""

    async def world() -> None:
        with tempfile.TemporaryDirectory(prefix="pgs-", dir="/tmp") as directory:
            house = House(f"{directory}/control")
            with house.listening:
                await scene(house)
                house.entrance.shut()

    live(world)


def test_who_comes_while_it_is_shut_waits() -> None:
    """Nobody is turned away while it is shut: he is let in when it is opened, and so is who comes then."""

    async def scene(house: House) -> None:
        for _ in range(3):
            with await house.come():
                await asyncio.sleep(0)
                assert house.let_in.empty()
                house.entrance.open()
                await house.next()
            with await house.come():
                await house.next()
            house.entrance.shut()
        assert house.failures == []

    visited(scene)


def test_a_crowd_is_let_in_at_once() -> None:
    """Whoever stands behind others at the door does not wait until for each of them all else was done."""

    async def scene(house: House) -> None:
        crowd = [await house.come() for _ in range(100)]
        house.entrance.open()
        await house.next()
        assert house.let_in.qsize() == len(crowd) - 1
        while not house.let_in.empty():
            await house.next()
        for each in crowd:
            each.close()

    visited(scene)


def test_one_for_whom_there_is_no_descriptor() -> None:
    """One who cannot be let in is told of once, and let in later; to shut it ends that, too."""

    async def scene(house: House) -> None:
        house.listening.refusals = 1
        house.entrance.open()
        with await house.come():
            await house.next()
        assert house.failures == ["Too many open files"]
        house.failed.clear()
        house.listening.refusals = 1
        with await house.come():
            await house.failed.wait()
            house.entrance.shut()
            await asyncio.sleep(10)
            assert house.let_in.empty()

    visited(scene)
