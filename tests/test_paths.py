"""Where things are when nobody says otherwise."""

from __future__ import annotations

import pwd
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
        (
            7,
            {
                "PGSUPERVISOR_SOCKET": "/run/p/control",
                "LOGS_DIRECTORY": "/var/log/p",
                "CONFIGURATION_DIRECTORY": "/etc/p",
                "HOME": "/home/a",
            },
            "/run/p/control",
            "/var/log/p",
            "/etc/p/inventory.toml",
        ),
    ],
)
def test_default_paths(uid: int, environment: Mapping[str, str], socket: str, logs: str, inventory: str) -> None:
    """Root's places are the system's, a user's those of the XDG specification, a service's what its unit says."""
    assert default_paths(uid, environment) == DefaultPaths(socket, logs)
    assert default_inventory_path(uid, environment) == inventory


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "here"}])
def test_a_user_without_home(environment: Mapping[str, str]) -> None:
    """Where HOME is missing, or no absolute path, the user database knows the home directory."""
    nobody = pwd.getpwnam("nobody")
    assert default_paths(nobody.pw_uid, environment) == default_paths(nobody.pw_uid, {"HOME": nobody.pw_dir})
    there = default_inventory_path(nobody.pw_uid, environment)
    assert there == f"{nobody.pw_dir}/.config/pgsupervisor/inventory.toml"


def test_a_user_whom_nobody_knows() -> None:
    """A user without HOME and without an entry has no home but the root directory; he gets an answer all the same."""
    assert default_inventory_path(3_999_999, {}) == "/.config/pgsupervisor/inventory.toml"
