"""The inventory: what the administrator wants, read from TOML into frozen values.

>>> inventory = load("/etc/pgsupervisor/inventory.toml")                        # doctest: +SKIP
>>> inventory.clusters["shop"].installation.bindir                              # doctest: +SKIP
'/usr/lib/postgresql/15/bin'

A mistake is an `InventoryError` (pgsupervisor.errors) that names the file, the key and what is wrong with it.
The steps: `load` reads the files and their includes, `schema` says which keys there are and what may stand in
them, `resolve` makes specs of them, and `check` refuses clusters that would be in each other's way.
"""

from __future__ import annotations

from pgsupervisor.inventory.load import load
from pgsupervisor.inventory.spec import (
    ClusterSpec,
    DaemonSpec,
    FrozenMapping,
    InstallationSpec,
    Inventory,
    LogFormat,
    OnExit,
    RestartPolicy,
    StopMode,
)

__all__ = [
    "ClusterSpec",
    "DaemonSpec",
    "FrozenMapping",
    "InstallationSpec",
    "Inventory",
    "LogFormat",
    "OnExit",
    "RestartPolicy",
    "StopMode",
    "load",
]
