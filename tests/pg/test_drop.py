"""Removing clusters: all that is theirs, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from servers import client, sql

from pgsupervisor.postgres import Cluster, ClusterError
from pgsupervisor.postgres.controldata import controldata
from pgsupervisor.postgres.removal import _version_directory
from pgsupervisor.system.identity import User


def make(path: Path, owner: User | None) -> Path:
    """Make a directory for the server's user."""
    path.mkdir(mode=0o700)
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)
    return path


def test_drop(cluster: Cluster, short_directory: Path) -> None:
    """A running server is shut down, whoever is connected, and its directory is gone."""
    cluster.start()
    cluster.wait_until_started()
    with client(cluster):
        cluster.drop()
    assert not cluster.running()
    assert list(short_directory.iterdir()) == []


def test_drop_what_is_not_there(cluster: Cluster) -> None:
    """A directory that does not exist is none to remove."""
    cluster.drop()
    cluster.drop()


@pytest.mark.parametrize(
    ("name", "content"), [("PG_VERSION", b"../15"), ("PG_VERSION", b"\xff"), ("global/pg_control", b"1")]
)
def test_files_elsewhere_that_nobody_can_name(cluster: Cluster, name: str, content: bytes) -> None:
    """Where a data directory does not say what its part of a tablespace is called, nothing is removed."""
    data = Path(cluster.data_directory)
    (data / "pg_tblspc" / "1").symlink_to(data)
    (data / name).write_bytes(content)
    before = sorted(data.rglob("*"))
    with pytest.raises(ClusterError, match="nothing was removed"):
        cluster.drop()
    assert sorted(data.rglob("*")) == before


def test_files_elsewhere(cluster: Cluster, short_directory: Path, server_user: User | None) -> None:
    """A write-ahead log and tablespaces that lie elsewhere go too; what others have in the same places stays."""
    data = Path(cluster.data_directory)
    (data / "pg_wal").rename(short_directory / "wal")
    (data / "pg_wal").symlink_to("../wal")
    (short_directory / "precious").mkdir()
    (data / "link").symlink_to(short_directory / "precious")
    space = make(short_directory / "space", server_user)
    cluster.start()
    cluster.wait_until_started()
    sql(cluster, f"create tablespace elsewhere location '{space}'")
    sql(cluster, "create table far_away tablespace elsewhere as select 1")
    (mine,) = space.iterdir()
    make(space / "PG_9.6_201608131", server_user)
    cluster.drop()
    assert sorted(path.name for path in short_directory.iterdir()) == ["precious", "space"]
    assert [path.name for path in space.iterdir()] == ["PG_9.6_201608131"]
    assert mine.name.startswith(f"PG_{cluster.installation.major}_")


def test_the_version_directory(cluster: Cluster) -> None:
    """The name of a cluster's directory in a tablespace is what pg_controldata says."""
    told = controldata(cluster.installation, cluster.data_directory, cluster.run_as)
    expected = f"PG_{cluster.installation.major}_{told['Catalog version number']}"
    assert _version_directory(Path(cluster.data_directory)) == expected


def test_a_symbolic_link(cluster: Cluster, short_directory: Path) -> None:
    """A data directory behind a symbolic link is removed, with the link."""
    link = short_directory / "link"
    link.symlink_to("data")
    Cluster(cluster.installation, link).drop()
    assert list(short_directory.iterdir()) == []


def test_a_server_that_does_not_stop(cluster: Cluster, short_directory: Path) -> None:
    """A server that does not shut down is killed."""
    cluster.start()
    held = cluster.postmaster()
    assert held is not None
    with held:
        held.signal(signal.SIGSTOP)
        cluster.drop(timeout=0.1)
        assert not held.alive()
    assert list(short_directory.iterdir()) == []


@pytest.mark.parametrize("missing", ["PG_VERSION", "global/pg_control"])
def test_no_data_directory(cluster: Cluster, missing: str) -> None:
    """What does not look like a data directory is refused, and not touched."""
    path = Path(cluster.data_directory, missing)
    path.unlink()
    before = sorted(Path(cluster.data_directory).rglob("*"))
    with pytest.raises(ClusterError, match=f"does not look like a data directory: it has no {missing};"):
        cluster.drop()
    assert sorted(Path(cluster.data_directory).rglob("*")) == before


def test_a_link_to_what_is_no_log(cluster: Cluster, short_directory: Path) -> None:
    """A pg_wal that leads to something else than a write-ahead log is not followed."""
    shutil.rmtree(Path(cluster.data_directory, "pg_wal"))
    Path(cluster.data_directory, "pg_wal").symlink_to(short_directory)
    with pytest.raises(ClusterError, match="which is no write-ahead log; nothing was removed"):
        cluster.drop()
    assert Path(cluster.data_directory, "base").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to somebody else")
def test_a_link_to_what_belongs_to_others(cluster: Cluster, short_directory: Path) -> None:
    """The owner of a data directory cannot have root remove what belongs to others."""
    precious = short_directory / "precious"
    (precious / "archive_status").mkdir(parents=True)
    shutil.rmtree(Path(cluster.data_directory, "pg_wal"))
    Path(cluster.data_directory, "pg_wal").symlink_to(precious)
    with pytest.raises(ClusterError, match="belongs to the user with the number 0"):
        cluster.drop()
    assert (precious / "archive_status").is_dir()
    assert Path(cluster.data_directory, "base").is_dir()


def test_a_removal_that_was_interrupted(cluster: Cluster, short_directory: Path) -> None:
    """A removal that came only half way can be taken up again."""
    data = Path(cluster.data_directory)
    for entry in data.iterdir():
        if entry.name not in {"PG_VERSION", "global"}:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    cluster.drop()
    assert list(short_directory.iterdir()) == []
