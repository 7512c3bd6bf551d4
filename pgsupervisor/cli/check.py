"""pgsupctl check: everything that can be known to be wrong before anything is touched.

No daemon is asked, and none needs to run: the inventory is read as the daemon would read it, and for each cluster
the questions are asked that come before a start. Only PostgreSQL itself can judge a postgresql.conf, so its
`postgres -C` is run.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from pgsupervisor.cli.screen import Screen, escape
from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory import ClusterSpec, InstallationSpec, load
from pgsupervisor.paths import default_inventory_path
from pgsupervisor.postgres import pidfile, preflight
from pgsupervisor.postgres.discovery import embedded
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.process import User, user


def run(arguments: Namespace, _screen: Screen) -> int:
    """Print what is wrong with each cluster, one problem per line."""
    inventory = load(arguments.config or default_inventory_path(os.geteuid(), os.environ))
    found = {name: _problems(spec) for name, spec in inventory.clusters.items()}
    if arguments.json:
        clusters = [{"name": name, "problems": problems} for name, problems in found.items()]
        print(json.dumps({"inventory": inventory.path, "clusters": clusters}))
    else:
        for name, problems in found.items():
            for problem in problems or ["ok"]:
                print(escape(f"{name}: {problem}"))
    return 1 if any(found.values()) else 0


def _problems(spec: ClusterSpec) -> list[str]:
    """Return what is wrong with a cluster, in words."""
    try:
        installation = _installation(spec.installation)
        if spec.init and not os.path.lexists(spec.data_directory):
            return []
        run_as = _run_as(spec)
        # The port and the socket of a server that runs are its own.
        running = pidfile.postmaster(spec.data_directory)
    except (InstallationError, PermissionError) as error:
        return [str(error)]
    except KeyError:
        return [f"there is no OS user {spec.user}; create it, or name another one as the cluster's `user`"]
    settings: Mapping[str, str] = {**spec.settings, **({} if spec.port is None else {"port": str(spec.port)})}
    found: list[str] = []
    if running is None:
        found = preflight.problems(
            installation, spec.data_directory, run_as=run_as, config_file=spec.config_file, settings=settings
        )
    else:
        running.close()
    if not found:
        refused = preflight.configuration_problem(
            installation, spec.data_directory, run_as=run_as, config_file=spec.config_file, settings=settings
        )
        found = [] if refused is None else [refused]
    return found


def _installation(spec: InstallationSpec) -> Installation:
    """Find the installation that the inventory means.

    Raises InstallationError.
    """
    if spec.pg_config is not None:
        return Installation.from_pg_config(spec.pg_config)
    if spec.bindir is not None:
        return Installation.from_bindir(spec.bindir)
    found = embedded()
    if found is None:
        raise InstallationError(
            "there is no embedded PostgreSQL; install it with `pip install 'pgsupervisor[postgres]'`"
        )
    return found


def _run_as(spec: ClusterSpec) -> User | None:
    """Return whom the server would run as; None is the user who asks.

    Raises KeyError if there is no such user.
    """
    if spec.user is not None:
        return user(spec.user)
    if os.geteuid() != 0 or not os.path.lexists(spec.data_directory):
        return None
    return user(Path(spec.data_directory).stat().st_uid)
