"""Where things are when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pgsupervisor.paths import DefaultPaths, default_inventory_path, default_paths


@pytest.mark.parametrize(
    ("uid", "environment", "socket", "logs", "inventory"),
    [
        (
            0,
            {"XDG_RUNTIME_DIR": "/run/user/0", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c", "HOME": "/root"},
            "/run/pgsupervisor/control",
            "/var/log/pgsupervisor",
            "/etc/pgsupervisor/inventory.toml",
        ),
        (
            7,
            {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/a"},
            "/run/user/7/pgsupervisor/control",
            "/home/a/.local/state/pgsupervisor/log",
            "/home/a/.config/pgsupervisor/inventory.toml",
        ),
        (
            7,
            {"XDG_RUNTIME_DIR": "/r", "XDG_STATE_HOME": "/s/", "XDG_CONFIG_HOME": "/c", "HOME": "/home/a"},
            "/r/pgsupervisor/control",
            "/s/pgsupervisor/log",
            "/c/pgsupervisor/inventory.toml",
        ),
        (
            7,
            {"XDG_RUNTIME_DIR": "relative", "XDG_STATE_HOME": "", "HOME": "/home/a/"},
            "/home/a/.local/state/pgsupervisor/control",
            "/home/a/.local/state/pgsupervisor/log",
            "/home/a/.config/pgsupervisor/inventory.toml",
        ),
    ],
)
def test_default_paths(uid: int, environment: Mapping[str, str], socket: str, logs: str, inventory: str) -> None:
    """Root's places are the system's, a user's those of the XDG specification; a socket is never in /tmp."""
    assert default_paths(uid, environment) == DefaultPaths(socket, logs)
    assert default_inventory_path(uid, environment) == inventory
