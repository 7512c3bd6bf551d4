"""What is measured: data directories that every contestant has in turn, just as PostgreSQL's own initdb makes them.

Their servers listen on a Unix socket alone, so that nothing else on the machine can have their ports.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import INSTALLATIONS, SERVER_USER, make_directory, remove_directory

from pgsupervisor.postgres import Installation, command
from pgsupervisor.system.process import run

FIRST_PORT = 6001


@dataclass(frozen=True, slots=True)
class Server:
    """A data directory, and where its server answers."""

    name: str
    data_directory: Path
    port: int

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return f"{self.data_directory.parent}/.s.PGSQL.{self.port}"

    @property
    def pid(self) -> int:
        """Its postmaster's pid, as it says itself."""
        return int((self.data_directory / "postmaster.pid").read_text().partition("\n")[0])


@dataclass(frozen=True, slots=True)
class Ground:
    """Servers of one installation in a directory that belongs to whom they run as; `door` is the daemons' own."""

    directory: Path
    door: Path
    installation: Installation
    servers: tuple[Server, ...]

    @property
    def postgres(self) -> str:
        """The path of the server's program."""
        return self.installation.require("postgres")

    def few(self, count: int) -> Ground:
        """Return the same ground with no more than so many servers."""
        return Ground(self.directory, self.door, self.installation, self.servers[:count])


def server_environment() -> dict[str, str]:
    """Return the environment that a server is started in."""
    return command.environment(os.environ, run_as=SERVER_USER)


@contextlib.contextmanager
def new_ground(count: int) -> Iterator[Ground]:
    """Have so many data directories of the first installation of this machine, and nothing of them afterwards."""
    installation = INSTALLATIONS[0]
    directory, door = make_directory(), make_directory()
    os.chown(door, os.geteuid(), os.getegid())
    door.chmod(0o755)
    try:
        template = directory / "template"
        _initialize(installation, template)
        names = [f"c{number:03}" for number in range(1, count + 1)]
        servers = [Server(name, directory / name, FIRST_PORT + at) for at, name in enumerate(names)]
        for server in servers:
            _copy(template, server)
        shutil.rmtree(template)
        os.sync()
        yield Ground(directory, door, installation, tuple(servers))
    finally:
        remove_directory(directory)
        shutil.rmtree(door)


def _initialize(installation: Installation, path: Path) -> None:
    arguments = [installation.require("initdb"), "-D", str(path), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    finished = run(arguments, environment=server_environment(), run_as=SERVER_USER)
    if finished.returncode:
        raise SystemExit(f"initdb: {finished.stderr}")


def _copy(template: Path, server: Server) -> None:
    subprocess.run(["/bin/cp", "-a", "--reflink=auto", str(template), str(server.data_directory)], check=True)
    listen(server)


def listen(server: Server) -> None:
    """Have a server listen where it is to be found, by its configuration file."""
    with (server.data_directory / "postgresql.conf").open("a") as file:
        file.write(f"listen_addresses = ''\nunix_socket_directories = '{server.data_directory.parent}'\n")
        file.write(f"port = {server.port}\n")
