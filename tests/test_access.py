"""Who may do what, and how we know who it is."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from control import Door, play, visit_as
from fakes import inventory, spec
from people import as_root

from pgsupervisor.control import protocol
from pgsupervisor.control.access import (
    CONTROL,
    LOOKING,
    OWNING,
    Peer,
    Who,
    Whose,
    groups_of,
    may,
    owner_of,
    peer_of,
    user_of,
)
from pgsupervisor.inventory import ClusterSpec

DAEMON, OWNER, STRANGER = 970, 975, 980
LOOK, ORDER, READ, SET, RULE = (
    f"io.pgsupervisor.{name}" for name in ("GetStatus", "Stop", "GetLog", "SetConfiguration", "StopDaemon")
)

BOB = Who(STRANGER, "bob", {"users", "devs"})
NAMELESS = Who(STRANGER, str(STRANGER))
NOBODYS = Whose(None)


@pytest.mark.parametrize(
    ("method", "who", "whose", "admin_group", "allowed"),
    [
        # Whoever may connect looks, and no more.
        (LOOK, BOB, None, "dba", True),
        (LOOK, NAMELESS, NOBODYS, None, True),
        (ORDER, BOB, NOBODYS, "dba", False),
        (ORDER, BOB, NOBODYS, None, False),
        (ORDER, BOB, None, "dba", False),
        (READ, BOB, NOBODYS, "dba", False),
        (READ, NAMELESS, NOBODYS, None, False),
        (RULE, BOB, None, "dba", False),
        # Root, the daemon's user and the admins do everything.
        *(
            (method, who, whose, "dba", True)
            for method in (LOOK, ORDER, READ, SET, RULE, "io.pgsupervisor.NewMethod")
            for who in (Who(0, "root"), Who(DAEMON, "pg"), Who(STRANGER, "bob", {"dba"}))
            for whose in (NOBODYS, Whose(OWNER, ("alice",)), None)
        ),
        # A cluster's own user, by number or by name.
        (ORDER, Who(OWNER, "pg1"), Whose(OWNER), None, True),
        (READ, Who(OWNER, "pg1"), Whose("pg1"), None, True),
        (ORDER, Who(OWNER, str(OWNER)), Whose(OWNER), None, True),
        (ORDER, BOB, Whose(OWNER), None, False),
        (ORDER, BOB, Whose("pg1"), None, False),
        (RULE, Who(OWNER, "pg1"), Whose(OWNER), None, False),
        (SET, Who(OWNER, "pg1"), Whose("pg1"), None, True),
        (SET, Who(OWNER, "pg1"), Whose(OWNER), "dba", True),
        (SET, BOB, Whose(OWNER, ("bob", "@devs")), None, False),
        (SET, BOB, NOBODYS, None, False),
        (SET, BOB, None, "dba", False),
        # Whom `allow` names.
        (ORDER, BOB, Whose(OWNER, ("alice", "bob")), None, True),
        (READ, BOB, Whose(OWNER, ("bob",)), None, True),
        (ORDER, BOB, Whose(OWNER, ("@devs",)), None, True),
        (ORDER, BOB, Whose(OWNER, ("@dba", "alice")), None, False),
        (ORDER, NAMELESS, Whose(OWNER, (str(STRANGER),)), None, True),
        (ORDER, BOB, Whose(OWNER, (str(STRANGER),)), None, False),
        (RULE, BOB, Whose(OWNER, ("bob",)), None, False),
        ("io.pgsupervisor.NewMethod", BOB, Whose(OWNER, ("bob",)), None, False),
        # A group is no user, and a user no group.
        (ORDER, BOB, Whose(OWNER, ("devs", "@bob")), None, False),
        (ORDER, BOB, Whose("devs"), None, False),
        (ORDER, Who(STRANGER, "dba"), NOBODYS, "dba", False),
    ],
)
def test_decisions(method: str, who: Who, whose: Whose | None, admin_group: str | None, *, allowed: bool) -> None:
    """Whoever can connect may look, who has a cluster controls it, and root, the daemon's user and admins do all."""
    assert may(method, who, whose, daemon_uid=DAEMON, admin_group=admin_group) is allowed


def test_what_belongs_to_a_cluster() -> None:
    """What who has a cluster may do is this, and what its OS user may besides; nothing that is about more than it."""
    names = ("Start", "Stop", "Restart", "Reload", "Kill", "GetLog", "CheckConfiguration")
    assert {f"io.pgsupervisor.{name}" for name in names} == CONTROL
    assert {f"io.pgsupervisor.{name}" for name in ("GetConfiguration", "SetConfiguration")} == OWNING


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


def test_owners(tmp_path: Path) -> None:
    """What cannot be looked at belongs to nobody."""
    assert (owner_of(str(tmp_path)), owner_of(str(tmp_path / "missing"))) == (os.geteuid(), None)


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
            clusters = [] if method in {"Update", "StopDaemon"} else ["a"]
            facts = {"user": "nobody", "method": f"io.pgsupervisor.{method}", "clusters": clusters}
            assert await one.call(method, parameters) == {"error": protocol.NOT_PERMITTED, "parameters": facts}
        assert (door.state("a"), door.leave) == ("RUNNING", [])
        assert "error" in await one.call("Stop", {"names": ["a"]})
        refused = ["Stop", "Kill", "Update", "StopDaemon", "SetConfiguration"]
        assert door.orders == [
            (method, "refused", [] if method in {"Update", "StopDaemon"} else ["a"], nobody.pw_uid)
            for method in refused
        ], "a look is no order, and each is told once"

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


def of_nobody(name: str, **otherwise: object) -> ClusterSpec:
    """Return the spec of a cluster that is not root's."""
    return spec(name, **{"user": "postgres", **otherwise})


@as_root
@pytest.mark.parametrize(
    "mine",
    [{"allow": ("nobody",)}, {"allow": ("@nogroup",)}, {"user": "nobody"}, {"user": None}],
    ids=["user", "group", "own", "owner"],
)
def test_who_has_a_cluster(mine: dict[str, object], tmp_path: Path) -> None:
    """Who has a cluster controls it, and no other; of an order to several, nothing is done if he has not all."""
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrgid(nobody.pw_gid).gr_name
    mine = {key: (f"@{group}",) if value == ("@nogroup",) else value for key, value in mine.items()}
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    own = replace(of_nobody("a", **mine), data_directory=str(tmp_path))

    async def scene(door: Door) -> None:
        for name in ("a", "b", "c"):
            await door.until(name, "RUNNING")
        door.postmaster("a").log.write(b"mine\n")
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        assert await one.call("GetLog", {"names": ["a"], "lines": 1}) == {"parameters": {"text": "mine\n"}}
        assert "error" not in await one.call("Reload", {"names": ["a"]})
        got = await one.call("GetConfiguration", {"name": "a", "keys": []})
        assert ("error" in got) is bool(own.allow), "settings are for the OS user alone"
        for names in (["*"], ["all"], ["a", "b", "c"]):
            facts = {"user": "nobody", "method": "io.pgsupervisor.Stop", "clusters": ["b", "c"]}
            refused = {"error": protocol.NOT_PERMITTED, "parameters": facts}
            assert await one.call("Stop", {"names": names}) == refused
        assert [door.state(name) for name in ("a", "b", "c")] == ["RUNNING"] * 3
        assert "error" in await one.call("Update")
        assert "error" not in await one.call("Stop", {"names": ["a"]})
        assert [door.state(name) for name in ("a", "b", "c")] == ["STOPPED", "RUNNING", "RUNNING"]
        assert door.orders == [
            ("reload", "a", nobody.pw_uid, {}),
            ("Stop", "refused", ["b", "c"], nobody.pw_uid),
            ("Update", "refused", [], nobody.pw_uid),
            ("stop", "a", nobody.pw_uid, {}),
        ]

    play(scene, own, of_nobody("b"), of_nobody("c", allow=("alice", "@nobodys")))


@as_root
def test_an_update_counts_at_once() -> None:
    """Who is allowed a cluster by an update, or no more, is so from then on, though the update takes its time."""
    nobody = pwd.getpwnam("nobody")

    async def scene(door: Door) -> None:
        for name in ("a", "b", "slow"):
            await door.until(name, "RUNNING")
        door.postmaster("slow").obeys = frozenset()
        one = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
        assert "error" in await one.call("Reload", {"names": ["b"]})
        new = inventory(of_nobody("a"), of_nobody("b", allow=("nobody",)))
        touched = [list(door.postmaster(name).calls) for name in ("a", "b")]
        update = asyncio.create_task(door.supervisor.update(new, lambda *_: None, lambda *_: None))
        await door.until("slow", "STOPPING")
        assert [door.postmaster(name).calls for name in ("a", "b")] == touched
        assert "error" not in await one.call("Reload", {"names": ["b"]})
        assert "error" in await one.call("Reload", {"names": ["a"]})
        door.postmaster("slow").end(clean=True)
        await update
        assert "error" not in await one.call("Reload", {"names": ["b"]})
        assert [door.postmaster(name).calls for name in ("a", "b")] == [
            [*touched[0], "renew"],
            [*touched[1], "reload", "renew", "reload"],
        ]

    play(scene, of_nobody("a", allow=("nobody",)), of_nobody("b"), of_nobody("slow"))


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
        database = asyncio.get_running_loop().run_in_executor(door.database, answered.wait)
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
def test_a_slow_user_database_keeps_nobody_waiting_who_is_known() -> None:
    """While it is not known yet who a stranger is, root is answered, and a server is started."""
    nobody = pwd.getpwnam("nobody")

    async def scene(door: Door) -> None:
        await door.until("a", "RUNNING")
        answered = threading.Event()
        database = asyncio.get_running_loop().run_in_executor(door.database, answered.wait)
        try:
            stranger = await visit_as(door, nobody.pw_uid, nobody.pw_gid)
            stranger.ask("GetStatus", {"names": []})
            root = await door.visit()
            assert "error" not in await root.call("Restart", {"names": ["a"]})
            assert "error" not in await root.call("GetStatus", {"names": []})
        finally:
            answered.set()
        await database
        assert "error" not in await stranger.hear()

    play(scene)


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
