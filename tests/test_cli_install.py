"""`pgsupctl daemon install`: what it refuses. What it does is tried in `tests/systemd`."""

from __future__ import annotations

import os

import pytest
from pgsupctl import Finished, pgsupctl

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
