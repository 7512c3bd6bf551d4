"""A control server for the tests: in this process, on a Unix socket, with a real supervisor over fake postmasters."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NoReturn

from fakes import FakeHost, FakePostmaster, inventory, spec
from people import somebody_else

from pgsupervisor.control.conversations import Conversations, Handed
from pgsupervisor.control.entrance import Entrance
from pgsupervisor.control.protocol import Parameters, Reply
from pgsupervisor.control.server import ControlServer
from pgsupervisor.errors import UpgradeError
from pgsupervisor.inventory import ClusterSpec, Inventory
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.kept import Report
from pgsupervisor.supervision.life import Life
from pgsupervisor.supervision.supervisor import Supervisor, Updated

LIMIT = 30.0
"""Seconds after which a play is given up."""


UPGRADED = Reply({"was": "1", "version": "2", "pid": 3})
"""What who asked for an upgrade is told."""


class Stranger:
    """A connection on which anything can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    def ask(self, method: str, parameters: object = None, **flags: bool) -> None:
        """Send a request; a method without a dot is one of ours."""
        name = method if "." in method else f"io.pgsupervisor.{method}"
        self.say(json.dumps({"method": name, "parameters": parameters or {}, **flags}).encode() + b"\0")

    async def hear(self) -> dict[str, object]:
        """Wait for the next reply."""
        reply: dict[str, object] = json.loads((await self.reader.readuntil(b"\0"))[:-1])
        return reply

    async def call(self, method: str, parameters: object = None, **flags: bool) -> dict[str, object]:
        """Ask, and wait for the reply."""
        self.ask(method, parameters, **flags)
        return await self.hear()

    async def hear_out(self) -> bytes:
        """Wait until the server hangs up, and return what it said until then."""
        try:
            return await self.reader.read(-1)
        except ConnectionError:
            return b""

    def hang_up(self) -> None:
        """Close the connection."""
        self.writer.close()


class Door:
    """A control server, what stands behind it, and what it told; it is the daemon, too."""

    inventory_path = "/etc/inventory.toml"
    started = 1000.0
    cgroup = None
    limits = "no cgroup"

    def __init__(self, clusters: Inventory, path: str) -> None:
        self.path = path
        self.ending = False
        self.leave: list[bool | None] = []
        self.visitors: list[Stranger] = []
        self.mistakes: list[tuple[str, Exception]] = []
        self.orders: list[tuple[object, ...]] = []
        self.host = FakeHost()
        self.events = Events()
        self.supervisor = Supervisor(clusters, self.host, self._changed, self._mistake, self.events)
        self.database = ThreadPoolExecutor(max_workers=1)
        self.upgrading = asyncio.Event()
        self.refuse = asyncio.Event()
        self.server = ControlServer(self.supervisor, self, self, database=self.database, counting=self.database)
        self.conversations = Conversations(self.server.answer, self._mistake)

    def _mistake(self, where: str, error: Exception) -> None:
        self.mistakes.append((where, error))

    def _changed(self, name: str, before: Life, event: object, after: Life) -> None:
        """Make an event of a change of state, as the daemon's log does."""
        if before.state is not after.state:
            self.events.record(
                1000.0, "info", "state changed", name, {"on": type(event).__name__, "now": after.state.value}
            )

    def ordered(self, order: str, cluster: str | None, uid: int, given: Parameters) -> None:
        """Note an order."""
        self.orders.append((order, cluster, uid, given))

    def refused(self, method: str, clusters: Sequence[str], uid: int) -> None:
        """Note an order that was refused."""
        self.orders.append((method, "refused", list(clusters), uid))

    async def update(self, report: Report, *, dry_run: bool) -> Updated:
        """Change nothing."""
        del report, dry_run
        return Updated((), ())

    def end(self, *, leave: bool | None) -> None:
        """Begin to end."""
        self.leave.append(leave)
        self.ending = True

    async def upgrade(self) -> NoReturn:
        """Refuse it, in the end."""
        self.upgrading.set()
        await self.refuse.wait()
        self.upgrading.clear()
        raise UpgradeError("there is no other version")

    async def change_hands(self) -> Sequence[Handed]:
        """Hand all conversations over to others, as to another process."""
        handed = await self.conversations.hand_over()
        await self.conversations.close()
        self.conversations = Conversations(self.server.answer, self._mistake)
        self.conversations.take_over(handed, UPGRADED)
        return handed

    def enter(self, connection: socket.socket) -> None:
        """Let somebody in."""
        self.conversations.serve(connection)

    async def visit(self) -> Stranger:
        """Connect."""
        stranger = Stranger(*await asyncio.open_unix_connection(self.path, limit=2**26))
        self.visitors.append(stranger)
        return stranger

    def postmaster(self, name: str) -> FakePostmaster:
        """Return the postmaster of a cluster."""
        return self.host.made[name]

    def state(self, name: str) -> str:
        """Return the state of a cluster."""
        (kept,) = self.supervisor.select([name])
        return kept.life.state.value

    async def until(self, name: str, state: str) -> None:
        """Wait until a cluster is in a state."""
        with self.events.listen() as changes:
            while self.state(name) != state:
                await changes.next()

    async def until_alone(self) -> None:
        """Wait until the server has let go of every connection."""
        while self.conversations._connections:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)


async def visit_as(door: Door, uid: int, gid: int) -> Stranger:
    """Connect as another user."""
    connection = socket.socket(socket.AF_UNIX)
    with somebody_else(uid, gid):
        connection.connect(door.path)
    stranger = Stranger(*await asyncio.open_unix_connection(sock=connection))
    door.visitors.append(stranger)
    return stranger


def play(scene: Callable[[Door], Awaitable[None]], *clusters: ClusterSpec, admin_group: str | None = None) -> Door:
    """Open a door with the clusters `a` and `b` behind it, play a scene, close it, and see that nothing is left."""

    async def world() -> Door:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        with tempfile.TemporaryDirectory(prefix="pgs-", dir="/tmp") as directory:
            os.chmod(directory, 0o755)
            found = inventory(*(clusters or (spec("a"), spec("b"))))
            found = replace(found, daemon=replace(found.daemon, admin_group=admin_group))
            door = Door(found, f"{directory}/control")
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listening.bind(door.path)
            listening.listen()
            os.chmod(door.path, 0o666)
            entrance = Entrance(listening, door.enter, lambda error: door._mistake("connection", error))
            entrance.open()
            await door.supervisor.begin()
            try:
                async with asyncio.timeout(LIMIT):
                    await scene(door)
                    entrance.shut()
                    await door.supervisor.end(leave=True)
                    await door.conversations.close()
            finally:
                listening.close()
                door.database.shutdown(wait=False)
                for each in door.visitors:
                    each.writer.transport.abort()
                await asyncio.sleep(0.001)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert left == set()
            return door

    troubles: list[dict[str, object]] = []
    door = asyncio.run(world())
    assert (door.mistakes, troubles) == ([], [])
    return door
