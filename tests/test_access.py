"""Who may do what, and how we know who it is."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import socket
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor

import pytest
from control import Door, Stranger, play
from fakes import spec

from pgsupervisor.control import protocol
from pgsupervisor.control.access import LOOKING, Peer, groups_of, may, peer_of, user_of

DAEMON, STRANGER = 970, 980
LOOK, ORDER = "io.pgsupervisor.GetStatus", "io.pgsupervisor.Stop"


@pytest.mark.parametrize(
    ("method", "uid", "groups", "admin_group", "allowed"),
    [
        (LOOK, STRANGER, {"users"}, "dba", True),
        (LOOK, STRANGER, set(), None, True),
        (ORDER, STRANGER, {"users"}, "dba", False),
        (ORDER, STRANGER, {"users", "dba"}, "dba", True),
        (ORDER, STRANGER, {"users"}, None, False),
        (ORDER, STRANGER, set(), None, False),
        (ORDER, DAEMON, set(), "dba", True),
        (ORDER, 0, set(), "dba", True),
        ("io.pgsupervisor.GetLog", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.GetLog", STRANGER, {"dba"}, "dba", True),
        ("io.pgsupervisor.GetConfiguration", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.GetConfiguration", STRANGER, {"dba"}, "dba", True),
        ("io.pgsupervisor.CheckConfiguration", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.SetConfiguration", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.StopDaemon", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.Update", STRANGER, {"users"}, "dba", False),
        ("io.pgsupervisor.NewMethod", STRANGER, {"users"}, "dba", False),
    ],
)
def test_decisions(method: str, uid: int, groups: AbstractSet[str], admin_group: str | None, *, allowed: bool) -> None:
    """Whoever can connect may look; orders, and what servers wrote, are for root, the daemon's user and admins."""
    assert may(method, uid=uid, groups=groups, daemon_uid=DAEMON, admin_group=admin_group) is allowed


def test_looking_changes_nothing() -> None:
    """What everybody may call is this, and nothing else."""
    assert {
        "org.varlink.service.GetInfo",
        "org.varlink.service.GetInterfaceDescription",
        "io.pgsupervisor.GetStatus",
        "io.pgsupervisor.Monitor",
        "io.pgsupervisor.GetDaemon",
    } == LOOKING


def test_the_kernel_says_who_is_there() -> None:
    """The other end of a socket is who made it, by the word of the kernel."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_of(ours) == Peer(os.getpid(), os.geteuid(), os.getegid())


def test_names() -> None:
    """A user has a name, or else a number, and the groups of the user database and of the process."""
    entry = pwd.getpwuid(os.geteuid())
    peer = Peer(1, entry.pw_uid, entry.pw_gid)
    expected = {grp.getgrgid(gid).gr_name for gid in os.getgrouplist(entry.pw_name, entry.pw_gid)}
    assert (user_of(peer), groups_of(peer)) == (entry.pw_name, expected)
    nobody_knows = Peer(1, 3_999_999, 3_999_998)
    assert (user_of(nobody_knows), groups_of(nobody_knows)) == ("3999999", frozenset())


@contextlib.contextmanager
def somebody_else(uid: int, gid: int) -> Iterator[None]:
    """Be another user for the moment of a connect(2), which is when the kernel takes down who one is."""
    former = os.getegid()
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(former)


async def visit_as(door: Door, uid: int, gid: int) -> Stranger:
    """Connect as another user."""
    connection = socket.socket(socket.AF_UNIX)
    with somebody_else(uid, gid):
        connection.connect(door.path)
    stranger = Stranger(*await asyncio.open_unix_connection(sock=connection))
    door.visitors.append(stranger)
    return stranger


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@as_root
def test_a_stranger_may_look_and_no_more() -> None:
    """Another user sees how the clusters are; an order is refused with his name, and nothing happens."""
    nobody = pwd.getpwnam("nobody")

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        assert "error" not in await one.call("GetStatus", {"names": []})
        for method, parameters in {
            "Stop": {"names": ["a"]},
            "Kill": {"names": ["a"]},
            "Update": {},
            "StopDaemon": {},
            "GetLog": {"names": ["a"], "lines": 1},
            "GetConfiguration": {"name": "a", "keys": []},
            "SetConfiguration": {"name": "a", "changes": [{"name": "port", "value": "1"}]},
            "CheckConfiguration": {"name": "a"},
        }.items():
            facts = {"user": "nobody", "method": f"io.pgsupervisor.{method}"}
            assert await one.call(method, parameters) == {"error": protocol.NOT_PERMITTED, "parameters": facts}
        assert (door.state("a"), door.leave) == ("RUNNING", [])
        assert "error" in await one.call("Stop", {"names": ["a"]})
        refused = ["Stop", "Kill", "Update", "StopDaemon", "SetConfiguration"]
        assert door.orders == [(method, "refused", nobody.pw_uid) for method in refused], (
            "a look is no order, and each is told once"
        )

    play(scene)


@as_root
def test_a_member_of_the_admin_group_may_give_orders() -> None:
    """A member of admin_group gives orders as root does."""
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        assert "error" not in await one.call("Stop", {"names": ["a"]})
        assert door.state("a") == "STOPPED"

    play(scene, spec("a"), admin_group=group)


@as_root
@pytest.mark.parametrize(
    ("method", "parameters", "call"),
    [
        ("Stop", {"names": ["a"]}, "SIGINT"),
        ("SetConfiguration", {"name": "a", "changes": [{"name": "work_mem", "value": "8MB"}]}, "reload"),
    ],
)
def test_an_admin_who_hangs_up_at_once(method: str, parameters: object, call: str) -> None:
    """An order goes through though its client hangs up while the user database is still asked who may give it."""
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        answered = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(max_workers=1))
        database = loop.run_in_executor(None, answered.wait)
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        one.ask(method, parameters)
        one.hang_up()
        await door.until_alone()
        answered.set()
        await database
        with door.events.listen() as changes:
            while call not in door.postmaster("a").calls:
                await changes.next()

    play(scene, spec("a"), admin_group=group)


@as_root
def test_one_user_keeps_no_other_out() -> None:
    """However many connections one user has, another one is let in."""
    nobody = pwd.getpwnam("nobody")

    async def scene(door: Door) -> None:
        crowd = [await visit_as(door, nobody.pw_uid, nobody.pw_gid) for _ in range(100)]
        one = await door.visit()
        assert "error" not in await one.call("GetDaemon")
        assert await crowd[-1].hear_out() == b""

    play(scene)
