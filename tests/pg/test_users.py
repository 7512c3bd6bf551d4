"""A machine that users share: a daemon that is root, real users, and what each of them may do."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, cast

import pytest
from daemons import Record, Site
from machine import INSTALLATIONS
from people import account, new_people, somebody_else, with_users
from servers import sql

from pgsupervisor.cli import main, status  # noqa: F401  # nobody else could import it from where root has it
from pgsupervisor.control.client import Client
from pgsupervisor.errors import RemoteError
from pgsupervisor.postgres import Cluster

pytestmark = with_users

WORK_MEM = {"name": "work_mem", "value": "9MB"}

User: TypeAlias = pwd.struct_passwd
People: TypeAlias = tuple[str, list[User]]


@pytest.fixture
def people() -> Iterator[People]:
    """A group, and Alice, Bob, Carol and Dave, who are not in it."""
    with new_people("alice", "bob", "carol", "dave", group="devs") as made:
        yield made


@pytest.fixture
def shared(people: People, site: Site) -> Site:
    """A daemon that everybody may ask, with a cluster for Alice, one for the group, and one that runs as Carol."""
    group, (alice, _, carol, _) = people
    for path in (site.directory, site.door):
        os.chmod(path, 0o755)
    site.daemon_keys |= {"socket_mode": "0666", "admin_group": ""}
    site.add("shop", allow=[alice.pw_name])
    site.add("blog", allow=[f"@{group}"])
    sockets = site.directory / "run"
    sockets.mkdir()
    data = site.add("own", user=carol.pw_name, settings={"unix_socket_directories": str(sockets)})
    for path in (sockets, data, *data.rglob("*")):
        os.chown(path, carol.pw_uid, carol.pw_gid, follow_symlinks=False)
    site.run()
    return site


def ask(site: Site, user: User, method: str, /, **parameters: object) -> dict[str, object]:
    """Call a method as another user."""
    with somebody_else(user.pw_uid, user.pw_gid):
        client = Client(site.socket)
    with client:
        return dict(client.call(method, **parameters))


def refused(site: Site, user: User, method: str, **parameters: object) -> object:
    """Call a method as another user, see that it is refused to him, and return for which clusters."""
    with pytest.raises(RemoteError) as caught:
        ask(site, user, method, **parameters)
    facts = caught.value.parameters
    assert caught.value.name == "io.pgsupervisor.NotPermitted"
    assert (facts["user"], facts["method"]) == (user.pw_name, f"io.pgsupervisor.{method}")
    return facts["clusters"]


def yours(site: Site, user: User) -> list[str]:
    """Return the clusters that are a user's."""
    clusters = ask(site, user, "GetStatus", names=[])["clusters"]
    assert isinstance(clusters, list)
    assert [each["state"] for each in clusters] == ["RUNNING"] * 3
    return [each["name"] for each in clusters if each["yours"]]


def test_who_is_allowed(shared: Site, people: People) -> None:
    """A user whom `allow` names controls that cluster, and no other; who is refused an order is named in the log."""
    _, (alice, _, _, _) = people
    assert yours(shared, alice) == ["shop"]
    pid = shared.pid("shop")
    assert "outcomes" in ask(shared, alice, "Restart", names=["shop"])
    assert shared.pid("shop") != pid
    assert "text" in ask(shared, alice, "GetLog", names=["shop"], lines=1)
    assert refused(shared, alice, "Stop", names=["all"]) == ["blog", "own"]
    assert refused(shared, alice, "Kill", names=["own"]) == ["own"]
    assert ask(shared, alice, "CheckConfiguration", name="shop") == {"problems": [], "unchecked": None}
    assert refused(shared, alice, "GetConfiguration", name="shop", keys=[]) == ["shop"]
    assert refused(shared, alice, "SetConfiguration", name="shop", changes=[WORK_MEM]) == ["shop"]
    assert refused(shared, alice, "StopDaemon") == []
    assert yours(shared, alice) == ["shop"]
    daemon = shared.daemons[-1]
    told = [daemon.wait_for_log(number, event="order refused") for number in (1, 2, 3, 4)]
    about = ("method", "uid", "cluster", "clusters")
    assert [[each.get(key) for key in about] for each in told] == [
        ["Stop", alice.pw_uid, None, ["blog", "own"]],
        ["Kill", alice.pw_uid, "own", None],
        ["SetConfiguration", alice.pw_uid, "shop", None],
        ["StopDaemon", alice.pw_uid, None, None],
    ]


def test_a_group_that_changes(shared: Site, people: People) -> None:
    """Who is added to a group that `allow` names has the cluster at once, and no longer than he is in it."""
    group, (_, bob, _, _) = people
    assert refused(shared, bob, "Reload", names=["blog"]) == ["blog"]
    account("gpasswd", "--add", bob.pw_name, group)
    assert yours(shared, bob) == ["blog"]
    assert "outcomes" in ask(shared, bob, "Reload", names=["blog"])
    account("gpasswd", "--delete", bob.pw_name, group)
    assert refused(shared, bob, "Reload", names=["blog"]) == ["blog"]
    assert yours(shared, bob) == []


def test_the_own_user(shared: Site, people: People) -> None:
    """The user that a server runs as controls it, reads its log, and has its settings changed, in a file of his own."""
    _, (_, _, carol, _) = people
    assert yours(shared, carol) == ["own"]
    assert "text" in ask(shared, carol, "GetLog", names=["own"], lines=1)
    assert "outcomes" in ask(shared, carol, "Reload", names=["own"])
    path = Path(str(shared.clusters["own"]["data_directory"]), "postgresql.conf")
    assert "outcomes" in ask(shared, carol, "SetConfiguration", name="own", changes=[WORK_MEM])
    assert (b"work_mem = '9MB'" in path.read_bytes(), path.stat().st_uid) == (True, carol.pw_uid)
    (found,) = cast("list[Record]", ask(shared, carol, "GetConfiguration", name="own", keys=["work_mem"])["settings"])
    assert (found["written"], found["running"], found["path"]) == ("9MB", "9MB", str(path))
    assert refused(shared, carol, "SetConfiguration", name="shop", changes=[WORK_MEM]) == ["shop"]


def test_all_groups_of_the_user(shared: Site, people: People) -> None:
    """A server has the supplementary groups that its user has when it is started, and none of the daemon's."""
    group, (_, _, carol, _) = people
    number = grp.getgrnam(group).gr_gid
    assert groups(shared.pid("own")) == {carol.pw_gid}
    account("gpasswd", "--add", carol.pw_name, group)
    shared.order("Restart", "own")
    assert groups(shared.pid("own")) == {carol.pw_gid, number}
    # What the group may read, the server can.
    path = shared.directory / "for-the-group"
    path.write_text("precious")
    os.chown(path, 0, number)
    path.chmod(0o640)
    cluster = Cluster(INSTALLATIONS[0], str(shared.clusters["own"]["data_directory"]), user=carol.pw_name)
    assert sql(cluster, f"select pg_read_file('{path}')") == "precious"


def groups(pid: int) -> set[int]:
    """Return the supplementary groups of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("Groups:"))
    return set(map(int, line.split()[1:]))


def test_what_a_client_says_of_itself(shared: Site, people: People) -> None:
    """Who somebody is, is no parameter of any method: the kernel's word alone counts."""
    _, (alice, _, _, dave) = people
    with pytest.raises(RemoteError, match="NotPermitted"):
        ask(shared, dave, "StopDaemon", user="root", uid=0)
    with pytest.raises(RemoteError, match="InvalidParameter: parameter=user"):
        ask(shared, dave, "Stop", names=["shop"], user="root")
    # A connection is what it was when it was made, whoever has it now: here it is root who calls.
    assert refused(shared, dave, "Stop", names=["shop"]) == ["shop"]
    assert yours(shared, alice) == ["shop"]


def test_a_stranger(shared: Site, people: People, capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger sees how all is, but no log, no value and no reason, until an update that touches no server."""
    _, (alice, _, _, dave) = people
    with Path(shared.cluster("shop").data_directory, "postgresql.conf").open("a") as file:
        file.write("max_connections = 77\n")
    shared.wait_for("shop", lambda each: "→ 77" in str(each["reason"]))
    seen = ask(shared, dave, "Monitor", names=["shop"], past=1000)
    assert "→" not in str(seen)
    assert refused(shared, dave, "GetLog", names=["shop"], lines=1) == ["shop"]
    assert printed(shared, dave, capsys) == [["shop", "-"], ["blog", "-"], ["own", "-"]]
    pid = shared.pid("shop")
    shared.clusters["shop"]["allow"] = [alice.pw_name, dave.pw_name]
    shared.write()
    assert shared.pgsupctl("update").stdout == "change  shop  allow\n"
    assert "→ 77" in str(ask(shared, dave, "Monitor", names=["shop"], past=1000))
    assert printed(shared, dave, capsys) == [["shop", "yes"], ["blog", "-"], ["own", "-"]]
    assert (yours(shared, dave), shared.pid("shop")) == (["shop"], pid)


def printed(site: Site, user: User, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return what the table of `pgsupctl status` says to a user about whose the clusters are."""
    capsys.readouterr()
    with somebody_else(user.pw_uid, user.pw_gid):
        main.main(["-s", site.socket, "status"])
    header, *lines = capsys.readouterr().out.splitlines()
    place = header.index("YOURS")
    return [[line.split()[0], line[place:].split()[0]] for line in lines]
