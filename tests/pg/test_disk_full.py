"""Disks that are full: of the data, of a server's log, of the daemon's log, of a configuration file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from daemons import Site, installation_number
from disks import Disk, needs_mount, small_disk
from servers import sql, sql_that_fails, write
from watching import appears

from pgsupervisor.postgres import Installation

pytestmark = needs_mount

WRITE_AHEAD = "select pg_logical_emit_message(false, 'x', repeat('x', 1000000)) from generate_series(1, 100)"
"""Writes 100 MB into pg_wal and nowhere else: where there is no room for that, the server ends with a PANIC."""

LIMITS = {"start_retries": 1, "restart_limit": 3, "restart_delay": "20ms", "restart_max_delay": "50ms"}
MANY = 5
"""Tries, by which another failure would have been given up."""


@pytest.fixture
def disk(site: Site) -> Iterator[Disk]:
    """A disk that holds a cluster, and little else."""
    with small_disk(site.directory / "disk", 64) as made:
        yield made


HANGS = 18
"""The first major version whose postmaster may wait for ever, on a full disk, to begin anew after a crash inside."""


def on_disk(site: Site, disk: Disk, installation: Installation, **settings: str) -> None:
    """Add the cluster `shop`, whose data directory is on the disk and whose socket is not; and `blog`, elsewhere."""
    shop = site.new_data_directory(installation, disk.path / "shop")
    sockets = {"unix_socket_directories": str(site.directory)}
    if installation.major >= HANGS:
        sockets["restart_after_crash"] = "off"
    site.declare("shop", shop, installation, settings=sockets | settings, **LIMITS)
    site.add("blog", installation)


def falls(site: Site, disk: Disk) -> str:
    """Run all servers, fill the disk, have `shop` fall for it again and again, and return the reason that is shown."""
    site.run()
    sql(site.cluster("shop"), "create table kept as select 42 as row")
    disk.fill()
    sql_that_fails(site.cluster("shop"), WRITE_AHEAD)
    fallen = site.wait_for("shop", lambda each: each["restarts"] >= MANY and each["state"] == "BACKOFF")
    return str(fallen["reason"])


def rises(site: Site, disk: Disk) -> None:
    """Make room, and see `shop` come back by itself with what was committed."""
    disk.free()
    site.wait_for("shop", lambda each: (each["state"], each["reason"]) == ("RUNNING", ""))
    assert sql(site.cluster("shop"), "select row from kept") == "42"


def test_a_full_disk(site: Site, disk: Disk, installation: Installation) -> None:
    """A server that falls for want of space says so, is tried for as long as it takes, and keeps what was committed.

    The others never notice. Whoever orders a start is not kept waiting.
    """
    on_disk(site, disk, installation)
    reason = falls(site, disk)
    assert "No space left on device" in reason
    assert f"kB are left on the disk of {disk.path}/shop" in reason
    blog = site.status("blog")
    assert (blog["state"], blog["restarts"], sql(site.cluster("blog"), "select 1")) == ("RUNNING", 0, "1")
    ordered = site.pgsupctl("start", "shop")
    assert (ordered.returncode, "No space left on device" in ordered.stdout) == (1, True), ordered
    rises(site, disk)


def test_a_full_disk_that_the_log_does_not_tell_of(site: Site, disk: Disk) -> None:
    """What a server says of it, it may say in any language and in a file of its own: the disk is looked at, too."""
    on_disk(site, disk, installation_number(0), logging_collector="on")
    reason = falls(site, disk)
    assert ("No space" in reason, f"kB are left on the disk of {disk.path}/shop" in reason) == (False, True), reason
    rises(site, disk)


def test_a_full_disk_of_a_log(site: Site, disk: Disk) -> None:
    """A server whose log finds no room starts and works all the same, and logs again once there is some."""
    site.add("shop", logfile=str(disk.path / "shop.log"), settings={"log_statement": "all"})
    log = disk.path / "shop.log"
    log.touch()
    shutil.chown(log, log.parent.owner())
    disk.fill()
    site.run()
    assert sql(site.cluster("shop"), "select 'unheard'") == "unheard"
    disk.free()
    assert sql(site.cluster("shop"), "select 'heard'") == "heard"
    written = (disk.path / "shop.log").read_text()
    assert ("'unheard'" in written, "'heard'" in written) == (False, True)


def test_a_full_disk_of_the_daemon_s_log(site: Site, disk: Disk) -> None:
    """A daemon whose log finds no room goes on, and logs again once there is some."""
    data = site.add("shop")
    log = disk.path / "daemon.log"
    log.touch()
    disk.fill()
    daemon = site.launch(through=["/bin/sh", "-c", f'exec "$@" 2>>{log}', "sh"])
    appears(data / "postmaster.pid")  # the control socket answers before a server is started
    site.order("Start", "shop")
    site.order("Stop", "shop")
    disk.free()
    site.order("Start", "shop")
    assert daemon.end() == 0
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert lines[-1]["event"] == "daemon stopped"


def test_a_full_disk_of_a_configuration(site: Site, disk: Disk) -> None:
    """A change for which there is no room is refused in words, and the file is as it was."""
    data = site.add("shop", config_file=str(disk.path / "postgresql.conf"))
    file = write(disk.path / "postgresql.conf", (data / "postgresql.conf").read_text(), data)
    before = file.read_text()
    site.run()
    disk.fill()
    refused = site.pgsupctl("config", "shop", "set", "work_mem=7MB")
    assert (refused.returncode, "No space left on device" in refused.stderr) == (1, True), refused
    assert (file.read_text(), sql(site.cluster("shop"), "show work_mem")) == (before, "4MB")
    disk.free()
    assert site.pgsupctl("config", "shop", "set", "work_mem=7MB").returncode == 0
    assert sql(site.cluster("shop"), "show work_mem") == "7MB"
