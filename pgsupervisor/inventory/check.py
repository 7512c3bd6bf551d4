"""Clusters that would be in each other's way are refused before any of them is touched.

Two servers cannot share a data directory, a logfile, or a port in one socket directory. What the inventory does not
say may be said in the cluster's own postgresql.conf, so that is asked too (`configured`), and the rule itself
stays free of PostgreSQL's files.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pgsupervisor.inventory.convert import Place
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres.addresses import split_list
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.owner import as_owner, touched_by
from pgsupervisor.system.identity import NOBODY
from pgsupervisor.values import frozen

Configured = Callable[[ClusterSpec], Mapping[str, str] | None]
"""What a cluster's own configuration files say of `port` and `unix_socket_directories`; None: nobody can tell."""

_DEFAULT_PORT = "5432"
_SOCKETS = "unix_socket_directories"
_ASKED = ("port", _SOCKETS)


def configured_by_files(cluster: ClusterSpec, names: Iterable[str] = _ASKED) -> Mapping[str, str] | None:
    """Read settings in the cluster's postgresql.conf and postgresql.auto.conf, which wins; None: they are not ours."""
    path = cluster.config_file or os.path.join(cluster.data_directory, "postgresql.conf")
    auto_file = os.path.join(cluster.data_directory, "postgresql.auto.conf")
    try:
        with as_owner(cluster.data_directory, cluster.user):
            said = ConfigFile(path, auto_file=auto_file).getset(names)
    except FileNotFoundError:  # no cluster there yet
        return {}
    except OSError:
        return None
    return {name: value for name, value in said.items() if value is not None}


@frozen
class _Claim:
    """What a cluster needs for itself alone: the `key` of the inventory, the `thing`, and the thing in `words`.

    It is `certain` if the inventory alone says so, and no file or link of anybody else.
    """

    key: str
    thing: tuple[object, ...]
    words: str
    certain: bool


def check(clusters: Iterable[tuple[ClusterSpec, Place]], configured: Configured) -> None:
    """Refuse clusters that would share what cannot be shared.

    What users write into their files, and what their links lead to, counts among the clusters of one user only. By a
    claim to what is another's, he could keep root from having any cluster otherwise.

    Each cluster comes with the place where it is defined. Raises InventoryError, at the second of two.
    """
    made: defaultdict[tuple[object, ...], list[tuple[ClusterSpec, _Claim]]] = defaultdict(list)
    for cluster, place in clusters:
        for claim in _claims(cluster, configured):
            others = made[claim.key, *claim.thing]
            for other, theirs in others:
                if other is not cluster and ((claim.certain and theirs.certain) or _in_the_same_hands(cluster, other)):
                    raise (place / claim.key).error(f'{claim.words} is taken by the cluster "{other.name}" already')
            others.append((cluster, claim))


def _in_the_same_hands(*clusters: ClusterSpec) -> bool:
    who = {touched_by(each.data_directory, each.user) for each in clusters}
    return len(who) == 1 and NOBODY not in who


def _claims(cluster: ClusterSpec, configured: Configured) -> Iterable[_Claim]:
    """Yield what a cluster needs for itself alone; its files are asked only for what the inventory does not say."""
    directory = os.path.realpath(cluster.data_directory)
    linked = directory != os.path.normpath(cluster.data_directory)
    yield _Claim("data_directory", (directory,), f"the data directory {directory}", certain=not linked)
    if cluster.log_path is not None:
        logfile = os.path.realpath(cluster.log_path)
        linked = logfile != os.path.normpath(cluster.log_path)
        yield _Claim("logfile", (logfile,), f"the logfile {logfile}", certain=not linked)
    certain = cluster.port is not None and _SOCKETS in cluster.settings
    own = None if certain else configured(cluster)
    port = _port(cluster, own)
    if port is not None:
        for sockets in _socket_directories(cluster, own):
            where = sockets if isinstance(sockets, str) else "the installation's default socket directory"
            yield _Claim("port", (port, sockets), f"the port {port} in {where}", certain)


def _port(cluster: ClusterSpec, own: Mapping[str, str] | None) -> str | None:
    """Return the port in the order in which a server looks for it; None when it cannot be told."""
    if cluster.port is not None:
        return str(cluster.port)
    if own is None:
        return None
    return own.get("port") or cluster.environment.get("PGPORT") or _DEFAULT_PORT


def _socket_directories(cluster: ClusterSpec, own: Mapping[str, str] | None) -> Iterable[str | tuple[object, ...]]:
    """Yield the directories of the server's sockets; where nobody sets any, the installation stands for its own."""
    listed = cluster.settings.get(_SOCKETS)
    if listed is None:
        if own is None:
            return
        listed = own.get(_SOCKETS)
    if listed is None:
        installation = cluster.installation
        yield installation.pg_config, installation.bindir, installation.embedded
        return
    for directory in split_list(listed):
        if directory.startswith("@"):
            yield directory
        else:
            yield os.path.realpath(Path(cluster.data_directory, directory))
