"""pgsupctl check: everything that can be known to be wrong before anything is touched.

No daemon is asked, and none needs to run: the inventory is read as the daemon would read it, and for each cluster
the questions are asked that come before a start. Only PostgreSQL itself can judge its files: `postgres -C` is run for
postgresql.conf, and a server that runs is asked what it thinks of pg_hba.conf and pg_ident.conf as they are now.
"""

from __future__ import annotations

import json
import os
import stat
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from pgsupervisor.cli import surroundings
from pgsupervisor.cli.screen import Screen
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.escaping import escape
from pgsupervisor.inventory import ClusterSpec, Inventory, load
from pgsupervisor.inventory.lookup import installation_of, limits_of
from pgsupervisor.paths import default_inventory_path
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.lint import Lint, lint
from pgsupervisor.postgres.owner import touched_by
from pgsupervisor.system.collapse import danger
from pgsupervisor.system.delegation import hindrance
from pgsupervisor.system.safepath import acting_in


def run(arguments: Namespace, _screen: Screen) -> int:
    """Print what is wrong with each cluster, one problem per line."""
    inventory = load(arguments.config or default_inventory_path(os.geteuid(), os.environ))
    found = {name: _lint(spec) for name, spec in inventory.clusters.items()}
    dangers = {name: _danger(spec) for name, spec in inventory.clusters.items()}
    closed = _closed(inventory)
    remarks = list(surroundings.remarks(inventory))
    limits = {name: _no_limits(spec) for name, spec in inventory.clusters.items()}
    if arguments.json:
        clusters = [
            {
                "name": name,
                "problems": _problems(each),
                "unchecked": each.unasked or None,
                "rotation": dangers[name] or None,
                "limits": limits[name] or None,
            }
            for name, each in found.items()
        ]
        told = [{"cluster": name, "remark": remark} for name, remark in remarks]
        facts = {"inventory": inventory.path, "socket": closed or None, "clusters": clusters, "remarks": told}
        print(json.dumps(facts))
    else:
        for name, each in found.items():
            # What was not looked at is no problem: a server may well let no administrator in like this. Nor is what
            # its file system or this machine cannot do, but to be known.
            for line in filter(None, (*(_problems(each) or ["ok"]), each.unasked, dangers[name], limits[name])):
                print(escape(f"{name}: {line}"))
        if closed:
            print(escape(f"{inventory.path}: {closed}"))
        for about, remark in remarks:
            print(escape(f"{about or inventory.path}: {remark}"))
    return 1 if any(map(_problems, found.values())) else 0


def _lint(spec: ClusterSpec) -> Lint:
    """Return what is wrong with a cluster."""
    try:
        installation = installation_of(spec.installation)
        cluster = Cluster(installation, spec.data_directory, user=spec.user, config_file=spec.config_file)
        if spec.init and not os.path.lexists(spec.data_directory):
            if cluster.run_as is None and os.geteuid() == 0:
                why = f"initdb refuses to run as root; name the `user` that {spec.data_directory} shall belong to"
                return Lint((why,))
            return Lint(())
        with cluster.as_owner():
            return lint(cluster, spec.server_settings)
    except (PgSupervisorError, OSError) as error:
        return Lint((str(error),))


def _danger(spec: ClusterSpec) -> str:
    """Say why its log cannot be rotated without the danger of losing lines; empty if it can, or we may not look."""
    with suppress(OSError):
        if spec.log_path is not None and spec.logfile_maxbytes:
            with acting_in(os.path.dirname(spec.log_path), touched_by(spec.data_directory, spec.user)):
                return danger(spec.log_path)
    return ""


def _closed(inventory: Inventory) -> str:
    """Say why those whom a cluster's `allow` names cannot connect; empty if they can, or there is none."""
    daemon = inventory.daemon
    if not any(spec.allow for spec in inventory.clusters.values()):
        return ""
    if not daemon.socket_mode & stat.S_IWOTH:
        return (
            f"daemon.socket_mode: {daemon.socket_mode:04o} lets in only the daemon's user and the socket's group, and "
            'nobody else whom an `allow` names; "0666" lets in everybody, to do what he may'
        )
    with suppress(OSError):
        above = [each for each in Path(daemon.socket).parents if each.exists()]
        shut = [each for each in above if not each.stat().st_mode & stat.S_IXOTH]
        if shut:
            return f"daemon.socket: {shut[-1]} is closed to others, and so to whomever an `allow` names"
    return ""


def _no_limits(spec: ClusterSpec) -> str:
    """Say what on this machine keeps the limits of a cluster from being in force; empty if nothing does.

    Whether a daemon can use what the machine has, only the daemon can tell: `status` does.
    """
    controllers = limits_of(spec).controllers
    why = hindrance(controllers) if controllers else ""
    return f"limits are off: {why}" if why else ""


def _problems(found: Lint) -> list[str]:
    """Return the problems in words: a server that starts without its pg_ident.conf is not what anybody wants either."""
    return [*found.fatal, *found.others]
