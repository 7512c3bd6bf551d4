"""The service as systemd starts, stops and restarts it, and what becomes of the servers meanwhile."""

from __future__ import annotations

import json
import re

import pytest
from hosted import Service, control_data

from pgsupervisor.paths import UNIT

SHUT_DOWN = {"shop": "shut down", "blog": "shut down"}

RUNNING = {"shop": "RUNNING", "blog": "RUNNING"}


def test_start(service: Service) -> None:
    """`systemctl start` comes back when every server has had its try, and systemd knows how they are."""
    service.site.write()
    service.systemctl("start", UNIT)
    assert service.site.states() == RUNNING
    pid = str(service.site.call("GetDaemon")["pid"])
    assert service.show("ActiveState", "MainPID", "NRestarts", "StatusText") == ("active", pid, "0", "2 running")


def test_stop(service: Service) -> None:
    """`systemctl stop` comes back when every server has shut down."""
    service.start()
    service.systemctl("stop", UNIT)
    assert control_data(service.site) == SHUT_DOWN
    assert service.show("ActiveState", "Result") == ("inactive", "success")


def test_reload(service: Service) -> None:
    """`systemctl reload` has the inventory read again, and comes back when what is new in it runs."""
    service.start()
    before, daemon = service.pids(), service.show("MainPID")
    service.site.add("web")
    service.site.write()
    service.systemctl("reload", UNIT)
    assert service.site.states() == {**RUNNING, "web": "RUNNING"}
    assert (service.pids(), service.show("MainPID")) == ({**before, "web": service.site.pid("web")}, daemon)


def test_reload_of_a_broken_inventory(service: Service) -> None:
    """`systemctl reload` fails where the inventory has a mistake, the journal says which, and all goes on as it was."""
    service.start()
    before = service.pids(), service.show("MainPID", "ActiveState")
    with service.site.inventory.open("a") as file:
        file.write("prot = 5433\n")
    assert service.systemd.try_to("systemctl", "reload", UNIT).returncode == 1
    service.systemd.journal.wait_for("clusters.blog.prot: ", f"_SYSTEMD_UNIT={UNIT}", "_COMM=pgsupctl")
    assert (service.pids(), service.show("MainPID", "ActiveState")) == before
    assert service.site.states() == RUNNING


def test_restart_with_servers_left(service: Service) -> None:
    """With `on_exit = "leave"`, `systemctl restart` exchanges the daemon, and no server."""
    service.site.daemon_keys = {"on_exit": "leave"}
    service.start()
    before, daemon = service.pids(), service.show("MainPID")
    service.systemctl("restart", UNIT)
    service.wait_until_all_run()
    assert (service.pids(), service.site.states()) == (before, RUNNING)
    assert service.show("MainPID") != daemon


def test_the_daemon_is_killed(service: Service) -> None:
    """A daemon that was killed is started again, and adopts the servers, which did not notice."""
    service.start()
    before = service.pids()
    service.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)
    service.wait_for_start(2)
    service.wait_until_all_run()
    assert (service.pids(), service.show("NRestarts")) == (before, ("1",))


def test_the_daemon_hangs(service: Service) -> None:
    """A daemon that hangs is ended by the watchdog and started again; the servers did not notice."""
    service.drop_in("[Service]\nWatchdogSec=5s\n")
    service.start()
    before = service.pids()
    service.systemctl("kill", "--kill-whom=main", "--signal=STOP", UNIT)
    service.systemd.journal.wait_for("Watchdog timeout", f"UNIT={UNIT}")
    service.wait_for_start(2)
    service.wait_until_all_run()
    assert (service.pids(), service.show("NRestarts")) == (before, ("1",))


def test_upgrade(service: Service) -> None:
    """For systemd, `daemon upgrade` is nothing: the process is the same, and goes on to tell how the clusters are."""
    service.start()
    before = service.pids(), service.show("MainPID", "NRestarts", "InvocationID")
    service.pgsupctl("daemon", "upgrade")
    assert (service.pids(), service.show("MainPID", "NRestarts", "InvocationID")) == before
    service.pgsupctl("stop", "blog")
    service.systemctl("reload", UNIT)
    assert service.show("ActiveState", "StatusText") == ("active", "1 running, 1 stopped")


def test_journal(service: Service) -> None:
    """What happened to a cluster is found by its name, and so is what its server wrote, if that is in the journal."""
    service.site.clusters["shop"]["logfile"] = "journal"
    service.start()
    journal = service.systemd.journal
    entry = journal.wait_for("", "PGSUPERVISOR_CLUSTER=shop", "PGSUPERVISOR_NOW=RUNNING")
    assert (entry["_SYSTEMD_UNIT"], entry["PGSUPERVISOR_CLUSTER"]) == (UNIT, "shop")
    written = journal.wait_for("database system is ready", "SYSLOG_IDENTIFIER=pgsupervisor/shop")
    assert written["_SYSTEMD_UNIT"] == UNIT
    said = service.systemd.run("journalctl", "--output=json", "PGSUPERVISOR_CLUSTER=shop").splitlines()
    assert {json.loads(line)["PGSUPERVISOR_CLUSTER"] for line in said} == {"shop"}


def test_servers_take_their_time(service: Service) -> None:
    """A reload, and a stop, that take longer than systemd allows are waited for, as the daemon asks for more time."""
    shop = service.site.clusters["shop"]
    shop.update(stop_mode="smart", stop_timeout="6s")
    service.start()
    service.drop_in("[Service]\nTimeoutStartSec=5s\nTimeoutStopSec=3s\n")
    with service.client("shop"):
        shop["settings"] = {"work_mem": "5MB"}
        service.site.write()
        service.systemctl("reload", UNIT)
    with service.client("shop"):
        service.systemctl("stop", UNIT)
    assert (control_data(service.site), service.show("Result")) == (SHUT_DOWN, ("success",))


@pytest.mark.parametrize("on_exit", ["stop", "leave"])
def test_the_machine_goes_down(service: Service, on_exit: str) -> None:
    """Servers are shut down with the machine, by the daemon, also those that it would leave running.

    Without it, systemd would send them SIGTERM at last, with the disks of others gone already (systemd-shutdown(8)).
    """
    service.site.daemon_keys = {"on_exit": on_exit}
    service.start()
    service.systemd.power_off()
    assert control_data(service.site) == SHUT_DOWN
    assert {name: requests(service, name) for name in service.site.clusters} == {"shop": ["fast"], "blog": ["fast"]}


def requests(service: Service, name: str) -> list[str]:
    """Return what kinds of shutdown a server was asked for; systemd itself would ask for a smart one."""
    log = (service.systemd.root / f"var/log/pgsupervisor/{name}.log").read_text()
    return re.findall(r"received (\w+) shutdown request", log)


def test_the_machine_goes_down_while_servers_take_their_time(service: Service) -> None:
    """Servers that would be left running are shut down cleanly also where that takes longer than systemd allows.

    And in the midst of a reload, when systemd stops a service by a signal alone (service_stop in its service.c).
    """
    service.site.daemon_keys = {"on_exit": "leave"}
    shop = service.site.clusters["shop"]
    shop.update(stop_mode="smart", stop_timeout="8s")
    service.start()
    service.drop_in("[Service]\nTimeoutStopSec=2s\n")
    service.leave_client("shop")
    shop["settings"] = {"work_mem": "5MB"}
    service.site.write()
    service.systemctl("reload", "--no-block", UNIT)
    service.site.wait_for_state("shop", "STOPPING")
    service.systemd.power_off()
    assert control_data(service.site) == SHUT_DOWN
    assert requests(service, "blog") == ["fast"]
