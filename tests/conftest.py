"""Real servers for the tests: every installation found, short directories, a user that PostgreSQL accepts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.daemon import staging
from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.discovery import discover
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.process import User, run

SERVER_USER = staging.server_user()

_STAGED = tempfile.mkdtemp(prefix="pgs-", dir="/tmp")
"""Where a copy of the embedded PostgreSQL goes if the server's user cannot enter the checkout that has it."""


def _installations() -> list[Installation]:
    """Find every installation that the server's user can run; what lies in somebody's home he may not enter."""
    os.chmod(_STAGED, 0o755)
    found = []
    for installation in discover():
        with contextlib.suppress(InstallationError):
            found.append(staging.within_reach(installation, SERVER_USER, _STAGED))
    return found


INSTALLATIONS = _installations()


def pytest_unconfigure() -> None:
    """Remove the copy."""
    shutil.rmtree(_STAGED)


@pytest.fixture(scope="session")
def server_user() -> User | None:
    """Whom the servers of the tests run as; None is the user who runs the tests."""
    return SERVER_USER


@pytest.fixture(params=INSTALLATIONS, ids=lambda installation: installation.version.replace(" ", "-"))
def installation(request: pytest.FixtureRequest) -> Installation:
    """Every installation that this machine has, one after the other."""
    found: Installation = request.param
    return found


def make_directory() -> Path:
    """Make a short directory under /tmp that the server's user owns (a Unix socket's path ends at 107 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="pgs-", dir="/tmp"))
    if SERVER_USER is not None:
        os.chown(path, SERVER_USER.uid, SERVER_USER.gid)
    return path


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A short directory under /tmp that the server's user owns, removed afterwards."""
    path = make_directory()
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def _templates() -> Iterator[dict[str, Path]]:
    """Hold one freshly initialised data directory per installation: initdb takes a second, a copy some milliseconds."""
    made: dict[str, Path] = {}
    yield made
    for path in made.values():
        shutil.rmtree(path.parent)


@pytest.fixture
def data_directory(installation: Installation, short_directory: Path, _templates: dict[str, Path]) -> Path:
    """An initialised data directory of the installation; its server listens on a Unix socket beside it alone."""
    template = _templates.get(installation.bindir)
    if template is None:
        template = _templates[installation.bindir] = make_directory() / "data"
        finished = run(
            [
                installation.require("initdb"),
                "-D",
                str(template),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
            ],
            environment=command.environment(os.environ, run_as=SERVER_USER),
            run_as=SERVER_USER,
        )
        assert finished.returncode == 0, finished.stderr
        with (template / "postgresql.conf").open("a") as file:
            file.write("listen_addresses = ''\nfsync = off\nshared_buffers = '16MB'\nmax_connections = '20'\n")
    path = short_directory / "data"
    _copy(template, path)
    with (path / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{short_directory}'\n")
    return path


def _copy(source: Path, target: Path) -> None:
    """Copy a data directory with its owner and modes."""
    finished = run(["cp", "-a", "--reflink=auto", str(source), str(target)], environment=os.environ)
    assert finished.returncode == 0, finished.stderr
