"""The control groups of the service, as systemd shows them."""

from __future__ import annotations

from hosted import Service

from pgsupervisor.paths import UNIT

NAMED = {"shop": "clusters/shop", "blog": "clusters/blog"}

LIMITS = {"memory.max": str(300 * 1024 * 1024), "pids.max": "77"}


def groups(service: Service) -> dict[str, str]:
    """Return the control groups of the postmasters, below that of the service."""
    return {name: _group_of(service, pid) for name, pid in service.pids().items()}


def _group_of(service: Service, pid: int) -> str:
    own = service.systemd.run("cat", f"/proc/{pid}/cgroup").splitlines()[-1]
    return own.rpartition(f"/{UNIT}/")[2]


def test_clusters_by_name(service: Service) -> None:
    """Each cluster has a control group of its name, in which the next daemon finds it; systemd shows it so."""
    service.start()
    before = service.pids()
    assert groups(service) == NAMED
    shown = service.systemd.run("systemd-cgls", "--no-pager", "--full", "--unit", UNIT)
    assert all(f"{name} (#" in shown for name in NAMED)
    service.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)
    service.wait_for_start(2)
    service.wait_until_all_run()
    assert (service.pids(), groups(service)) == (before, NAMED)
    service.systemctl("stop", UNIT)
    assert list(service.systemd.cgroup.glob(f"system.slice/{UNIT}*")) == []


def in_force(service: Service) -> dict[str, str]:
    """Return the limits of a cluster's control group, as far as there are controllers."""
    group = service.systemd.cgroup / "system.slice" / UNIT / NAMED["shop"]
    return {name: (group / name).read_text().strip() for name in LIMITS if (group / name).exists()}


def test_limits(service: Service) -> None:
    """Limits are in force where the controllers are, with the next daemon, too; else `status` says they are off."""
    service.site.clusters["shop"].update(memory_max="300MB", tasks_max=77)
    service.start()
    for starts in (2, 3):
        there = in_force(service)
        assert there == {name: LIMITS[name] for name in there}
        off = service.site.status("shop")["limits"]
        assert (off is None) if there == LIMITS else str(off).startswith("limits are off: ")
        service.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)
        service.wait_for_start(starts)
        service.wait_until_all_run()
