"""An ordinary user's daemon: real users, each at home, and what they can and cannot have."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from daemons import AS_USER, LIMIT, ROOT, Daemon, end_all, end_all_in
from machine import INSTALLATIONS, NewDataDirectory
from people import new_people, with_users

from pgsupervisor.control.client import Client
from pgsupervisor.paths import default_paths
from pgsupervisor.postgres import Cluster
from pgsupervisor.system.process import facts

pytestmark = with_users

People: TypeAlias = list[pwd.struct_passwd]

NOT_SET = {"XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": "", "PGSUPERVISOR_SOCKET": ""}
"""What is empty counts as not set."""

HEAD = f'[installations.pg]\nbindir = "{INSTALLATIONS[0].bindir}"\n[defaults]\ninstallation = "pg"\nstart_retries = 9\n'


class Home:
    """A user with a home directory that he got from a umask of 002, his clusters, and his daemons."""

    def __init__(self, user: pwd.struct_passwd, path: Path, new_data_directory: NewDataDirectory) -> None:
        self.user = user
        self.name = user.pw_name
        self.path = path
        self.environment = {**NOT_SET, "HOME": str(path)}
        self.daemons: list[Daemon] = []
        self._new_data_directory = new_data_directory
        path.mkdir()
        self.own(path, 0o775)

    def own(self, path: Path, mode: int) -> Path:
        """Give something to the user."""
        os.chown(path, self.user.pw_uid, self.user.pw_gid)
        path.chmod(mode)
        return path

    def directory(self, path: Path) -> Path:
        """Make a directory of the user's, with those above it that are missing."""
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir()
            self.own(each, 0o775)
        return path

    def cluster(self, name: str) -> Path:
        """Make a data directory of the user's."""
        made = self._new_data_directory(INSTALLATIONS[0], self.path / name)
        for each in (made, *made.rglob("*")):
            os.chown(each, self.user.pw_uid, self.user.pw_gid)
        return made

    def write(self, path: Path, text: str) -> None:
        """Write a file of the user's."""
        self.directory(path.parent)
        path.write_text(text)
        self.own(path, 0o664)

    def launch(self, inventory: Path | None = None) -> Daemon:
        """Start a daemon as the user, and do not wait for anything."""
        self.daemons.append(Daemon(inventory, self.environment, run_as=self.name))
        return self.daemons[-1]

    def pgsupctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pgsupctl as the user."""
        return subprocess.run(
            [sys.executable, AS_USER, self.name, "pgsupctl", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )

    def close(self) -> None:
        """End what still runs."""
        end_all(self.daemons)


@pytest.fixture
def place() -> Iterator[Path]:
    """A short directory that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="pgs-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    end_all_in(path)
    shutil.rmtree(path)


@pytest.fixture
def homes(place: Path, new_data_directory: NewDataDirectory) -> Iterator[tuple[Home, Home]]:
    """Alice and Bob, at home."""
    with new_people("alice", "bob", group="devs") as (_, people):
        made = [Home(user, place / user.pw_name[-3:], new_data_directory) for user in people]
        try:
            yield made[0], made[1]
        finally:
            for home in made:
                home.close()
            end_all_in(place)


def fields(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize(
    ("said", "configuration", "state", "runtime"),
    [
        ([], ".config", ".local/state", ".local/state"),
        (["XDG_RUNTIME_DIR"], ".config", ".local/state", "run"),
        (["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"], "etc", "state", "run"),
    ],
    ids=["HOME", "runtime", "all"],
)
def test_his_places(homes: tuple[Home, Home], said: list[str], configuration: str, state: str, runtime: str) -> None:
    """His daemon, its inventory, its socket and its logs are in places of his own, and pgsupctl finds it there."""
    alice, bob = homes
    places = {"XDG_CONFIG_HOME": configuration, "XDG_STATE_HOME": state, "XDG_RUNTIME_DIR": runtime}
    alice.environment |= {name: str(alice.directory(alice.path / places[name])) for name in said}
    data = alice.cluster("shop")
    inventory = alice.path / configuration / "pgsupervisor" / "inventory.toml"
    alice.write(inventory, f'{HEAD}[clusters.shop]\ndata_directory = "{data}"\nport = 6000\n')
    daemon = alice.launch()
    socket = alice.path / runtime / "pgsupervisor" / "control"
    started = daemon.wait_for_log(event="daemon started")
    assert (started["socket"], started["inventory"]) == (str(socket), str(inventory))
    assert alice.pgsupctl("start", "shop").returncode == 0
    assert alice.pgsupctl("status").stdout.splitlines()[1].split()[:2] == ["shop", "RUNNING"]
    assert f"socket     {socket}\ninventory  {inventory}\n" in alice.pgsupctl("daemon", "info").stdout
    log = alice.path / state / "pgsupervisor" / "log" / "shop.log"
    owners = {path: path.stat().st_uid for path in (socket, socket.parent, log)}
    assert owners == dict.fromkeys(owners, alice.user.pw_uid)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (socket, socket.parent)] == [0o660, 0o755]
    pid = int((data / "postmaster.pid").read_text().split()[0])
    assert fields(pid)["Uid"].split() == [str(alice.user.pw_uid)] * 4
    finished = bob.pgsupctl("-s", str(socket), "status")
    assert (finished.returncode, "permission denied" in finished.stderr) == (4, True)
    assert daemon.end() == 0
    assert not socket.exists()


def refused(home: Home) -> str:
    """Start a daemon that does not come up, and return what it says."""
    status, said = home.launch().wait()
    assert status == 1
    return said


def test_nowhere_to_be(homes: tuple[Home, Home]) -> None:
    """Where there is no inventory, or no place for the socket or the logs, he is told which, and what to do."""
    alice, bob = homes
    inventory = alice.path / ".config" / "pgsupervisor" / "inventory.toml"
    assert refused(alice) == f"pgsupervisord: {inventory}: does not exist; write it, or name another\n"
    alice.write(inventory, HEAD)
    alice.environment["XDG_RUNTIME_DIR"] = str(bob.own(bob.directory(bob.path / "run"), 0o700))
    weak = f"{bob.path} belongs to {bob.name}; do `chown -h {alice.name} {bob.path}`"
    assert f"{bob.path}/run/pgsupervisor/control, since {weak}, or name another `socket`" in refused(alice)
    alice.environment["XDG_RUNTIME_DIR"] = ""
    os.chown(alice.path, 0, 0)
    alice.path.chmod(0o755)
    cannot = f"pgsupervisord: cannot make the control socket {alice.path}/.local/state/pgsupervisor/control"
    assert refused(alice) == f"{cannot}: Permission denied; mend that, or name another `socket` in the inventory\n"
    alice.environment["XDG_RUNTIME_DIR"] = str(alice.directory(alice.path / "run"))
    where = f"daemon.log_directory: cannot make {alice.path}/.local/state/pgsupervisor/log"
    assert refused(alice) == f"pgsupervisord: {inventory}: {where}: Permission denied; make it, or name another\n"
    assert alice.environment.pop("HOME")
    alice.environment["HOME"] = ""
    his = Path(alice.user.pw_dir, ".config", "pgsupervisor", "inventory.toml")
    assert refused(alice) == f"pgsupervisord: {his}: does not exist; write it, or name another\n"


def test_another_user_in_the_inventory(homes: tuple[Home, Home]) -> None:
    """A cluster that shall run as another user is refused before any server is touched, with its place."""
    alice, bob = homes
    inventory = alice.path / ".config" / "pgsupervisor" / "inventory.toml"
    mine, his = alice.cluster("mine"), bob.cluster("his")
    alice.write(
        inventory,
        f'{HEAD}[clusters.mine]\ndata_directory = "{mine}"\nport = 6000\nuser = "{alice.name}"\n'
        f'[clusters.his]\ndata_directory = "{his}"\nport = 6001\nuser = "{bob.name}"\n',
    )
    why = (
        f'{inventory}: clusters.his.user: is "{bob.name}", and you are {alice.name}: only root can run a server as '
        f"another user; do this as root, or leave the key out, for servers that run as {alice.name}\n"
    )
    assert refused(alice) == f"pgsupervisord: {why}"
    finished = alice.pgsupctl("check")
    assert (finished.returncode, finished.stdout, finished.stderr) == (1, "", f"pgsupctl: {why}")


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_clusters_of_other_users(homes: tuple[Home, Home], mode: int) -> None:
    """Another's data directory is told with its owner, at once and for good; his server runs on, and ours runs.

    Also where its group, which we are in, may read it.
    """
    alice, bob = homes
    mine, his, roots, hidden = (
        alice.cluster("mine"),
        bob.cluster("his"),
        alice.cluster("roots"),
        alice.cluster("hidden"),
    )
    os.chown(roots, 0, 0)
    bob.directory(bob.path / "hidden")
    hidden = hidden.rename(bob.path / "hidden" / "data")
    (bob.path / "hidden").chmod(0o700)
    for path in (his, *his.rglob("*")):
        os.chown(path, -1, alice.user.pw_gid)
        path.chmod(mode if path.is_dir() else mode & 0o640)
    theirs = Cluster(INSTALLATIONS[0], his)
    theirs.start()
    theirs.wait_until_started(timeout=LIMIT)
    server = theirs.pid()
    assert server is not None
    os.chown(his / "postmaster.pid", -1, alice.user.pw_gid)
    (his / "postmaster.pid").chmod(mode & 0o640)
    tables = {"mine": mine, "his": his, "roots": roots, "hidden": hidden}
    alice.write(
        alice.path / ".config" / "pgsupervisor" / "inventory.toml",
        HEAD
        + "".join(
            f'[clusters.{name}]\ndata_directory = "{path}"\nport = {port}\n'
            for port, (name, path) in enumerate(tables.items(), 6000)
        ),
    )
    us = f"and PostgreSQL would run as {alice.name}, since"
    reasons = {
        "his": (
            f"{his} belongs to {bob.name}, {us} only root can run it as another; do this as {bob.name} or as root, or "
            f"have root do `chown -R {alice.name} {his}`"
        ),
        "roots": (
            f"{roots} belongs to root, {us} it refuses to run as root; have root do `chown -R {alice.name} {roots}`"
        ),
        "hidden": f"{hidden} cannot be looked into by {alice.name}: Permission denied; ask as root or as its owner",
    }
    checked = alice.pgsupctl("check").stdout.splitlines()
    # What follows is remarked of the place that the tests have.
    assert checked[:4] == ["mine: ok", *(f"{name}: {why}" for name, why in reasons.items())]
    daemon = alice.launch()
    daemon.wait_for_log(event="daemon started")
    with Client(str(alice.path / ".local" / "state" / "pgsupervisor" / "control"), timeout=LIMIT) as client:
        outcomes = client.call("Start", names=["all"])["outcomes"]
        clusters = client.call("GetStatus", names=["all"])["clusters"]
    assert isinstance(outcomes, list)
    assert isinstance(clusters, list)
    assert {each["name"]: each["ok"] for each in outcomes} == {name: name == "mine" for name in tables}
    assert {each["name"]: (each["state"], each["reason"]) for each in clusters} == {
        "mine": ("RUNNING", ""),
        **{name: ("FATAL", why) for name, why in reasons.items()},
    }
    assert daemon.end() == 0
    known = facts(server)
    assert known is not None
    assert (known.pid, theirs.pid(), fields(server)["Uid"].split()[0]) == (server, server, str(bob.user.pw_uid))


@pytest.mark.alone
def test_his_own_daemon_before_roots(homes: tuple[Home, Home], place: Path) -> None:
    """A user's own daemon is asked, and never root's in its place; but where that is, he is told."""
    roots = Path(default_paths(0, {}).socket)
    if roots.parent.exists():
        pytest.skip(f"{roots.parent} is there already")
    alice, _ = homes
    inventory = place / "roots.toml"
    inventory.write_text(f'[daemon]\nsocket_mode = "0666"\nlog_directory = "{place}/log"\n')
    nobody = alice.pgsupctl("status")
    daemon = Daemon(inventory)
    try:
        daemon.wait_for_log(event="daemon started")
        told = alice.pgsupctl("status")
        assert (told.returncode, told.stdout) == (4, "")
        assert told.stderr == f"{nobody.stderr.rstrip()}; that of root's is {roots}\n"
        assert f"inventory  {inventory}\n" in alice.pgsupctl("-s", str(roots), "daemon", "info").stdout
        elsewhere = alice.pgsupctl("-s", f"{place}/none", "status")
        assert "that of root's" not in elsewhere.stderr
        his = alice.path / ".config" / "pgsupervisor" / "inventory.toml"
        alice.write(his, HEAD)
        alice.launch().wait_for_log(event="daemon started")
        assert f"inventory  {his}\n" in alice.pgsupctl("daemon", "info").stdout
    finally:
        daemon.end()
        shutil.rmtree(roots.parent)
