"""What a server is born with: whom it runs as, its environment, its descriptors, its session."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Daemon, Site, new_site
from machine import SERVER_USER, NewDataDirectory
from servers import sql

DISTURBING = {
    "PGPORT": "1",
    "PGDATA": "/nowhere",
    "PGOPTIONS": "-c work_mem=1",
    "NOTIFY_SOCKET": "/nowhere/notify",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "x",
    "WATCHDOG_USEC": "1000000",
    "WATCHDOG_PID": "1",
}
"""What systemd and libpq may have left in the daemon's environment."""


@pytest.fixture(scope="module")
def shop(new_data_directory: NewDataDirectory) -> Iterator[Site]:
    """A cluster whose daemon was started in an environment full of traps."""
    with new_site(new_data_directory) as site:
        site.add("shop", environment={"PGTZ": "UTC", "MINE": "1"})
        site.run({**DISTURBING, "KEPT": "1"})
        yield site


@pytest.fixture
def process(shop: Site) -> Path:
    """What the kernel says of the postmaster."""
    return Path(f"/proc/{shop.pid('shop')}")


def daemon_of(site: Site) -> Daemon:
    """Return the daemon of a site."""
    return site.daemons[0]


def test_it_runs_as_its_user(process: Path) -> None:
    """All ids of the server are its user's: real, effective, saved, filesystem, and the supplementary groups."""
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    ids = {key: [int(word) for word in lines[key].split()] for key in ("Uid", "Gid", "Groups")}
    if SERVER_USER is None:
        expected = {"Uid": [os.getuid()] * 4, "Gid": [os.getgid()] * 4, "Groups": sorted(os.getgroups())}
    else:
        expected = {"Uid": [SERVER_USER.uid] * 4, "Gid": [SERVER_USER.gid] * 4, "Groups": sorted(SERVER_USER.groups)}
        assert SERVER_USER.uid != 0
    assert {**ids, "Groups": sorted(ids["Groups"])} == expected


def test_its_environment_is_clean(process: Path) -> None:
    """Nothing of libpq's or systemd's reaches the server, except what the inventory gives it; the rest does."""
    variables = dict(entry.split("=", 1) for entry in (process / "environ").read_text().split("\0") if entry)
    assert (variables["PGTZ"], variables["MINE"], variables["KEPT"]) == ("UTC", "1", "1")
    disturbing = {
        name
        for name in variables
        if name.startswith(("PG", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")) and name != "PGTZ"
    }
    # PostgreSQL sets the first two itself (main.c, sysv_shmem.c); by the others its children are like anybody else's.
    assert disturbing <= {"PGSYSCONFDIR", "PGLOCALEDIR", "PG_OOM_ADJUST_FILE", "PG_OOM_ADJUST_VALUE"}
    if SERVER_USER is not None:
        home = (SERVER_USER.home, SERVER_USER.name, SERVER_USER.name)
        assert (variables["HOME"], variables["USER"], variables["LOGNAME"]) == home


def test_its_descriptors(shop: Site, process: Path) -> None:
    """It reads from /dev/null, and writes straight to the end of its logfile."""
    assert [os.readlink(process / "fd" / number) for number in "012"] == [
        "/dev/null",
        str(shop.logfile("shop")),
        str(shop.logfile("shop")),
    ]
    for number in "12":
        facts = dict(line.split(":", 1) for line in (process / "fdinfo" / number).read_text().splitlines())
        flags = int(facts["flags"], base=8)
        assert flags & (os.O_APPEND | os.O_ACCMODE) == os.O_APPEND | os.O_WRONLY


def test_no_descriptor_of_the_daemon_reaches_it(shop: Site, process: Path) -> None:
    """The control socket, the daemon's pidfds and its inotify instance stay the daemon's."""
    ours = {os.readlink(entry) for entry in Path(f"/proc/{daemon_of(shop).pid}/fd").iterdir()}
    its = {os.readlink(entry) for entry in (process / "fd").iterdir()}
    shared = {each for each in ours & its if not each.startswith("anon_inode:")}
    assert shared <= {"/dev/null"}


def test_its_session(shop: Site, process: Path) -> None:
    """It leads a session of its own, so a Ctrl-C for the daemon is not for it."""
    pid = int(process.name)
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)
    assert os.getsid(daemon_of(shop).pid) != pid


def test_its_umask_and_working_directory(shop: Site, process: Path) -> None:
    """Its files are its own alone, and it keeps no directory but its own busy."""
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    assert (int(lines["Umask"], base=8), os.readlink(process / "cwd")) == (0o077, shop.cluster("shop").data_directory)


def test_a_file_that_it_makes(shop: Site) -> None:
    """What the server makes, or a program that it starts, nobody else may read."""
    made = shop.directory / "made"
    sql(shop.cluster("shop"), f"copy (select 1) to program 'cat > {made}'")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_its_logfile(shop: Site) -> None:
    """The logfile belongs to the server's user, and nobody but its group may read along."""
    facts = shop.logfile("shop").stat()
    uid = os.geteuid() if SERVER_USER is None else SERVER_USER.uid
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (uid, 0o640)


def test_it_is_the_daemons_child(shop: Site, process: Path) -> None:
    """The daemon is its parent, and a SIGHUP for the daemon leaves the server alone."""
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    daemon = daemon_of(shop)
    assert int(lines["PPid"]) == daemon.pid
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log(event="inventory applied")
    assert shop.pid("shop") == int(process.name)


def test_a_logfile_that_is_a_symlink_is_refused(site: Site) -> None:
    """A symlink at the logfile's place leads nobody's output elsewhere."""
    site.add("shop", start_retries=0)
    (site.door / "log").mkdir()
    precious = site.directory / "precious"
    precious.write_text("precious")
    site.logfile("shop").symlink_to(precious)
    site.start()
    site.wait_for("shop", lambda each: "symlink, which is refused" in str(each["reason"]))
    assert precious.read_text() == "precious"
