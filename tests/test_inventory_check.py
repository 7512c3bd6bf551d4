"""Clusters that would be in each other's way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from inventories import PG, SHOP, Own, load_fixed, refusal, write
from people import as_root

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import load
from pgsupervisor.inventory.check import configured_by_files


def _two(directory: Path, one: str, other: str, installations: str = PG, defaults: str = "") -> str:
    """Write two clusters, `a` and `b`."""
    clusters = "".join(
        f'[clusters.{name}]\ndata_directory = "{name}"\n{keys}\n' for name, keys in (("a", one), ("b", other))
    )
    return write(directory, f'[defaults]\ninstallation = "pg"\n{defaults}\n{installations}{clusters}')


DEFAULT = "in the installation's default socket directory"


@pytest.mark.parametrize(
    ("one", "other", "own", "taken"),
    [
        ("", "", {}, f"the port 5432 {DEFAULT}"),
        ("port = 1", "port = 1", {}, f"the port 1 {DEFAULT}"),
        ("port = 1", "port = 2", {}, None),
        ("port = 1", "", {"b": {"port": "1"}}, f"the port 1 {DEFAULT}"),
        ("port = 1", "port = 2", {"b": {"port": "1"}}, None),
        ("", "", {"b": {"port": "1"}}, None),
        ("", "environment = { PGPORT = '1' }", {}, None),
        ("port = 1", "environment = { PGPORT = '1' }", {}, f"the port 1 {DEFAULT}"),
        ("", "environment = { PGPORT = '1' }", {"b": {"port": "5432"}}, f"the port 5432 {DEFAULT}"),
        ("", "settings = { unix_socket_directories = '/x' }", {}, None),
        ("", "", {"b": {"unix_socket_directories": "/x"}}, None),
        (
            "settings = { unix_socket_directories = '/x' }",
            "",
            {"b": {"unix_socket_directories": "/x"}},
            "the port 5432 in /x",
        ),
        (
            "settings = { unix_socket_directories = '/x, \"/y\"' }",
            "settings = { unix_socket_directories = '/z,/y' }",
            {},
            "the port 5432 in /y",
        ),
        ("settings = { unix_socket_directories = '.' }", "settings = { unix_socket_directories = '.' }", {}, None),
        (
            "settings = { unix_socket_directories = '@x' }",
            "settings = { unix_socket_directories = '@x' }",
            {},
            "the port 5432 in @x",
        ),
        ("settings = { unix_socket_directories = '' }", "settings = { unix_socket_directories = '' }", {}, None),
        ("", "", {"b": None}, None),
        ("port = 1", "port = 1", {"b": None}, None),
        (
            "port = 1\nsettings = { unix_socket_directories = '/x' }",
            "port = 1\nsettings = { unix_socket_directories = '/x' }",
            {"a": None, "b": None},
            "the port 1 in /x",
        ),
    ],
)
def test_one_port_in_one_socket_directory(tmp_path: Path, one: str, other: str, own: Own, taken: str | None) -> None:
    """Two servers that would fight for a socket are refused, as far as inventory and configuration tell."""
    path = _two(tmp_path, one, other)
    if taken is None:
        assert len(load_fixed(path, own).clusters) == 2
    else:
        assert refusal(path, own) == f'inventory.toml: clusters.b.port: {taken} is taken by the cluster "a" already'


def test_files_are_asked_only_for_what_the_inventory_does_not_say(tmp_path: Path) -> None:
    """Whose port and socket directories stand in the inventory need not have his files read."""
    asked: list[str] = []
    path = _two(tmp_path, "port = 1\nsettings = { unix_socket_directories = '/x' }", "port = 2")
    load(path, configured=lambda cluster: asked.append(cluster.name))
    assert asked == ["b"]


def test_the_default_socket_directory_is_the_installations(tmp_path: Path) -> None:
    """Nobody knows the default of another installation; the same installation by another name has the same."""
    pgs = PG + '[installations.same]\nbindir = "/pg/bin"\n[installations.other]\nbindir = "/other/bin"\n'
    assert len(load_fixed(_two(tmp_path, "", "installation = 'other'", pgs)).clusters) == 2
    assert "clusters.b.port" in refusal(_two(tmp_path, "", "installation = 'same'", pgs))


def test_one_data_directory(tmp_path: Path) -> None:
    """A symbolic link does not make one data directory two."""
    (tmp_path / "real").mkdir()
    (tmp_path / "a").symlink_to("real")
    (tmp_path / "b").symlink_to("real")
    assert refusal(_two(tmp_path, "port = 1", "port = 2")) == (
        'inventory.toml: clusters.b.data_directory: the data directory real is taken by the cluster "a" already'
    )


def test_one_socket_directory_by_two_names(tmp_path: Path) -> None:
    """Nor does it make one socket directory two, as /var/run and /run show."""
    (tmp_path / "run").symlink_to("real")
    sockets = [f"settings = {{ unix_socket_directories = '{tmp_path}/{name}' }}" for name in ("real", "run")]
    assert "the port 5432 in real is taken" in refusal(_two(tmp_path, *sockets))


def test_one_logfile(tmp_path: Path) -> None:
    """Two servers do not write into one logfile, which a default for all would make them do."""
    assert refusal(_two(tmp_path, "port = 1", "port = 2", defaults='logfile = "log"')) == (
        'inventory.toml: clusters.b.logfile: the logfile log is taken by the cluster "a" already'
    )


def test_one_journal(tmp_path: Path) -> None:
    """What is no file of a cluster's own is there for all of them."""
    path = _two(tmp_path, "port = 1", "port = 2", defaults='logfile = "journal"')
    assert [each.logfile for each in load_fixed(path).clusters.values()] == ["journal", "journal"]


def test_what_a_clusters_own_files_say(tmp_path: Path) -> None:
    """postgresql.conf with its includes is read, and ALTER SYSTEM wins; what is not there says nothing."""
    shop = load_fixed(write(tmp_path, SHOP)).clusters["shop"]
    assert configured_by_files(shop) == {}
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "postgresql.conf").write_text("port = 1\nwork_mem = '1MB'\ninclude 'x.conf'\n")
    (directory / "x.conf").write_text("Unix_Socket_Directories = '/x'\n")
    assert configured_by_files(shop) == {"port": "1", "unix_socket_directories": "/x"}
    (directory / "postgresql.auto.conf").write_text("port = '2'\n")
    assert configured_by_files(shop) == {"port": "2", "unix_socket_directories": "/x"}


def test_where_the_configuration_is_elsewhere(tmp_path: Path) -> None:
    """`config_file` is read where Debian keeps it, outside of the data directory."""
    shop = load_fixed(write(tmp_path, SHOP + 'config_file = "etc.conf"\n')).clusters["shop"]
    (tmp_path / "etc.conf").write_text("port = 3\n")
    assert configured_by_files(shop) == {"port": "3"}


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    """What cannot be read is unknown, which is not the same as nothing: no port is assumed."""
    shop = load_fixed(write(tmp_path, SHOP)).clusters["shop"]
    (tmp_path / "shop" / "postgresql.conf").mkdir(parents=True)
    assert configured_by_files(shop) is None


def test_two_existing_clusters_on_one_port(tmp_path: Path) -> None:
    """Without anything in the inventory, what the clusters' own files say is compared."""
    path = _two(tmp_path, "", "")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "postgresql.conf").write_text("port = 7\n")
    with pytest.raises(InventoryError, match="the port 7 in the installation's default socket directory is taken"):
        load(path)
    (tmp_path / "b" / "postgresql.auto.conf").write_text("port = 8\n")
    assert len(load(path).clusters) == 2


@pytest.fixture
def users(short_directory: Path) -> Path:
    """The path of root's inventory with two clusters of two users, who have files of their own."""
    os.chown(short_directory, 0, 0)
    short_directory.chmod(0o755)
    for name, owner in (("a", "daemon"), ("b", "nobody")):
        for path in (short_directory / name, short_directory / name / "postgresql.conf"):
            path.touch() if path.suffix else path.mkdir()
            shutil.chown(path, owner)
    return Path(_two(short_directory, 'user = "daemon"', 'user = "nobody"'))


@as_root
def test_what_a_user_claims_is_nobody_elses_concern(users: Path) -> None:
    """No file and no link of one user's keeps root from having another's cluster; among his own they count."""
    assert len(load(users).clusters) == 2
    for name in ("a", "b"):
        (users.parent / name / "postgresql.conf").write_text("port = 7\nunix_socket_directories = '/tmp'\n")
    assert len(load(users).clusters) == 2
    shutil.rmtree(users.parent / "b")
    (users.parent / "b").symlink_to(users.parent / "a")
    assert len(load(users).clusters) == 2
    users.write_text(users.read_text().replace("nobody", "daemon"))
    with pytest.raises(InventoryError, match="is taken by the cluster"):
        load(users)


@as_root
def test_what_the_inventory_itself_says_counts(users: Path) -> None:
    """What the inventory has twice is refused, whose clusters they may be."""
    same = 'port = 7\nsettings = { unix_socket_directories = "/tmp" }\nuser ='
    users.write_text(users.read_text().replace("user =", same))
    with pytest.raises(InventoryError, match="the port 7 in /tmp is taken"):
        load(users)
