"""Where the kernel has no inotify watch left, files are looked at every second, and that is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import Site
from servers import sql

_WITHOUT_INOTIFY = """
import ctypes, os, sys

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

ready, mapped = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        write(f"/proc/{os.getppid()}/{name}", "0 0 65536")
    os._exit(0)
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:  # CLONE_NEWUSER
    raise OSError(ctypes.get_errno(), "unshare")
os.write(ready[1], b"x")
os.waitpid(child, 0)
write("/proc/sys/user/max_inotify_watches", "0")
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Becomes another program in a user namespace of its own, in which nobody may have an inotify watch."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can map all users into a user namespace")
def test_without_inotify(site: Site) -> None:
    """A daemon that gets no watch starts its servers and applies what is saved all the same, and says that it polls.

    When there are watches again, a reload takes them up.
    """
    data = site.add("shop", reload_delay="10ms")
    daemon = site.launch(through=[sys.executable, "-c", _WITHOUT_INOTIFY])
    daemon.wait_for_log(event="daemon started")
    site.wait_for_state("shop", "RUNNING")
    polled = daemon.wait_for_log(event="directory is polled")
    assert (polled["level"], "fs.inotify.max_user_watches" in str(polled["reason"])) == ("warning", True)
    record = site.status("shop")
    assert ("polled" in str(record["reason"]), "max_user_watches" in str(record["polled"])) == (True, True), record
    with (Path(data) / "postgresql.conf").open("a") as file:
        file.write("work_mem = 7MB\n")
    daemon.wait_for_log(event="reloaded", changes=["work_mem 4MB → 7MB"])
    assert sql(site.cluster("shop"), "show work_mem") == "7MB"
    raise_limit = "echo 1000 > /proc/sys/user/max_inotify_watches"
    subprocess.run(
        ["/usr/bin/env", "nsenter", "--user", f"--target={daemon.pid}", "/bin/sh", "-c", raise_limit], check=True
    )
    site.order("Reload", "shop")
    record = site.status("shop")
    assert (record["reason"], record["polled"]) == ("", None)
