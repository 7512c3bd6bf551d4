"""The installations that the inventory names, looked up once, and again when their server program was replaced."""

from __future__ import annotations

import os
from typing import TypeAlias

from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.lookup import installation_of
from pgsupervisor.inventory.spec import InstallationSpec
from pgsupervisor.postgres.installation import Installation

_Program: TypeAlias = tuple[int, int, int]
"""Device, inode and time of last change of a program's file: another one after a package upgrade."""


class Installations:
    """Remembers what a look-up, which runs programs, has found.

    May be used from several threads: the worst that two at once can do is to look twice.
    """

    def __init__(self) -> None:
        self._found: dict[InstallationSpec, tuple[_Program, Installation]] = {}

    def of(self, spec: InstallationSpec) -> Installation:
        """Return the installation that a spec means.

        Raises InstallationError if there is none, or no server program in it.
        """
        known = self._found.get(spec)
        if known is not None and known[0] == _program(known[1]):
            return known[1]
        installation = installation_of(spec)
        self._found[spec] = (_program(installation), installation)
        return installation


def _program(installation: Installation) -> _Program:
    try:
        facts = os.stat(installation.require("postgres"))
    except OSError as error:
        raise InstallationError(f"{installation.bindir}: {error.strerror}") from error
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns
