"""Real servers for the tests: every installation found, short directories, a user that PostgreSQL accepts."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import fuzzing
import pytest
from hypothesis import HealthCheck, settings
from machine import INSTALLATIONS, SERVER_USER, STAGED, NewDataDirectory, lent, make_directory, remove_directory

from pgsupervisor.postgres import command
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run

# How long an example takes is no promise, least of all while other tests run.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how much the fuzzers try, and how long the test in `tests/chaos` goes on, and with which seed."""
    fuzz = parser.getgroup("fuzz")
    fuzz.addoption("--fuzz", type=int, default=1, metavar="TIMES", help="so many times as many examples as usual")
    chaos = parser.getgroup("chaos")
    chaos.addoption("--chaos-seconds", type=float, default=60.0, help="how long the chaos lasts (default: 60)")
    chaos.addoption("--chaos-seed", type=int, default=secrets.randbelow(10**6), help="what makes it (default: random)")


def pytest_configure(config: pytest.Config) -> None:
    """Hear what the fuzzers must know before they are imported.

    Take SIGINT and SIGHUP: one that our caller ignores, as a shell or nohup does in the background, is inherited.
    """
    fuzzing.TIMES = config.getoption("--fuzz")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_unconfigure() -> None:
    """Remove the copy of the embedded PostgreSQL, if there was need of one."""
    shutil.rmtree(STAGED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests beside those of other workers, with all that their fixtures do; one that is marked `alone`, alone."""
    with lent(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(scope="session")
def server_user() -> User | None:
    """Whom the servers of the tests run as; None is the user who runs the tests."""
    return SERVER_USER


@pytest.fixture(params=INSTALLATIONS, ids=lambda installation: installation.version.replace(" ", "-"))
def installation(request: pytest.FixtureRequest) -> Installation:
    """Every installation that this machine has, one after the other."""
    found: Installation = request.param
    return found


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A short directory under /tmp that the server's user owns, removed afterwards."""
    path = make_directory()
    yield path
    remove_directory(path)


@pytest.fixture(scope="session")
def new_data_directory() -> Iterator[NewDataDirectory]:
    """Make data directories: initdb takes a second, a copy of what it made takes some milliseconds."""
    templates: dict[str, Path] = {}

    def make(installation: Installation, path: Path) -> Path:
        if installation.bindir not in templates:
            templates[installation.bindir] = make_directory() / "data"
            _initialize(installation, templates[installation.bindir])
        _copy(templates[installation.bindir], path)
        with (path / "postgresql.conf").open("a") as file:
            file.write(f"unix_socket_directories = '{path.parent}'\n")
        return path

    yield make
    for template in templates.values():
        shutil.rmtree(template.parent)


@pytest.fixture
def data_directory(installation: Installation, short_directory: Path, new_data_directory: NewDataDirectory) -> Path:
    """An initialised data directory of the installation."""
    return new_data_directory(installation, short_directory / "data")


def _initialize(installation: Installation, path: Path) -> None:
    """Run initdb, for servers that are small and need not survive a power cut."""
    finished = run(
        [
            installation.require("initdb"),
            "-D",
            str(path),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--wal-segsize=1",
        ],
        environment=command.environment(os.environ, run_as=SERVER_USER),
        run_as=SERVER_USER,
    )
    assert finished.returncode == 0, finished.stderr
    _drop_templates(installation, path)
    with (path / "postgresql.conf").open("a") as file:
        file.write("listen_addresses = ''\nfsync = off\nshared_buffers = '16MB'\nmax_connections = '20'\n")


def _drop_templates(installation: Installation, path: Path) -> None:
    """Drop the databases that new ones are made of: two thirds of all files, and no server that we keep needs them.

    It is the number of files that counts: ext4 without a journal takes the longer to make one, the more went lately.
    """
    with tempfile.TemporaryFile("w+") as statements:
        statements.write("update pg_database set datistemplate = false;\n")
        statements.write("drop database template0;\ndrop database template1;\n")
        statements.seek(0)
        finished = run(
            [installation.require("postgres"), "--single", "-D", str(path), "postgres"],
            environment=command.environment(os.environ, run_as=SERVER_USER),
            run_as=SERVER_USER,
            stdin=statements.fileno(),
        )
    assert len(list((path / "base").iterdir())) == 1, finished.stderr


def _copy(source: Path, target: Path) -> None:
    """Copy a data directory with its owner and modes."""
    finished = run(["cp", "-a", "--reflink=auto", str(source), str(target)], environment=os.environ)
    assert finished.returncode == 0, finished.stderr
