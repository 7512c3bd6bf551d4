"""The service without root: as `postgres`, by a drop-in, and as a service of a user's own systemd."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from booted import Systemd
from daemons import ROOT, Site
from hosted import Service, beside, control_data, programs_for_anybody
from machine import SERVER_USER, NewDataDirectory

from pgsupervisor.paths import UNIT

RUNNING = {"shop": "RUNNING", "blog": "RUNNING"}

SHUT_DOWN = {"shop": "shut down", "blog": "shut down"}

MANAGER = """
[Service]
Type=notify
User={uid}
Environment=HOME={home} XDG_RUNTIME_DIR=/run/user/{uid}
RuntimeDirectory=user/{uid}
ExecStart=/lib/systemd/systemd --user
KillMode=mixed
Delegate=yes
"""
"""What user@.service comes to where nobody logs in."""


@pytest.fixture
def machine(new_data_directory: NewDataDirectory) -> Iterator[tuple[Systemd, Site]]:
    """A systemd, and a site with two clusters."""
    with beside(new_data_directory) as (systemd, site):
        for name in ("shop", "blog"):
            site.add(name)
        yield systemd, site


def test_as_postgres(machine: tuple[Systemd, Site]) -> None:
    """With the drop-in, daemon and servers are one user's who is not root, and all goes as it does for root."""
    systemd, site = machine
    service = Service(systemd, site, programs_for_anybody(systemd))
    assert SERVER_USER is not None
    text = (ROOT / "systemd/pgsupervisor-as-postgres.conf").read_text()
    service.drop_in(text.replace("=postgres\n", f"={SERVER_USER.uid}\n"))
    service.start()
    before = service.pids()
    for pid in (*service.show("MainPID"), *map(str, before.values())):
        assert systemd.run("ps", "-o", "uid=", "-p", pid).split() == [str(SERVER_USER.uid)]
    service.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)
    service.wait_for_start(2)
    assert (service.pids(), site.states()) == (before, RUNNING)
    service.systemctl("reload", UNIT)
    service.systemctl("stop", UNIT)
    assert (control_data(site), service.show("Result")) == (SHUT_DOWN, ("success",))


def test_a_systemd_of_ones_own(machine: tuple[Systemd, Site]) -> None:
    """`daemon install --user` makes a service of a user's own, whose servers are shut down with this user's systemd."""
    systemd, site = machine
    assert SERVER_USER is not None
    uid, home = SERVER_USER.uid, "/var/lib/somebody"
    programs = programs_for_anybody(systemd)
    (systemd.root / home[1:]).mkdir()
    os.chown(systemd.root / home[1:], uid, SERVER_USER.gid)
    site.inventory = systemd.root / f"{home[1:]}/.config/pgsupervisor/inventory.toml"
    site.socket = str(systemd.root / f"run/user/{uid}/pgsupervisor/control")
    site.daemon_keys = {"on_exit": "leave"}
    (systemd.root / "etc/systemd/system/manager.service").write_text(MANAGER.format(uid=uid, home=home))
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "start", "manager")

    def by_user(*command: str) -> str:
        itself = ("setpriv", f"--reuid={uid}", f"--regid={SERVER_USER.gid}", "--clear-groups")
        return systemd.run(*itself, "env", f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{uid}", *command)

    by_user(str(programs / "pgsupctl"), "daemon", "install", "--user")
    site.write()
    by_user("systemctl", "--user", "daemon-reload")
    by_user("systemctl", "--user", "enable", "--now", UNIT)
    before = {name: site.pid(name) for name in site.clusters}
    by_user("systemctl", "--user", "restart", UNIT)
    assert ({name: site.pid(name) for name in site.clusters}, site.states()) == (before, RUNNING)
    systemd.run("systemctl", "stop", "manager")
    assert control_data(site) == SHUT_DOWN
