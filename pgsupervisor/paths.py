"""Where things are when nobody says otherwise: the inventory, the control socket, the logs.

The daemon and its client must come to the same answer, and the client must come to it quickly: nothing is imported
here that takes time, and no file is looked at as long as there is HOME. Root's places are the system's; an ordinary
user's are those of the XDG Base Directory Specification.
"""

from __future__ import annotations

import pwd
from collections.abc import Mapping

from pgsupervisor.shapes import NamedTuple

UNIT = "pgsupervisor.service"
"""The daemon's unit, of the system's or of a user's own systemd."""


class DefaultPaths(NamedTuple):
    """The control socket, and the directory of the clusters' logs."""

    socket: str
    log_directory: str


def default_paths(uid: int, environment: Mapping[str, str]) -> DefaultPaths:
    """Return where a daemon of the user `uid` listens and logs when its inventory does not say.

    A service of the system has its own places, whoever runs it: its unit says PGSUPERVISOR_SOCKET, by which the client
    goes as well, and systemd LOGS_DIRECTORY (systemd.exec(5)).

    A user without a runtime directory (no login session, as under cron) gets the socket below the home directory and
    not in /tmp, where anybody could be there first.
    """
    paths = _of_user(uid, environment)
    return DefaultPaths(
        environment.get("PGSUPERVISOR_SOCKET") or paths.socket, environment.get("LOGS_DIRECTORY") or paths.log_directory
    )


def _of_user(uid: int, environment: Mapping[str, str]) -> DefaultPaths:
    if uid == 0:
        return DefaultPaths("/run/pgsupervisor/control", "/var/log/pgsupervisor")
    state = _base_directory(environment, "XDG_STATE_HOME", f"{_home(uid, environment)}/.local/state")
    runtime = _base_directory(environment, "XDG_RUNTIME_DIR", state)
    return DefaultPaths(f"{runtime}/pgsupervisor/control", f"{state}/pgsupervisor/log")


def default_inventory_path(uid: int, environment: Mapping[str, str]) -> str:
    """Return where the inventory of a daemon of the user `uid` is when nobody names a file.

    Of a service, systemd says that as well (CONFIGURATION_DIRECTORY, systemd.exec(5)).
    """
    if directory := environment.get("CONFIGURATION_DIRECTORY"):
        return f"{directory}/inventory.toml"
    if uid == 0:
        return "/etc/pgsupervisor/inventory.toml"
    return f"{_configuration(uid, environment)}/pgsupervisor/inventory.toml"


def user_unit_path(uid: int, environment: Mapping[str, str]) -> str:
    """Return where a user's own systemd finds a unit that this user has written (systemd.unit(5))."""
    return f"{_configuration(uid, environment)}/systemd/user/{UNIT}"


def _configuration(uid: int, environment: Mapping[str, str]) -> str:
    return _base_directory(environment, "XDG_CONFIG_HOME", f"{_home(uid, environment)}/.config")


def _base_directory(environment: Mapping[str, str], variable: str, default: str) -> str:
    """Return the base directory that `variable` names; what is no absolute path there is to be ignored."""
    named = environment.get(variable, "")
    return named.rstrip("/") if named.startswith("/") else default


def _home(uid: int, environment: Mapping[str, str]) -> str:
    """Return the home directory, without a slash at its end; without HOME, it is the user database that knows it."""
    home = environment.get("HOME", "")
    try:
        known = home if home.startswith("/") else pwd.getpwuid(uid).pw_dir
    except KeyError:
        known = home
    return known.rstrip("/")
