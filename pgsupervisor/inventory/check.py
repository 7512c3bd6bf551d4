"""Clusters that would be in each other's way are refused before any of them is touched.

Two servers cannot share a data directory, a logfile, or a port in one socket directory. What the inventory does not
say may be said in the cluster's own postgresql.conf, so that is asked too (`configured`), and the rule itself
stays free of PostgreSQL's files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pgsupervisor.inventory.convert import Place
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres.addresses import split_list
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.owner import as_owner

Configured = Callable[[ClusterSpec], Mapping[str, str] | None]
"""What a cluster's own configuration files say of `port` and `unix_socket_directories`; None: nobody can tell."""

_DEFAULT_PORT = "5432"
_ASKED = ("port", "unix_socket_directories")


def configured_by_files(cluster: ClusterSpec, names: Iterable[str] = _ASKED) -> Mapping[str, str] | None:
    """Read settings in the cluster's postgresql.conf and postgresql.auto.conf, which wins; None: they are not ours."""
    directory = Path(cluster.data_directory)
    path = Path(cluster.config_file or directory / "postgresql.conf")
    try:
        with as_owner(cluster.data_directory, cluster.user):
            said = ConfigFile(path, auto_file=directory / "postgresql.auto.conf").getset(names)
    except FileNotFoundError:  # no cluster there yet
        return {}
    except OSError:
        return None
    return {name: value for name, value in said.items() if value is not None}


def check(clusters: Iterable[tuple[ClusterSpec, Place]], configured: Configured) -> None:
    """Refuse clusters that would share what cannot be shared.

    Each cluster comes with the place where it is defined. Raises InventoryError, at the second of two.
    """
    owners: dict[tuple[object, ...], str] = {}
    for cluster, place in clusters:
        for key, claim, words in _claims(cluster, configured(cluster)):
            owner = owners.setdefault((key, *claim), cluster.name)
            if owner != cluster.name:
                raise (place / key).error(f'{words} is taken by the cluster "{owner}" already')


def _claims(cluster: ClusterSpec, own: Mapping[str, str] | None) -> Iterable[tuple[str, tuple[object, ...], str]]:
    """Yield what a cluster needs for itself alone: the key, the thing, and the thing in words."""
    directory = os.path.realpath(cluster.data_directory)
    yield "data_directory", (directory,), f"the data directory {directory}"
    if cluster.log_path is not None:
        logfile = os.path.realpath(cluster.log_path)
        yield "logfile", (logfile,), f"the logfile {logfile}"
    port = _port(cluster, own)
    if port is not None:
        for sockets in _socket_directories(cluster, own):
            where = sockets if isinstance(sockets, str) else "the installation's default socket directory"
            yield "port", (port, sockets), f"the port {port} in {where}"


def _port(cluster: ClusterSpec, own: Mapping[str, str] | None) -> str | None:
    """Return the port in the order in which a server looks for it; None when it cannot be told."""
    if cluster.port is not None:
        return str(cluster.port)
    if own is None:
        return None
    return own.get("port") or cluster.environment.get("PGPORT") or _DEFAULT_PORT


def _socket_directories(cluster: ClusterSpec, own: Mapping[str, str] | None) -> Iterable[str | tuple[object, ...]]:
    """Yield the directories of the server's sockets; where nobody sets any, the installation stands for its own."""
    name = "unix_socket_directories"
    listed = cluster.settings.get(name)
    if listed is None:
        if own is None:
            return
        listed = own.get(name)
    if listed is None:
        installation = cluster.installation
        yield installation.pg_config, installation.bindir, installation.embedded
        return
    for directory in split_list(listed):
        if directory.startswith("@"):
            yield directory
        else:
            yield os.path.realpath(Path(cluster.data_directory, directory))
