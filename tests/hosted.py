"""pgsupervisor as a service of a systemd of the test's own, where `pgsupctl daemon install` has installed it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from booted import Systemd, booted
from daemons import ROOT, Site, new_site
from machine import SERVER_USER, NewDataDirectory

from pgsupervisor.paths import UNIT
from pgsupervisor.postgres import Cluster
from pgsupervisor.system.permission import may

PROGRAMS = Path(sys.executable).parent
"""The programs of the virtual environment that the tests run in."""

_PYTHON_OF_SYSTEM = "/usr/bin/python3"

_PROGRAM = """\
#!{python}
import sys
sys.path[:0] = {path}
from pgsupervisor.{module} import main
sys.exit(main())
"""


class Service:
    """The service, the systemd that has it, and the site with its clusters; nothing is started yet.

    `programs` is where pgsupervisor's programs are.
    """

    def __init__(self, systemd: Systemd, site: Site, programs: Path = PROGRAMS) -> None:
        self.systemd = systemd
        self.site = site
        self.programs = programs
        site.inventory = systemd.root / "etc/pgsupervisor/inventory.toml"
        site.socket = str(systemd.root / "run/pgsupervisor/control")
        site.daemon_keys = {}
        self.pgsupctl("daemon", "install")
        self.systemctl("daemon-reload")

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl, and see that it succeeds."""
        return self.systemd.run("systemctl", *arguments)

    def pgsupctl(self, *arguments: str) -> str:
        """Run pgsupctl as an administrator would, and see that it succeeds."""
        return self.systemd.run(str(self.programs / "pgsupctl"), *arguments)

    def start(self) -> None:
        """Write the inventory, have systemd start the service, and wait until all of its clusters run."""
        self.site.write()
        self.systemctl("start", UNIT)
        self.wait_until_all_run()

    def wait_until_all_run(self) -> None:
        """Wait until every cluster runs."""
        for name in self.site.clusters:
            self.site.wait_for_state(name, "RUNNING")

    def drop_in(self, text: str) -> None:
        """Have the service otherwise, by a drop-in as an administrator would write it."""
        directory = self.systemd.root / f"etc/systemd/system/{UNIT}.d"
        directory.mkdir(exist_ok=True)
        (directory / f"{len(list(directory.iterdir()))}.conf").write_text(text)
        self.systemctl("daemon-reload")

    def show(self, *properties: str) -> tuple[str, ...]:
        """Return properties of the service, in this order."""
        return self.systemd.show(UNIT, *properties)

    def wait_for_start(self, number: int) -> None:
        """Wait until systemd has started the service for the so-and-so-many-th time."""
        self.systemd.journal.wait_for("Started ", f"UNIT={UNIT}", "JOB_TYPE=start", count=number)

    def pids(self) -> dict[str, int]:
        """Return the pids of the postmasters, by the word of the daemon."""
        return {name: self.site.pid(name) for name in self.site.clusters}

    @contextlib.contextmanager
    def client(self, name: str) -> Iterator[None]:
        """Have a client connected to a server, that stays until the server throws it out."""
        start = (*self.systemd.through, *self._psql(name))
        with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write("select 'connected';\n")
                process.stdin.flush()
                assert process.stdout.readline() == "connected\n"
                yield
            finally:
                process.kill()

    def leave_client(self, name: str) -> None:
        """Have a client connected to a server that nobody but the server, or the end of systemd, ends."""
        stays = 'setsid -f "$@" -c "select 1" -c "select pg_sleep(1000)" 2> /dev/null | head -n 1'
        assert self.systemd.run("sh", "-c", stays, "sh", *self._psql(name)) == "1\n"

    def _psql(self, name: str) -> tuple[str, ...]:
        psql = self.site.cluster(name).installation.require("psql")
        where = ("-h", str(self.site.directory), "-p", str(self.site.clusters[name]["port"]), "-U", "postgres")
        return (psql, "-X", "-A", "-t", *where, "postgres")


@contextlib.contextmanager
def hosted(new_data_directory: NewDataDirectory) -> Iterator[Service]:
    """Have the service, and nothing of it afterwards."""
    with beside(new_data_directory) as (systemd, site):
        yield Service(systemd, site)


@contextlib.contextmanager
def beside(new_data_directory: NewDataDirectory) -> Iterator[tuple[Systemd, Site]]:
    """Have a systemd, and a site whose clusters it can run, and nothing of them afterwards."""
    with new_site(new_data_directory) as site:
        try:
            with booted(site.directory) as systemd:
                yield systemd, site
        finally:
            # The shared memory that they name went with its namespace; here, the same number is another's.
            for file in site.directory.glob("*/postmaster.pid"):
                file.unlink()


def programs_for_anybody(systemd: Systemd) -> Path:
    """Make programs that the servers' user may execute, too, and return their directory, as seen beside this systemd.

    Our Python may be in somebody's home; then a program of the system's must do, if it is the same Python.
    """
    path = [str(ROOT), sysconfig.get_path("purelib")]
    python = sys.executable if may(SERVER_USER, sys.executable, os.X_OK) else _PYTHON_OF_SYSTEM
    asked = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    if version != [str(number) for number in sys.version_info[:2]] or not may(SERVER_USER, path[1], os.R_OK):
        pytest.skip("the user of the servers can execute no Python with which pgsupervisor runs")
    directory = systemd.root / "var/bin"
    directory.mkdir()
    for name, module in (("pgsupervisord", "daemon.main"), ("pgsupctl", "cli.main")):
        (directory / name).write_text(_PROGRAM.format(python=python, path=path, module=module))
        (directory / name).chmod(0o755)
    return Path("/var/bin")


def control_data(site: Site) -> dict[str, str]:
    """Return what pg_controldata says of each cluster's state."""
    return {name: _state_in_control_data(site.cluster(name)) for name in site.clusters}


def _state_in_control_data(cluster: Cluster) -> str:
    asked = [cluster.installation.require("pg_controldata"), cluster.data_directory]
    said = subprocess.run(asked, env={"LC_ALL": "C"}, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in said.splitlines() if line.startswith("Database cluster state:"))
    return line.partition(":")[2].strip()
