"""The sample inventory is the reference: it holds every key, with its default, and it works."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import fields

from pgsupervisor.inventory import ClusterSpec, FrozenMapping, InstallationSpec, Inventory, load
from pgsupervisor.inventory.schema import ClusterTable, DaemonTable, InstallationTable, MainFile
from pgsupervisor.paths import default_paths

SAMPLE = Path(__file__).parent.parent / "etc" / "inventory.toml"

ROOT = default_paths(0, {})

EXAMPLES = ("data_directory", "user", "port", "settings", "environment", "config_file")
"""The keys of a cluster that the sample shows with an example, because their default is nothing to show."""


def _load(path: Path) -> Inventory:
    return load(str(path), paths=ROOT, cpus=2, uid=0, configured=lambda _: {})


def _with_all_keys() -> str:
    """Return the sample with every key taken out of its comment."""
    return re.sub(r"^#(?=\S)", "", SAMPLE.read_text(), flags=re.MULTILINE)


@pytest.fixture
def complete(tmp_path: Path) -> Inventory:
    """Load the sample with every key taken out of its comment."""
    path = tmp_path / "inventory.toml"
    path.write_text(_with_all_keys())
    return _load(path)


def test_the_sample_as_it_is_is_an_inventory_of_no_clusters(tmp_path: Path) -> None:
    """Who copies the sample gets a daemon with the defaults, and nothing is started by accident."""
    inventory = _load(Path(shutil.copy(SAMPLE, tmp_path)))
    assert (inventory.clusters, inventory.installations) == ({}, {})


def test_every_key_is_in_the_sample() -> None:
    """No key can be added to the schema without being explained."""
    sample = tomllib.loads(_with_all_keys())
    installations = set().union(*sample["installations"].values())
    assert (set(sample), set(sample["daemon"]), installations, set(sample["clusters"]["shop"])) == tuple(
        {field.name for field in fields(table)} for table in (MainFile, DaemonTable, InstallationTable, ClusterTable)
    )


def test_the_daemon_of_the_sample_is_the_default(complete: Inventory, tmp_path: Path) -> None:
    """What the sample shows for the daemon is exactly what it does without an inventory's word (root, two CPUs)."""
    empty = tmp_path / "empty.toml"
    empty.touch()
    assert complete.daemon == _load(empty).daemon


def test_the_cluster_of_the_sample_has_the_defaults(complete: Inventory, tmp_path: Path) -> None:
    """What the sample shows for a cluster is exactly the default, but for what it calls examples."""
    short = tmp_path / "short.toml"
    short.write_text(
        '[installations.pg15]\nbindir = "/usr/lib/postgresql/15/bin"\n'
        '[clusters.shop]\ninstallation = "pg15"\ndata_directory = "/srv/pg/shop"\n'
    )
    shop = complete.clusters["shop"]
    defaults = _load(short).clusters["shop"]
    assert shop == replace(defaults, **{key: getattr(shop, key) for key in EXAMPLES})
    assert [key for key in EXAMPLES if getattr(shop, key) == getattr(defaults, key)] == ["data_directory"]


def test_the_sample_is_read_as_it_is_meant(complete: Inventory) -> None:
    """The whole cluster, value by value: what an administrator reads there is what the daemon does."""
    assert complete.clusters["shop"] == ClusterSpec(
        name="shop",
        installation=InstallationSpec(name="pg15", bindir="/usr/lib/postgresql/15/bin"),
        data_directory="/srv/pg/shop",
        init=False,
        user="postgres",
        port=5433,
        settings=FrozenMapping(
            {"shared_buffers": "64MB", "wal_compression": "on", "auto_explain.log_min_duration": "1s"}
        ),
        environment=FrozenMapping({"LC_MESSAGES": "C"}),
        config_file="/etc/postgresql/15/shop/postgresql.conf",
        logfile="/var/log/pgsupervisor/shop.log",
        logfile_maxbytes=50 * 1024 * 1024,
        logfile_backups=10,
        logfile_compress=False,
        memory_max=0,
        cpu_weight=100,
        tasks_max=0,
        priority=10,
        watch=True,
        reload_delay=0.3,
        autostart=True,
        restart="on-failure",
        restart_delay=0.1,
        restart_max_delay=60.0,
        start_retries=3,
        restart_limit=10,
        stable_after=10.0,
        stop_mode="fast",
        stop_timeout=60.0,
        allow=(),
    )
