"""Passwords: not in an argument list, not in an environment where they do not belong, not in a log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import ROOT, Site
from machine import SERVER_USER
from overheard import Overheard

from pgsupervisor.postgres import Installation

SECRET = "tiger-9241"  # noqa: S105  # what is looked for

LIBPQ = ("PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE", "PGUSER", "PGSSLKEY", "PGOPTIONS", "PGREQUIREAUTH")
"""What libpq would take from the environment; where a daemon finds it, it is for somebody else."""


@pytest.fixture
def overheard(short_directory: Path) -> Overheard:
    """What is given to programs."""
    return Overheard(short_directory / "overheard")


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries if entry)


def test_what_the_daemon_passes_on(site: Site, installation: Installation, overheard: Overheard) -> None:
    """Of libpq's variables none reaches a program of PostgreSQL; what the inventory gives, reaches its server alone."""
    reachable = {"unix_socket_directories": str(site.directory)}
    own = {"PGPASSWORD": f"own-{SECRET}"}
    site.declare("made", site.directory / "made", installation, init=True, environment=own, settings=reachable)
    site.declare("other", site.directory / "other", installation, init=True, settings=reachable)
    daemon = site.run({**dict.fromkeys(LIBPQ, SECRET), **overheard.environment})
    everything(site, "made")
    assert {"initdb", "postgres", "psql"} <= overheard.names
    for arguments, environment in overheard.programs:
        server = arguments[1:3] == ["-D", str(site.directory / "made")] and "-C" not in arguments
        assert SECRET not in str(arguments)
        assert SECRET not in str({key: value for key, value in environment.items() if key != "PGPASSWORD"})
        ours = server and os.path.basename(arguments[0]) == "postgres"
        assert environment.get("PGPASSWORD") == (f"own-{SECRET}" if ours else None)
    kept = [environment_of(site.pid(name)).get("PGPASSWORD") for name in ("made", "other")]
    assert kept == [f"own-{SECRET}", None]
    assert SECRET not in told(site) + "".join(daemon.lines)
    assert [SECRET in site.logfile(name).read_text(encoding="utf-8") for name in site.clusters] == [False, False]


def test_a_password_in_the_files(site: Site, installation: Installation, overheard: Overheard) -> None:
    """A password that a file holds is in no argument list, and in no log, event or status of ours, though it changes.

    The server tells what has changed in a log of its own.
    """
    data = site.add("made", installation)
    for number in range(2):
        with Path(data, "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.write(f"primary_conninfo = 'host=a password={SECRET}{number}'\n")
            file.write(f"archive_command = 'PGPASSWORD={SECRET}{number} false'\n")
            file.write(f"vault.token = '{SECRET}{number}'\n")
        if number == 0:
            daemon = site.run(overheard.environment)
        else:
            daemon.wait_for_log(event="reloaded")
    everything(site, "made")
    assert "(not shown)" in told(site)
    assert SECRET not in told(site) + "".join(daemon.lines) + str(overheard.programs)


def test_a_password_for_the_command_line(site: Site) -> None:
    """An inventory that would put a password on a command line is refused, and nobody is told it."""
    site.add("made", settings={"primary_conninfo": f"host=a password={SECRET}"})
    status, said = site.launch().wait()
    assert (status, "clusters.made.settings.primary_conninfo: may hold a password" in said) == (1, True)
    assert SECRET not in said


def everything(site: Site, name: str) -> None:
    """Have the daemon do all for which it runs programs, and pgsupctl what it does without one."""
    for command in ("reload", "restart"):
        assert site.pgsupctl(command, name).returncode == 0
    assert site.pgsupctl("config", name, "set", "work_mem=9MB").returncode == 0
    assert site.pgsupctl("config", name, "check").returncode == 0
    assert SECRET not in site.pgsupctl("check", "-c", str(site.inventory)).stdout


def told(site: Site) -> str:
    """Return all that the daemon tells to one who may see all, but for the settings themselves."""
    return json.dumps(site.call("Monitor", names=[], past=1000))


_INIT = """
import sys
from pgsupervisor.postgres import Cluster, Installation
installation, path, user = sys.argv[1:]
password = sys.stdin.read()
with open(path + ".log", "w") as log:
    Cluster(Installation.from_bindir(installation), path, user=user or None).init(password=password, logfile=log)
"""


def test_the_password_of_a_superuser(installation: Installation, short_directory: Path, overheard: Overheard) -> None:
    """What initdb is given has no password in it, and no file has it afterwards, nor what initdb said."""
    user = "" if SERVER_USER is None else SERVER_USER.name
    arguments = [sys.executable, "-c", _INIT, installation.bindir, str(short_directory / "data"), user]
    finished = subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PGPASSWORD": SECRET, **overheard.environment},
        input=SECRET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "initdb" in overheard.names
    assert SECRET not in str(overheard.programs) + finished.stdout + finished.stderr
    found = subprocess.run(["grep", "-rlF", SECRET, str(short_directory)], capture_output=True, check=False)  # noqa: S607
    assert (found.returncode, found.stdout) == (1, b"")
