"""Where things are when nobody says otherwise: the inventory, the control socket, the logs.

The daemon and its client must come to the same answer, and the client must come to it quickly: nothing is imported
here that takes time, and no file is looked at as long as there is HOME. Root's places are the system's; an ordinary
user's are those of the XDG Base Directory Specification.
"""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Mapping
from typing import NamedTuple


class DefaultPaths(NamedTuple):
    """The control socket, and the directory of the clusters' logs."""

    socket: str
    log_directory: str


def default_paths(uid: int, environment: Mapping[str, str]) -> DefaultPaths:
    """Return where a daemon of the user `uid` listens and logs when its inventory does not say.

    A user without a runtime directory (no login session, as under cron) gets the socket below the home directory and
    not in /tmp, where anybody could be there first.
    """
    if uid == 0:
        return DefaultPaths("/run/pgsupervisor/control", "/var/log/pgsupervisor")
    state = _base_directory(environment, "XDG_STATE_HOME", f"{_home(uid, environment)}/.local/state")
    runtime = _base_directory(environment, "XDG_RUNTIME_DIR", state)
    return DefaultPaths(f"{runtime}/pgsupervisor/control", f"{state}/pgsupervisor/log")


def default_inventory_path(uid: int, environment: Mapping[str, str]) -> str:
    """Return where the inventory of a daemon of the user `uid` is when nobody names a file."""
    if uid == 0:
        return "/etc/pgsupervisor/inventory.toml"
    configuration = _base_directory(environment, "XDG_CONFIG_HOME", f"{_home(uid, environment)}/.config")
    return f"{configuration}/pgsupervisor/inventory.toml"


def _base_directory(environment: Mapping[str, str], variable: str, default: str) -> str:
    """Return the base directory that `variable` names; what is no absolute path there is to be ignored."""
    named = environment.get(variable, "")
    return named.rstrip("/") if named.startswith("/") else default


def _home(uid: int, environment: Mapping[str, str]) -> str:
    """Return the home directory, without a slash at its end; without HOME, it is the user database that knows it."""
    home = environment.get("HOME", "")
    if not home.startswith("/"):
        with contextlib.suppress(KeyError):
            home = pwd.getpwuid(uid).pw_dir
    return home.rstrip("/")
