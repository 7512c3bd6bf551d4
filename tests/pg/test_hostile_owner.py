"""A user who owns a cluster, and would have a root daemon write, read or remove what is not his.

What root alone may touch lies in a vault. Whatever the daemon is led to, the vault stays as it is, and what is in it is
told nowhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from daemons import Site
from machine import INSTALLATIONS, SERVER_USER
from people import as_root
from servers import sql

from pgsupervisor.errors import ClusterInitializationError, RemoteError
from pgsupervisor.postgres import Cluster
from pgsupervisor.system.identity import acting_as

pytestmark = as_root

UNTOLD = "UNTOLD"

LINES = f"{UNTOLD}\n" * 10_000


@dataclass(frozen=True)
class Vault:
    """A directory that everybody may enter, with files that only root may read and write."""

    path: Path

    def picture(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Return all that could have been changed."""
        found = {}
        for path in (self.path, *self.path.rglob("*")):
            facts = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_mtime_ns, content)
        return found


@pytest.fixture
def vault() -> Iterator[Vault]:
    """What root alone may touch; at the end it must be as it was."""
    path = Path(tempfile.mkdtemp(prefix="pgs-", dir="/tmp"))
    path.chmod(0o755)
    for name, text in (
        ("settings", f"work_mem = '{UNTOLD}'\n"),
        ("empty", ""),
        ("log", LINES),
        ("shop.log", LINES),
        ("shop.log.1", LINES),
    ):
        (path / name).write_text(text, encoding="ascii")
        (path / name).chmod(0o600)
    (path / "directory").mkdir()
    made = Vault(path)
    before = made.picture()
    yield made
    after = made.picture()
    shutil.rmtree(path)
    assert after == before


@contextlib.contextmanager
def the_owner() -> Iterator[None]:
    """Do what the owner of the clusters could do."""
    with acting_as(SERVER_USER):
        yield


def all_told(site: Site, name: str) -> str:
    """Return all that the daemon and its interface tell about a cluster, to one who may hear everything."""
    said = [str(site.status(name)), *site.daemons[-1].lines]
    for method, parameters in (
        ("GetLog", {"names": [name], "lines": 10_000}),
        ("GetConfiguration", {"name": name, "keys": []}),
        ("CheckConfiguration", {"name": name}),
        ("GetConfiguration", {"name": name, "keys": ["work_mem"]}),
    ):
        try:
            said.append(str(site.call(method, **parameters)))
        except RemoteError as error:
            said.append(f"{error.name} {error.parameters}")
    said += [site.pgsupctl(*words).stdout for words in (["check"], ["events"], ["status", "--json"])]
    return "\n".join(said)


def _include(data: Path, vault: Path) -> None:
    with (data / "postgresql.conf").open("a", encoding="ascii") as file:
        file.write(f"include '{vault}/settings'\n")


def _link(name: str, target: str) -> Callable[[Path, Path], None]:
    def exchange(data: Path, vault: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            (data / name).unlink()
        (data / name).symlink_to(vault / target)

    exchange.__name__ = f"{name} -> {target}"
    return exchange


def _collected(data: Path, vault: Path) -> None:
    (data / "current_logfiles").write_text(f"stderr {vault}/log\n", encoding="ascii")


@pytest.mark.parametrize(
    "exchange",
    [
        _include,
        _collected,
        _link("postgresql.conf", "settings"),
        _link("postgresql.auto.conf", "settings"),
        _link("pg_hba.conf", "settings"),
        _link("postmaster.pid", "settings"),
        _link("postmaster.pid", "empty"),
        _link("PG_VERSION", "settings"),
        _link("global/pg_control", "settings"),
        _link("current_logfiles", "settings"),
    ],
    ids=lambda exchange: exchange.__name__,
)
def test_what_leads_elsewhere(site: Site, vault: Vault, exchange: Callable[[Path, Path], None]) -> None:
    """Nothing of a file that the owner may not read is told, wherever a name or a line leads, nor is it written to."""
    data = site.add("shop", start_retries=0)
    site.add("blog")
    with the_owner():
        exchange(data, vault.path)
    site.start()
    site.wait_for("shop", lambda each: each["state"] in {"RUNNING", "FATAL", "BACKOFF"})
    site.wait_for_state("blog", "RUNNING")
    assert UNTOLD not in all_told(site, "shop")
    with contextlib.suppress(RemoteError):
        site.call("SetConfiguration", name="shop", changes=[{"name": "work_mem", "value": "9MB"}])
    assert UNTOLD not in all_told(site, "shop")


@pytest.mark.parametrize("linked", [os.symlink, os.link], ids=["symlink", "hard link"])
def test_a_log_in_a_directory_of_the_owners(site: Site, vault: Vault, linked: Callable[[Path, Path], None]) -> None:
    """A log that is a link to another's file is neither written to, nor given away, nor read."""
    logs = site.directory / "logs"
    with the_owner():
        logs.mkdir()
    linked(vault.path / "log", logs / "shop.log")
    site.add("shop", logfile=str(logs / "shop.log"), start_retries=0)
    site.start()
    site.wait_for("shop", lambda each: "cannot write the log" in str(each["reason"]))
    assert UNTOLD not in all_told(site, "shop")
    (logs / "shop.log").unlink()
    site.order("Start", "shop")
    assert (logs / "shop.log").stat().st_uid == (logs.stat().st_uid)


def test_archives_that_are_links(site: Site, vault: Vault) -> None:
    """A rotation follows no link at the place of an archive, of the copy, or of what is being copied."""
    logs = site.directory / "logs"
    with the_owner():
        logs.mkdir()
        for name in ("part", "0", "1", "2.gz"):
            (logs / f"shop.log.{name}").symlink_to(vault.path / "log")
    site.add("shop", logfile=str(logs / "shop.log"), logfile_maxbytes=16384, logfile_compress=True)
    daemon = site.run()
    sql(site.cluster("shop"), "do $$ begin for i in 1..1000 loop raise log 'line %', i; end loop; end $$")
    daemon.wait_for_log(3, event="log rotated")
    assert UNTOLD not in all_told(site, "shop")


def test_directories_that_are_exchanged_all_the_time(site: Site, vault: Vault) -> None:
    """While the daemon rotates and reads, the owner has a link to the vault in the place of his directory, or not."""
    logs = site.directory / "logs"
    with the_owner():
        logs.mkdir()
    site.add("shop", logfile=str(logs / "shop.log"), logfile_maxbytes=16384, logfile_backups=2)
    site.run()
    script = """
        cd "$1"
        ln -s "$2" away
        trap 'exit 0' TERM
        while :; do mv -T logs real; mv -T away logs; mv -T logs away; mv -T real logs; done
    """
    assert SERVER_USER is not None
    owner = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(site.directory), str(vault.path)],
        user=SERVER_USER.uid,
        group=SERVER_USER.gid,
        extra_groups=[],
    )
    try:
        for _ in range(10):
            sql(site.cluster("shop"), "do $$ begin for i in 1..200 loop raise log 'line %', i; end loop; end $$")
            with contextlib.suppress(RemoteError):
                assert UNTOLD not in str(site.call("GetLog", names=["shop"], lines=10_000))
    finally:
        owner.terminate()
        owner.wait()
    assert UNTOLD not in all_told(site, "shop")


def test_no_cluster_is_made_elsewhere(site: Site, vault: Vault) -> None:
    """Initdb is given no directory that a link of the user's leads to; nor is anything made or given away there."""
    link = site.directory / "link"
    with the_owner():
        link.symlink_to(vault.path)
    (vault.path / "directory").chmod(0o700)
    before = vault.picture()
    for name in ("new", "new/below", "directory"):
        cluster = Cluster(INSTALLATIONS[0], link / name, user=site_user())
        with pytest.raises(ClusterInitializationError, match="cannot use"):
            cluster.init()
    assert vault.picture() == before
    (vault.path / "directory").chmod(0o755)


def site_user() -> str:
    """Return the name of the servers' user."""
    assert SERVER_USER is not None
    return SERVER_USER.name


def test_an_empty_lock_file_that_is_not_his(site: Site, vault: Vault) -> None:
    """What a start writes into a lock file that was left empty is written to no other's file."""
    data = site.add("shop", start_retries=0)
    os.link(vault.path / "empty", data / "postmaster.pid")
    site.start()
    site.wait_for("shop", lambda each: each["state"] in {"FATAL", "BACKOFF"})
    assert (data / "postmaster.pid").stat().st_size == 0
    (data / "postmaster.pid").unlink()


def test_a_cluster_that_is_removed(site: Site, vault: Vault) -> None:
    """What a link in a data directory leads to is not removed with it."""
    data = site.add("shop")
    with the_owner():
        (data / "base" / "away").symlink_to(vault.path)
        (data / "away").symlink_to(vault.path / "directory")
    Cluster(INSTALLATIONS[0], data).drop()
    assert not data.exists()
