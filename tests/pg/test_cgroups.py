"""Servers in cgroups of their own, below one that is delegated to the daemon as systemd does it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from by_hand import by_hand
from cgroups import entering, inside, new_cgroup, wait_until_empty, with_cgroups
from daemons import LIMIT, Daemon, Site, ends, held
from servers import sql

from pgsupervisor.postgres import Installation
from pgsupervisor.system.cgroup import directory_name
from pgsupervisor.system.delegation import absent
from pgsupervisor.system.follow import Followed
from pgsupervisor.system.process import descendants, facts, is_zombie
from pgsupervisor.system.watch import Watcher

pytestmark = with_cgroups

ESCAPES = "copy (select 1) to program 'cat > /dev/null; setsid -f sleep 1000 > /dev/null 2>&1'"
"""Has a server start a process that outlives it, in a session of its own, whose parent is gone."""


@dataclass
class Unit:
    """A site whose daemons are in a cgroup of their own, `base`."""

    site: Site
    base: Path

    def run(self, last: str = "") -> Daemon:
        """Start a daemon in the cgroup itself, as systemd does, and wait until every cluster runs.

        `last` is what its command line ends with.
        """
        for keys in self.site.clusters.values():
            keys.setdefault("settings", {"autovacuum": "off"})  # whose processes come and go
        daemon = self.site.launch(through=entering(self.base, last=last))
        daemon.wait_for_log(event="daemon started")
        self.site.order("Start", "all")
        return daemon

    def of(self, name: str) -> Path:
        """Return the cgroup of a cluster."""
        return self.base / "clusters" / name

    def server(self, name: str) -> set[int]:
        """Return all processes of a server, the living."""
        pid = self.site.pid(name)
        return {each for each in (pid, *descendants(pid)) if not is_zombie(each)}

    def is_whole(self, name: str) -> bool:
        """Tell whether all processes of a server are in the cgroup of its cluster, and no others.

        A server that has just become ready still starts some, and others end; some do both between two looks.
        """
        before, within, after = self.server(name), inside(self.of(directory_name(name))), self.server(name)
        others = {each for each in within - before - after if facts(each) is not None}
        return before & after <= within and not others

    def wait_until_gone(self, name: str) -> None:
        """Wait until a cluster has no cgroup."""
        asyncio.run(_gone(self.of(name)))

    def escaped(self, name: str) -> int:
        """Return the process that has escaped from the server of a cluster, but not from its cgroup."""
        within = inside(self.of(name))
        parents = {}
        for each in within - {self.site.pid(name)}:
            with contextlib.suppress(psutil.NoSuchProcess):  # the backend that has started it, for example
                parents[each] = psutil.Process(each).ppid()
        (found,) = (each for each, parent in parents.items() if parent not in within)
        return found

    def clusters(self) -> list[str]:
        """Return the cgroups that there are."""
        return sorted(each.name for each in (self.base / "clusters").iterdir() if each.is_dir())


async def _gone(path: Path) -> None:
    gone = asyncio.Event()

    def look() -> None:
        if not path.exists():
            gone.set()

    watcher = Watcher(asyncio.get_running_loop())
    followed = Followed(watcher, str(path), look)
    try:
        look()
        await asyncio.wait_for(gone.wait(), LIMIT)
    finally:
        followed.close()
        watcher.close()


@pytest.fixture
def unit(site: Site) -> Iterator[Unit]:
    """A site whose daemons are in a cgroup that is delegated to them."""
    with new_cgroup() as base:
        yield Unit(site, base)


def test_each_server_is_in_a_cgroup_of_its_name(unit: Unit, installation: Installation) -> None:
    """All processes of a server are in the cgroup of its cluster, the daemon is in its leaf, and nobody elsewhere."""
    for name in ("shop", "_shop"):
        unit.site.add(name, installation)
    daemon = unit.run()
    assert unit.is_whole("shop")
    assert unit.is_whole("_shop")
    assert (inside(unit.base), daemon.pid in inside(unit.base / "daemon")) == (set(), True)
    record = unit.site.status("shop")
    # On a machine that is busy, a server may have been moved when it was ready already, and has used nothing since.
    assert isinstance(record["cpu"], float)
    assert (record["memory"], record["limits"], record["reason"]) == (None, None, "")
    unit.site.order("Stop", "all")
    unit.wait_until_gone("shop")
    unit.wait_until_gone("__shop")
    stopped = unit.site.status("shop")
    assert (stopped["cpu"], stopped["memory"]) == (None, None)


def test_a_crash_and_a_restart(unit: Unit) -> None:
    """A server that is started again is in the cgroup again."""
    unit.site.add("shop")
    unit.run()
    with held(unit.site.pid("shop")) as process:
        process.signal(signal.SIGKILL)
        assert ends(process)
    unit.site.wait_for("shop", lambda each: (each["restarts"], each["state"]) == (1, "RUNNING"))
    assert unit.is_whole("shop")
    unit.site.order("Restart", "shop")
    assert unit.is_whole("shop")


def test_nothing_escapes_a_kill(unit: Unit) -> None:
    """A process that has left its family, its session and its postmaster is killed with the others."""
    unit.site.add("shop")
    unit.run()
    sql(unit.site.cluster("shop"), ESCAPES)
    escaped = unit.escaped("shop")
    with held(escaped) as process:
        unit.site.order("Kill", "shop")
        assert ends(process)
    unit.wait_until_gone("shop")
    assert unit.site.status("shop")["state"] == "STOPPED"


def test_what_outlives_a_stop_stays_in_the_cgroup(unit: Unit) -> None:
    """A stop ends the server alone; what it has left keeps its cgroup, which goes when that has ended."""
    unit.site.add("shop")
    unit.run()
    sql(unit.site.cluster("shop"), ESCAPES)
    escaped = unit.escaped("shop")
    with held(escaped) as process:
        unit.site.order("Stop", "shop")
        assert (process.alive(), escaped in inside(unit.of("shop"))) == (True, True)
        process.signal(signal.SIGKILL)
        assert ends(process)
    unit.wait_until_gone("shop")


def test_a_server_cannot_leave_its_cgroup(unit: Unit) -> None:
    """The server's user may not write where the daemon may, so its limits hold for whatever it does."""
    unit.site.add("shop")
    unit.run()
    target = unit.base / "daemon" / "cgroup.procs"
    said = unit.site.directory / "said"
    attempt = f"cat > /dev/null; echo $$ > {target} || echo no > {said}"
    sql(unit.site.cluster("shop"), f"copy (select 1) to program '{attempt}'")
    assert said.read_text() == "no\n"


def test_servers_that_are_left_running(unit: Unit) -> None:
    """A daemon that leaves leaves the cgroups, and so does one that is killed; the next one finds them as they were."""
    unit.site.add("shop")
    first = unit.run()
    pid = unit.site.pid("shop")
    assert unit.site.pgsupctl("daemon", "stop", "--leave").returncode == 0
    first.wait()
    assert pid in inside(unit.of("shop"))
    second = unit.run()
    assert (unit.site.pid("shop"), unit.is_whole("shop")) == (pid, True)
    second.end(signal.SIGKILL)
    assert pid in inside(unit.of("shop"))
    third = unit.run()
    assert (unit.site.pid("shop"), unit.is_whole("shop")) == (pid, True)
    assert third.pid in inside(unit.base / "daemon")
    assert isinstance(unit.site.status("shop")["cpu"], float)


def test_a_server_that_was_started_elsewhere(unit: Unit, installation: Installation) -> None:
    """A server that somebody has started by hand comes into the cgroup, with the processes that it has already."""
    unit.site.add("shop", installation)
    cluster = unit.site.cluster("shop")
    port = f"--port={unit.site.clusters['shop']['port']}"
    where = ["-D", cluster.data_directory, "-l", f"{cluster.data_directory}/by_hand.log", "-o", port]
    by_hand(cluster.installation, "pg_ctl", "start", "-w", *where)
    unit.run()
    assert unit.is_whole("shop")


def test_an_upgrade(unit: Unit) -> None:
    """The daemon that another version becomes is in the same leaf, and so are the servers in their cgroups."""
    unit.site.add("shop")
    daemon = unit.run()
    pid = unit.site.pid("shop")
    assert unit.site.pgsupctl("daemon", "upgrade").returncode == 0
    assert (unit.site.pid("shop"), unit.is_whole("shop")) == (pid, True)
    assert (inside(unit.base), daemon.pid in inside(unit.base / "daemon")) == (set(), True)
    unit.site.order("Restart", "shop")
    assert unit.is_whole("shop")


def test_a_cluster_that_is_removed(unit: Unit) -> None:
    """A cluster that is not in the inventory any more has no cgroup, and one that is new has one."""
    unit.site.add("shop")
    unit.run()
    del unit.site.clusters["shop"]
    unit.site.add("blog")
    unit.site.write()
    assert unit.site.pgsupctl("update").returncode == 0
    unit.site.order("Start", "blog")
    unit.wait_until_gone("shop")
    assert unit.clusters() == ["blog"]


def test_what_a_daemon_finds_that_was_forgotten(unit: Unit) -> None:
    """Empty cgroups that another daemon has left are gone when the next one begins."""
    unit.site.add("shop")
    unit.of("old").mkdir(parents=True)
    unit.run()
    assert unit.clusters() == ["shop"]


def test_why_limits_are_off(unit: Unit) -> None:
    """Limits that cannot be had keep no server from running; status says why, and an update takes them back."""
    unit.site.add("shop", memory_max="1GB")
    unit.run()
    why = "limits are off: pgsupervisord was started without --limits"
    record = unit.site.status("shop")
    assert (record["state"], record["limits"], record["reason"]) == ("RUNNING", why, why)
    assert why in unit.site.pgsupctl("status").stdout
    info = unit.site.pgsupctl("daemon", "info").stdout
    assert f"cgroup     {unit.base}\nlimits     off: pgsupervisord was started without --limits\n" in info
    pid = record["pid"]
    del unit.site.clusters["shop"]["memory_max"]
    unit.site.write()
    assert unit.site.pgsupctl("update").returncode == 0
    record = unit.site.status("shop")
    assert (record["pid"], record["limits"], record["reason"]) == (pid, None, "")


def test_limits(unit: Unit) -> None:
    """Where the kernel has the controllers, limits are in force and memory is counted; else status says why not."""
    unit.site.add("shop", memory_max="1GB")
    daemon = unit.run("--limits")
    record = unit.site.status("shop")
    if "memory" in (unit.base / "cgroup.controllers").read_text().split():
        assert (record["limits"], isinstance(record["memory"], int)) == (None, True)
        assert (unit.of("shop") / "memory.max").read_text() == f"{1 << 30}\n"
    else:
        why = absent(frozenset({"memory"}), Path(f"/proc/{daemon.pid}/cgroup").read_text())
        assert (record["limits"], record["memory"]) == (f"limits are off: {why}", None)


def test_without_a_cgroup_of_ours(site: Site) -> None:
    """A daemon that was given no cgroup touches none, and all else works; status says why limits are off."""
    site.add("shop", tasks_max=100)
    site.add("blog")
    with new_cgroup(delegated=False) as base:
        daemon = site.launch(through=entering(base))
        daemon.wait_for_log(event="daemon started")
        site.order("Start", "all")
        pid = site.pid("shop")
        assert inside(base) == {daemon.pid, *(each for name in ("shop", "blog") for each in _family(site.pid(name)))}
        assert [each for each in os.listdir(base) if (base / each).is_dir()] == []
        assert site.status("blog")["reason"] == ""
        reason = str(site.status("shop")["reason"])
        assert f"limits are off: the cgroup {base} is not delegated to the daemon" in reason
        with held(pid) as process:
            site.order("Kill", "shop")
            assert ends(process)
        daemon.end()
        wait_until_empty(base)


def _family(pid: int) -> set[int]:
    return {pid, *descendants(pid)}
