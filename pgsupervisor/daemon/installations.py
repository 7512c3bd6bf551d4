"""The installations that the inventory names, looked up once, and again when their server program was replaced."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future
from typing import TypeAlias

from pgsupervisor.errors import InstallationError
from pgsupervisor.inventory.lookup import installation_of
from pgsupervisor.inventory.spec import InstallationSpec
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.identity import User, acting, as_ourselves

_Program: TypeAlias = tuple[int, int, int, int]
"""Device, inode, mode and time of last change of a program's file: another one after a package upgrade."""


class Installations:
    """Remembers what a look-up, which runs programs, has found.

    To be used in threads. Of those that ask for the same at once, as the same user, one looks, and all others wait.
    """

    def __init__(self) -> None:
        self._found: dict[InstallationSpec, tuple[str, _Program, Installation]] = {}
        self._sought: dict[tuple[InstallationSpec, User | None], Future[Installation]] = {}

    def of(self, spec: InstallationSpec) -> Installation:
        """Return the installation that a spec means.

        Raises InstallationError if there is none, or no server program in it.
        """
        known = self._found.get(spec)
        if known is not None:
            path, program, installation = known
            if program == _program(path):
                return installation
        answer: Future[Installation] = Future()
        asked = (spec, acting())
        sought = self._sought.setdefault(asked, answer)
        if sought is answer:
            try:
                answer.set_result(self._look_up(spec))
            except BaseException as error:
                answer.set_exception(error)
                raise
            finally:
                del self._sought[asked]
        return sought.result()

    def _look_up(self, spec: InstallationSpec) -> Installation:
        installation = installation_of(spec)
        path = installation.require("postgres")
        program = _program(path)
        if program is None:
            raise InstallationError(f"{path} has just been removed; is a package being upgraded?")
        self._found[spec] = (path, program, installation)
        return installation


def _program(path: str) -> _Program | None:
    """Return what tells a program from the next that has its path; None if there is none."""
    with contextlib.suppress(OSError):
        return _told_by(os.stat(path))
    with contextlib.suppress(OSError), as_ourselves():  # its directories may be closed to a cluster's user
        return _told_by(os.stat(path))
    return None


def _told_by(facts: os.stat_result) -> _Program:
    return facts.st_dev, facts.st_ino, facts.st_mode, facts.st_mtime_ns
