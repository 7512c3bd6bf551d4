"""`pgsupctl daemon install`: what it refuses. What it does is tried in `tests/systemd`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import ROOT
from pgsupctl import COMMAND, Finished, pgsupctl

as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root has the service of the system")


@pytest.mark.parametrize("arguments", [("info", "--user"), ("stop", "--dry-run"), ("install", "--leave")])
def test_options_that_are_for_another_action(arguments: tuple[str, ...]) -> None:
    """An option that means nothing is wrong usage."""
    assert pgsupctl("daemon", *arguments).status == 2


@as_user
def test_only_root_installs_for_all() -> None:
    """An ordinary user is told what he can do instead."""
    finished = pgsupctl("daemon", "install")
    assert (finished.status, finished.output) == (1, "")
    assert finished.errors.endswith("be root, or have a service of your own with --user\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as root")
def test_root_has_no_service_of_its_own() -> None:
    """A daemon of root's has its places in the system, so it is the system's service."""
    refused = "pgsupctl: root's daemon is a service of the system: leave out --user\n"
    assert pgsupctl("daemon", "install", "--user") == Finished(1, "", refused)


@pytest.mark.parametrize("name", ["my env", "100%", "$HOME", "it's"])
def test_a_path_that_a_unit_cannot_name(tmp_path: Path, name: str) -> None:
    """A virtual environment is refused whose path systemd would read as something else."""
    programs = tmp_path / name / "bin"
    programs.mkdir(parents=True)
    for program in ("pgsupervisord", "pgsupctl"):
        (programs / program).symlink_to("/bin/true")
    (programs / "python").symlink_to(os.path.realpath(sys.executable))
    kind = ["--user"] if os.geteuid() else []
    asked = [programs / "python", *COMMAND[1:], "daemon", "install", "--dry-run", *kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"pgsupctl: a unit cannot name programs in {programs}: systemd would misread it; ")
