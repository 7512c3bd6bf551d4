"""Where things are when nobody says otherwise: the inventory, the control socket, the logs.

The daemon and its client must come to the same answer, and the client must come to it quickly: nothing is imported
here that takes time, and no file is looked at. Root's places are the system's; an ordinary user's are those of
the XDG Base Directory Specification.
"""

from __future__ import annotations

import os
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
    state = _directory(environment, "XDG_STATE_HOME", ".local/state")
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime):
        runtime = state
    return DefaultPaths(f"{runtime}/pgsupervisor/control", f"{state}/pgsupervisor/log")


def default_inventory_path(uid: int, environment: Mapping[str, str]) -> str:
    """Return where the inventory of a daemon of the user `uid` is when nobody names a file."""
    if uid == 0:
        return "/etc/pgsupervisor/inventory.toml"
    return f"{_directory(environment, 'XDG_CONFIG_HOME', '.config')}/pgsupervisor/inventory.toml"


def _directory(environment: Mapping[str, str], variable: str, below_home: str) -> str:
    """Return the base directory that `variable` names; a relative path there is to be ignored, says the specification."""
    named = environment.get(variable, "")
    return named if os.path.isabs(named) else os.path.join(environment.get("HOME", "/"), below_home)
