"""pgsupctl check: everything that can be known to be wrong before anything is touched.

No daemon is asked, and none needs to run: the inventory is read as the daemon would read it, and for each cluster
the questions are asked that come before a start. Only PostgreSQL itself can judge a postgresql.conf, so its
`postgres -C` is run.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace

from pgsupervisor.cli.screen import Screen, escape
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.inventory import ClusterSpec, load
from pgsupervisor.inventory.lookup import installation_of
from pgsupervisor.paths import default_inventory_path
from pgsupervisor.postgres import preflight
from pgsupervisor.postgres.cluster import Cluster


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
        installation = installation_of(spec.installation)
        run_as = Cluster(installation, spec.data_directory, user=spec.user).run_as
        if spec.init and not os.path.lexists(spec.data_directory):
            if run_as is None and os.geteuid() == 0:
                return [f"initdb refuses to run as root; name the `user` that {spec.data_directory} shall belong to"]
            return []
        return preflight.reasons(
            installation,
            spec.data_directory,
            run_as=run_as,
            config_file=spec.config_file,
            settings=spec.server_settings,
        )
    except (PgSupervisorError, OSError) as error:
        return [str(error)]
