"""Inventories that are read, and inventories that are refused in words that help."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import (
    ClusterSpec,
    DaemonSpec,
    FrozenMapping,
    InstallationSpec,
    Inventory,
    load,
)
from pgsupervisor.inventory.check import configured_by_files
from pgsupervisor.paths import DefaultPaths, default_inventory_path, default_paths

PG = '[installations.pg]\nbindir = "/pg/bin"\n'
"""An installation, for the clusters of a test."""

SHOP = PG + '[clusters.shop]\ninstallation = "pg"\ndata_directory = "shop"\n'
"""The smallest cluster; keys may follow."""

Files = Callable[..., str]
"""Writes the main file and others, NAME=TEXT, and returns the path of the main file."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Writes an inventory into the test's directory."""

    def write(main: str, others: Mapping[str, str] | None = None) -> str:
        for name, text in {"inventory.toml": main, **(others or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "inventory.toml")

    return write


def _nothing(_: ClusterSpec) -> Mapping[str, str]:
    """Stand for clusters whose own configuration sets nothing."""
    return {}


def _load(path: str, own: Mapping[str, Mapping[str, str] | None] | None = None) -> Inventory:
    """Load with fixed defaults; `own` is what clusters' own configurations say, by name."""
    return load(
        path,
        paths=DefaultPaths("/run/control", "/log"),
        cpus=3,
        configured=lambda cluster: (own or {}).get(cluster.name, {}),
    )


def _refusal(path: str, own: Mapping[str, Mapping[str, str] | None] | None = None) -> str:
    """Return the text of the error, without the directory of the test."""
    with pytest.raises(InventoryError) as caught:
        _load(path, own)
    return str(caught.value).replace(f"{Path(path).parent}/", "")


# What is read


def test_an_empty_inventory_is_one(files: Files) -> None:
    """No key is required at the top, and what is not said is the default of this user and this machine."""
    path = files("")
    assert _load(path) == Inventory(
        path=path,
        files=(path,),
        daemon=DaemonSpec(
            socket="/run/control",
            socket_mode=0o660,
            admin_group="pgsupervisor",
            log_directory="/log",
            log_format="auto",
            start_concurrency=6,
            on_exit="stop",
        ),
        installations={},
        clusters={},
    )


def test_the_daemons_table(files: Files, tmp_path: Path) -> None:
    """Every key of [daemon] has its way into the spec."""
    path = files(
        '[daemon]\nsocket = "control"\nsocket_mode = "600"\nadmin_group = ""\nlog_directory = "log"\n'
        'log_format = "json"\nstart_concurrency = 1\non_exit = "leave"\n' + SHOP
    )
    inventory = _load(path)
    assert inventory.daemon == DaemonSpec(
        socket=f"{tmp_path}/control",
        socket_mode=0o600,
        admin_group=None,
        log_directory=f"{tmp_path}/log",
        log_format="json",
        start_concurrency=1,
        on_exit="leave",
    )
    assert inventory.clusters["shop"].logfile == f"{tmp_path}/log/shop.log"


def test_everything_of_a_cluster(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a cluster has its way into the spec: paths absolute, durations in seconds, settings spelled."""
    monkeypatch.setenv("HOME", "/home/alice")
    path = files(
        SHOP.replace('"shop"', '"~/shop"')
        + """
        init = true
        user = "alice"
        port = 5433
        settings = { Work_Mem = "4MB", fsync = false, jit = true, port_x = 1, cost = 0.5, auto_explain.level = "x=y" }
        environment = { LC_MESSAGES = "C", EMPTY = "" }
        config_file = "../shop.conf"
        logfile = "/var/log/shop.log"
        logfile_maxbytes = "1kB"
        logfile_backups = 0
        priority = -1
        watch = false
        reload_delay = 1
        autostart = false
        restart = "always"
        restart_delay = "2s"
        restart_max_delay = "2min"
        start_retries = 4
        restart_limit = 0
        stable_after = 0.5
        stop_mode = "smart"
        stop_timeout = "1h"
        allow = ["alice", "@devs"]
        """
    )
    assert _load(path).clusters == {
        "shop": ClusterSpec(
            name="shop",
            installation=InstallationSpec(name="pg", bindir="/pg/bin"),
            data_directory="/home/alice/shop",
            init=True,
            user="alice",
            port=5433,
            settings=FrozenMapping(
                {
                    "work_mem": "4MB",
                    "fsync": "off",
                    "jit": "on",
                    "port_x": "1",
                    "cost": "0.5",
                    "auto_explain.level": "x=y",
                }
            ),
            environment=FrozenMapping({"LC_MESSAGES": "C", "EMPTY": ""}),
            config_file=f"{tmp_path}/../shop.conf",
            logfile="/var/log/shop.log",
            logfile_maxbytes=1024,
            logfile_backups=0,
            priority=-1,
            watch=False,
            reload_delay=1.0,
            autostart=False,
            restart="always",
            restart_delay=2.0,
            restart_max_delay=120.0,
            start_retries=4,
            restart_limit=0,
            stable_after=0.5,
            stop_mode="smart",
            stop_timeout=3600.0,
            allow=("alice", "@devs"),
        )
    }


def test_values_are_plain(files: Files) -> None:
    """A spec holds str, int and float themselves, so that it can be written as JSON or compared by type."""
    shop = _load(files(SHOP + 'config_file = "x"\n')).clusters["shop"]
    assert [type(value) for value in (shop.data_directory, shop.config_file, shop.logfile)] == [str, str, str]
    assert [type(value) for value in (shop.stop_timeout, shop.logfile_maxbytes)] == [float, int]


def test_the_three_kinds_of_installations(files: Files, tmp_path: Path) -> None:
    """An installation is a pg_config, a directory of programs, or the wheel."""
    path = files(
        '[installations.a]\npg_config = "bin/pg_config"\n[installations.b]\nbindir = "/b"\n'
        "[installations.c]\nembedded = true\n"
    )
    assert _load(path).installations == {
        "a": InstallationSpec(name="a", pg_config=f"{tmp_path}/bin/pg_config"),
        "b": InstallationSpec(name="b", bindir="/b"),
        "c": InstallationSpec(name="c", embedded=True),
    }


def test_a_clusters_own_value_wins(files: Files, tmp_path: Path) -> None:
    """Defaults lie below the cluster's own keys, and settings and environment are put together entry by entry."""
    path = files(
        '[defaults]\ninstallation = "pg"\nstop_mode = "smart"\npriority = 5\nconfig_file = "x.conf"\n'
        'settings = { WORK_MEM = "1MB", jit = false }\nenvironment = { A = "1", B = "1" }\n'
        "include = 0\n".replace("include = 0\n", "") + PG + '[clusters.shop]\ndata_directory = "shop"\npriority = 10\n'
        'settings = { work_mem = "2MB" }\nenvironment = { B = "2" }\n'
    )
    shop = _load(path).clusters["shop"]
    assert (shop.installation.name, shop.stop_mode, shop.priority) == ("pg", "smart", 10)
    assert (shop.settings, shop.environment) == ({"work_mem": "2MB", "jit": "off"}, {"A": "1", "B": "2"})
    assert shop.config_file == f"{tmp_path}/x.conf"


def test_includes(files: Files, tmp_path: Path) -> None:
    """Included files are read in the order of their names; their paths are relative to where they are."""
    path = files(
        'include = ["conf.d/*.toml", "extra.toml", "none.d/*.toml"]\n[defaults]\ninstallation = "pg"\nlogfile = "l"\n',
        {
            "conf.d/b.toml": '[clusters.b]\ndata_directory = "b"\nlogfile = "b.log"\n',
            "conf.d/a.toml": PG,
            "conf.d/.hidden.toml": "nonsense",
            "extra.toml": '[clusters.c]\ndata_directory = "c"\n',
        },
    )
    inventory = _load(path)
    assert inventory.files == tuple(
        f"{tmp_path}/{name}" for name in ("inventory.toml", "conf.d/a.toml", "conf.d/b.toml", "extra.toml")
    )
    assert {name: (cluster.data_directory, cluster.logfile) for name, cluster in inventory.clusters.items()} == {
        "b": (f"{tmp_path}/conf.d/b", f"{tmp_path}/conf.d/b.log"),
        "c": (f"{tmp_path}/c", f"{tmp_path}/l"),
    }


def test_a_file_that_two_patterns_find_is_read_once(files: Files) -> None:
    """Neither the main file itself nor a file that was read already is read again."""
    path = files('include = ["*.toml", "a.toml"]\n', {"a.toml": PG})
    assert len(_load(path).files) == 2


def test_specs_are_values(files: Files) -> None:
    """Two readings of one inventory are equal and hash alike; that is what a plan rests on."""
    path = files(SHOP + "settings = { a = 1, b = 2 }\n")
    assert _load(path) == _load(path)
    assert hash(_load(path)) == hash(_load(path))


# What is refused

MISTAKES = {
    "unknown key": (
        SHOP + 'data_dir = "x"',
        'clusters.shop.data_dir: unknown key "data_dir"; did you mean "data_directory"?',
    ),
}
