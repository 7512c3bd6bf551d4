"""Inventories for the tests: written into a directory, loaded with fixed defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import Inventory, load
from pgsupervisor.paths import DefaultPaths

PG = '[installations.pg]\nbindir = "/pg/bin"\n'
"""An installation, for the clusters of a test."""

SHOP = PG + '[clusters.shop]\ninstallation = "pg"\ndata_directory = "shop"\n'
"""The smallest cluster; keys may follow."""

Own = Mapping[str, Mapping[str, str] | None]
"""What clusters' own configurations say, by name; a cluster that is not there says nothing."""


def write(directory: Path, main: str, others: Mapping[str, str] | None = None) -> str:
    """Write a main file and others (by name), and return the path of the main file."""
    for name, text in {"inventory.toml": main, **(others or {})}.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return str(directory / "inventory.toml")


def load_fixed(path: str, own: Own | None = None, uid: int = 0) -> Inventory:
    """Load with defaults that are the same for everybody, as root, or as the user with the number `uid`."""
    return load(
        path,
        paths=DefaultPaths("/run/control", "/log"),
        cpus=3,
        uid=uid,
        configured=lambda cluster: (own or {}).get(cluster.name, {}),
    )


def refusal(path: str, own: Own | None = None, uid: int = 0) -> str:
    """Return the text of the error, without the directory of the test."""
    with pytest.raises(InventoryError) as caught:
        load_fixed(path, own, uid)
    return str(caught.value).replace(f"{Path(path).parent}/", "")
