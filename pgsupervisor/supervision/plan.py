"""What a re-read of the inventory would do: the difference between two inventories, cluster by cluster.

A cluster that is the same in both does not appear, so nothing can touch it. Nothing is done here either: the plan is a
value, to be shown (`pgsupctl update --dry-run`) or to be performed.

A key has one of two effects on a server that runs. What became part of its command line, its environment or its
process is taken only by a restart; what only the supervisor reads costs nothing. There is no key that a reload
(SIGHUP) would apply: port and settings are on the command line, which wins over the files that a reload reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Literal

from pgsupervisor.inventory.spec import ClusterSpec, Inventory
from pgsupervisor.values import frozen

Action = Literal["add", "remove", "change"]
Effect = Literal["nothing", "restart"]

RESTART_KEYS = frozenset(
    {
        "installation",
        "data_directory",
        "user",
        "port",
        "settings",
        "environment",
        "config_file",
        "logfile",
    }
)
"""The keys of a cluster that a running server takes only by a restart; the others are the supervisor's alone."""


LATER_KEYS = frozenset({"socket", "socket_mode", "log_format"})
"""The keys of [daemon] that count only when the daemon is started again; an update takes up the others."""


@frozen
class Change:
    """What happens to the cluster `name`.

    `keys` are the keys that differ, in the order of the inventory, and `effect` is what that does to a server that
    runs; a cluster that is added or removed has no keys and the effect "nothing": the action says it all.
    """

    name: str
    action: Action
    effect: Effect = "nothing"
    keys: tuple[str, ...] = ()


Plan = tuple[Change, ...]
"""The changes in the order in which to make them: removes (which free ports), changes, adds; each by name."""


def daemon_keys(old: Inventory, new: Inventory) -> tuple[str, ...]:
    """Return the keys of [daemon] that differ, in the order of the inventory."""
    before, after = old.daemon, new.daemon
    return tuple(field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name))


def diff(old: Inventory, new: Inventory) -> Plan:
    """Return what leads from the `old` inventory to the `new` one."""
    before, after = old.clusters, new.clusters
    return (
        *(Change(name, "remove") for name in sorted(before.keys() - after.keys())),
        *_changes(before, after),
        *(Change(name, "add") for name in sorted(after.keys() - before.keys())),
    )


def _changes(before: Mapping[str, ClusterSpec], after: Mapping[str, ClusterSpec]) -> Iterator[Change]:
    for name in sorted(before.keys() & after.keys()):
        keys = _differing(before[name], after[name])
        if keys:
            yield Change(name, "change", "nothing" if RESTART_KEYS.isdisjoint(keys) else "restart", keys)


def _differing(one: ClusterSpec, other: ClusterSpec) -> tuple[str, ...]:
    one, other = _nameless(one), _nameless(other)
    return tuple(field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name))


def _nameless(cluster: ClusterSpec) -> ClusterSpec:
    """Return a cluster whose installation has no name: it is the same by another name."""
    return replace(cluster, installation=replace(cluster.installation, name=""))
