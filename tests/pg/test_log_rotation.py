"""Logs of real servers that are rotated: by what counts now, where it is dangerous, and with those who follow them."""

from __future__ import annotations

import os
import tempfile

from daemons import Site, installation_number
from followed import following, numbers, write_numbers
from logs import put_together
from machine import SERVER_USER

from pgsupervisor.postgres import Installation
from pgsupervisor.system.rotation import RotatedLog

TERSE = {"log_error_verbosity": "terse", "log_min_error_statement": "panic"}
"""Settings with which a message is one line."""

LOSSY = "rotating the log may lose lines, as tmpfs cannot take off the beginning of a file (ext4 and xfs can)"


def test_another_size(site: Site, installation: Installation) -> None:
    """A size that an update brings counts at once, for the server that runs; so does that there is none."""
    site.add("shop", installation, logfile_maxbytes=0)
    daemon = site.run()
    pid = site.pid("shop")
    write_numbers(site.cluster("shop"), 1, 2000)
    assert daemon.logged(event="log rotated") == []
    size = site.logfile("shop").stat().st_size
    site.clusters["shop"]["logfile_maxbytes"] = "20kB"
    site.clusters["shop"]["logfile_backups"] = 100
    site.write()
    assert site.pgsupctl("update").returncode == 0
    pieces = (size - 1) // 20_480
    rotated = daemon.wait_for_log(pieces, event="log rotated")
    facts = {key: rotated[key] for key in ("cluster", "archive", "bytes")}
    assert facts == {"cluster": "shop", "archive": f"{site.logfile('shop')}.1", "bytes": 20_480}
    assert site.pid("shop") == pid
    assert numbers(put_together(site.logfile("shop"))) == list(range(1, 2001))
    write_numbers(site.cluster("shop"), 2001, 2002)
    assert numbers(site.pgsupctl("logs", "shop", "-n", "100000").stdout.encode()) == list(range(1, 2003))


def test_where_lines_may_be_lost(site: Site) -> None:
    """That rotation is not without danger is told where that is so, and not where nothing is rotated."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        if SERVER_USER is not None:
            os.chown(directory, SERVER_USER.uid, SERVER_USER.gid)
        for name, size in (("shop", "10MB"), ("blog", 0)):
            site.add(name, installation_number(1), logfile=f"{directory}/{name}.log", logfile_maxbytes=size)
        site.run()
        assert site.wait_for("shop", lambda each: each["rotation"] is not None)["rotation"] == LOSSY
        assert site.status("blog")["rotation"] is None
        (line,) = [line for line in site.pgsupctl("status").stdout.splitlines() if LOSSY in line]
        assert line.startswith("shop")
        site.order("Stop", "all")


def test_over_upgrades(site: Site, installation: Installation) -> None:
    """Who follows a log gets all of it, once, while it is written, rotated, and the daemon is upgraded and killed."""
    site.add(
        "shop", installation, settings=TERSE, logfile_maxbytes="100kB", logfile_backups=1000, logfile_compress=True
    )
    site.run()
    cluster = site.cluster("shop")
    with following(site, "shop", "-n", "1000") as follower:
        follower.until(b"ready to accept connections")
        for number in range(0, 12_000, 3000):
            write_numbers(cluster, number + 1, number + 1500)
            assert site.pgsupctl("daemon", "upgrade").returncode == 0
            write_numbers(cluster, number + 1501, number + 3000)
            follower.until(b"number-%d-" % (number + 3000))
        site.daemons[-1].process.kill()
        site.daemons[-1].wait()
        write_numbers(cluster, 12_001, 13_000)
        daemon = site.start()
        follower.until(b"number-13000-")
    assert numbers(follower.seen) == list(range(1, 13_001))
    assert daemon.end() == 0
    RotatedLog(str(site.logfile("shop"))).recover()
    assert numbers(put_together(site.logfile("shop"))) == list(range(1, 13_001))
