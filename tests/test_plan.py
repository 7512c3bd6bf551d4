"""What a re-read of the inventory would do."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from pgsupervisor.inventory import ClusterSpec, DaemonSpec, FrozenMapping, InstallationSpec, Inventory
from pgsupervisor.supervision.plan import RESTART_KEYS, Change, diff

SHOP = ClusterSpec(
    name="shop",
    installation=InstallationSpec(name="pg15", bindir="/usr/lib/postgresql/15/bin"),
    data_directory="/srv/pg/shop",
    init=False,
    user=None,
    port=5433,
    settings=FrozenMapping({"shared_buffers": "64MB"}),
    environment=FrozenMapping(),
    config_file=None,
    logfile="/var/log/pgsupervisor/shop.log",
    logfile_maxbytes=1,
    logfile_backups=1,
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

OTHERWISE: dict[str, object] = {
    "installation": InstallationSpec(name="pg15", bindir="/opt/pg15/bin"),
    "data_directory": "/srv/pg/other",
    "init": True,
    "user": "postgres",
    "port": None,
    "settings": FrozenMapping({"shared_buffers": "65MB"}),
    "environment": FrozenMapping({"LC_MESSAGES": "C"}),
    "config_file": "/etc/shop.conf",
    "logfile": "/var/log/shop.log",
    "logfile_maxbytes": 2,
    "logfile_backups": 2,
    "logfile_compress": True,
    "memory_max": 1 << 30,
    "cpu_weight": 200,
    "tasks_max": 100,
    "priority": 11,
    "watch": False,
    "reload_delay": 0.4,
    "autostart": False,
    "restart": "always",
    "restart_delay": 0.2,
    "restart_max_delay": 61.0,
    "start_retries": 4,
    "restart_limit": 11,
    "stable_after": 11.0,
    "stop_mode": "smart",
    "stop_timeout": 61.0,
    "allow": ("alice",),
}
"""Another value for every key."""

POLICY_KEYS = {
    "init",
    "logfile_maxbytes",
    "logfile_backups",
    "logfile_compress",
    "memory_max",
    "cpu_weight",
    "tasks_max",
    "priority",
    "watch",
    "reload_delay",
    "autostart",
    "restart",
    "restart_delay",
    "restart_max_delay",
    "start_retries",
    "restart_limit",
    "stable_after",
    "stop_mode",
    "stop_timeout",
    "allow",
}
"""The keys that a running server does not notice."""


def _inventory(*clusters: ClusterSpec) -> Inventory:
    return Inventory(
        path="/etc/pgsupervisor/inventory.toml",
        files=("/etc/pgsupervisor/inventory.toml",),
        daemon=DaemonSpec(
            socket="/run/pgsupervisor/control",
            socket_mode=0o660,
            admin_group=None,
            log_directory="/var/log/pgsupervisor",
            log_format="auto",
            start_concurrency=4,
            on_exit="stop",
        ),
        installations=FrozenMapping(),
        clusters=FrozenMapping({cluster.name: cluster for cluster in clusters}),
    )


def test_every_key_has_an_effect() -> None:
    """A new key of a cluster cannot be forgotten: someone must say here whether it takes a restart."""
    keys = {field.name for field in fields(ClusterSpec)} - {"name"}
    assert sorted([*RESTART_KEYS, *POLICY_KEYS]) == sorted(keys)
    assert OTHERWISE.keys() == keys


@pytest.mark.parametrize("key", [field.name for field in fields(ClusterSpec) if field.name != "name"])
def test_a_changed_key(key: str) -> None:
    """Each key alone is noticed, and restarts a server only where the server would not take it otherwise."""
    changed = replace(SHOP, **{key: OTHERWISE[key]})
    effect = "nothing" if key in POLICY_KEYS else "restart"
    assert diff(_inventory(SHOP), _inventory(changed)) == (Change("shop", "change", effect, (key,)),)


def test_an_unchanged_cluster_is_not_in_the_plan() -> None:
    """Reading the same inventory again touches nothing, in whatever order settings are written."""
    one = replace(SHOP, settings=FrozenMapping({"a": "1", "b": "2"}))
    same = replace(SHOP, settings=FrozenMapping({"b": "2", "a": "1"}))
    assert diff(_inventory(one), _inventory(same)) == ()


def test_the_name_of_an_installation_is_no_change() -> None:
    """Giving an installation another name restarts nothing, as the server is the same."""
    renamed = replace(SHOP, installation=replace(SHOP.installation, name="debian"))
    assert diff(_inventory(SHOP), _inventory(renamed)) == ()


def test_policy_and_restart_together() -> None:
    """One key that takes a restart makes it a restart; all keys are named, in the inventory's order."""
    changed = replace(SHOP, stop_timeout=1.0, settings=FrozenMapping(), installation=InstallationSpec(name="x"))
    assert diff(_inventory(SHOP), _inventory(changed)) == (
        Change("shop", "change", "restart", ("installation", "settings", "stop_timeout")),
    )


def test_order() -> None:
    """What is removed goes first and frees its port; then changes, then what is new; each by name."""

    def named(name: str, priority: int = 0) -> ClusterSpec:
        return replace(SHOP, name=name, priority=priority)

    removed = [Change(name, "remove") for name in "tuvwxyz"]
    before = _inventory(*(named(change.name) for change in reversed(removed)), named("m"), named("l"), named("same"))
    after = _inventory(named("same"), named("b"), named("m", 1), named("a"), named("l", 1))
    assert diff(before, after) == (
        *removed,
        Change("l", "change", "nothing", ("priority",)),
        Change("m", "change", "nothing", ("priority",)),
        Change("a", "add"),
        Change("b", "add"),
    )
