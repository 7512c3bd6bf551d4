"""Inventories that are read: every key finds its way into a frozen value."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventories import PG, SHOP, load_fixed, write

from pgsupervisor.inventory import ClusterSpec, DaemonSpec, FrozenMapping, InstallationSpec, Inventory


def test_an_empty_inventory_is_one(tmp_path: Path) -> None:
    """No key is required at the top, and what is not said is the default of this user and this machine."""
    path = write(tmp_path, "")
    assert load_fixed(path) == Inventory(
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


def test_the_daemons_table(tmp_path: Path) -> None:
    """Every key of [daemon] has its way into the spec."""
    path = write(
        tmp_path,
        '[daemon]\nsocket = "control"\nsocket_mode = "600"\nadmin_group = ""\nlog_directory = "log"\n'
        'log_format = "json"\nstart_concurrency = 1\non_exit = "leave"\n' + SHOP,
    )
    inventory = load_fixed(path)
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


def test_everything_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of a cluster has its way into the spec: paths absolute, durations in seconds, settings spelled."""
    monkeypatch.setenv("HOME", "/home/alice")
    path = write(
        tmp_path,
        SHOP.replace('"shop"', '"~/shop"')
        + """
        init = true
        user = "alice"
        port = 65535
        settings = { Work_Mem = "4MB", fsync = false, jit = true, port_x = 1, cost = 0.5, auto_explain.level = "x=y" }
        environment = { LC_MESSAGES = "C", EMPTY = "" }
        config_file = "../shop.conf"
        logfile = "/var/log/shop.log"
        logfile_maxbytes = "1kB"
        logfile_backups = 0
        logfile_compress = true
        memory_max = "2GB"
        cpu_weight = 10000
        tasks_max = 300
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
        """,
    )
    assert load_fixed(path).clusters == {
        "shop": ClusterSpec(
            name="shop",
            installation=InstallationSpec(name="pg", bindir="/pg/bin"),
            data_directory="/home/alice/shop",
            init=True,
            user="alice",
            port=65535,
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
            logfile_compress=True,
            memory_max=2 << 30,
            cpu_weight=10_000,
            tasks_max=300,
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


def test_values_are_plain(tmp_path: Path) -> None:
    """A spec holds str, int and float themselves, so that it can be written as JSON or compared by type."""
    shop = load_fixed(write(tmp_path, SHOP + 'config_file = "x"\n')).clusters["shop"]
    assert [type(value) for value in (shop.data_directory, shop.config_file, shop.logfile)] == [str, str, str]
    assert [type(value) for value in (shop.stop_timeout, shop.logfile_maxbytes)] == [float, int]


@pytest.mark.parametrize("word", ["journal", "inherit", "none"])
def test_a_log_that_is_no_file(tmp_path: Path, word: str) -> None:
    """Three words are no paths, in [defaults] as well; a file of such a name is written with its directory."""
    path = write(
        tmp_path,
        f'[defaults]\nlogfile = "{word}"\n' + SHOP + f'[clusters.a]\ninstallation = "pg"\ndata_directory = "a"\n'
        f'logfile = "./{word}"\nport = 1\n',
    )
    clusters = load_fixed(path).clusters
    assert {name: (type(each.logfile), each.logfile, each.log_path) for name, each in clusters.items()} == {
        "shop": (str, word, None),
        "a": (str, f"{tmp_path}/{word}", f"{tmp_path}/{word}"),
    }


def test_the_three_kinds_of_installations(tmp_path: Path) -> None:
    """An installation is a pg_config, a directory of programs, or the wheel."""
    path = write(
        tmp_path,
        '[installations.a]\npg_config = "bin/pg_config"\n[installations.b]\nbindir = "/b"\n'
        "[installations.c]\nembedded = true\n",
    )
    assert load_fixed(path).installations == {
        "a": InstallationSpec(name="a", pg_config=f"{tmp_path}/bin/pg_config"),
        "b": InstallationSpec(name="b", bindir="/b"),
        "c": InstallationSpec(name="c", embedded=True),
    }


def test_a_clusters_own_value_wins(tmp_path: Path) -> None:
    """Defaults lie below the cluster's own keys, and settings and environment are put together entry by entry."""
    path = write(
        tmp_path,
        '[defaults]\ninstallation = "pg"\nstop_mode = "smart"\npriority = 5\nconfig_file = "x.conf"\n'
        'settings = { WORK_MEM = "1MB", jit = false }\nenvironment = { A = "1", B = "1" }\n'
        + PG
        + '[clusters.shop]\ndata_directory = "shop"\npriority = 10\n'
        'settings = { work_mem = "2MB" }\nenvironment = { B = "2" }\n',
    )
    shop = load_fixed(path).clusters["shop"]
    assert (shop.installation.name, shop.stop_mode, shop.priority) == ("pg", "smart", 10)
    assert (shop.settings, shop.environment) == ({"work_mem": "2MB", "jit": "off"}, {"A": "1", "B": "2"})
    assert shop.config_file == f"{tmp_path}/x.conf"


def test_includes(tmp_path: Path) -> None:
    """Included files are read in the order of their names; their paths are relative to where they are."""
    path = write(
        tmp_path,
        'include = ["conf.d/*.toml", "extra.toml", "none.d/*.toml"]\n[defaults]\ninstallation = "pg"\nlogfile = "l"\n',
        {
            "conf.d/b.toml": '[clusters.b]\ndata_directory = "b"\nlogfile = "b.log"\n',
            "conf.d/a.toml": PG,
            "conf.d/.hidden.toml": "nonsense",
            "extra.toml": '[clusters.c]\ndata_directory = "c"\nport = 1\n',
        },
    )
    inventory = load_fixed(path)
    assert inventory.files == tuple(
        f"{tmp_path}/{name}" for name in ("inventory.toml", "conf.d/a.toml", "conf.d/b.toml", "extra.toml")
    )
    assert {name: (cluster.data_directory, cluster.logfile) for name, cluster in inventory.clusters.items()} == {
        "b": (f"{tmp_path}/conf.d/b", f"{tmp_path}/conf.d/b.log"),
        "c": (f"{tmp_path}/c", f"{tmp_path}/l"),
    }


def test_a_file_that_two_patterns_find_is_read_once(tmp_path: Path) -> None:
    """Neither the main file itself nor a file that was read already is read again."""
    path = write(tmp_path, 'include = ["*.toml", "a.toml"]\n', {"a.toml": PG})
    assert len(load_fixed(path).files) == 2


def test_specs_are_values(tmp_path: Path) -> None:
    """Two readings of one inventory are equal and hash alike; that is what a plan rests on."""
    path = write(tmp_path, SHOP + "settings = { a = 1, b = 2 }\n")
    assert load_fixed(path) == load_fixed(path)
    assert hash(load_fixed(path)) == hash(load_fixed(path))
