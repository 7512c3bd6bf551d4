"""Facts of PostgreSQL that mislead who does not know them: its exit status, its groups, what it tells systemd."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time

from daemons import LIMIT, Site, ends, held
from machine import SERVER_USER
from servers import client

from pgsupervisor.postgres import Cluster, Installation
from pgsupervisor.postgres.controldata import controldata
from pgsupervisor.system.process import children


def test_exit_status_0(site: Site, installation: Installation) -> None:
    """Both kinds of shutdown exit with 0 and remove postmaster.pid; what tells them apart is pg_control."""
    directories = {name: site.add(name, installation, restart="never") for name in ("fast", "immediate")}
    site.run()
    for name, number in (("fast", signal.SIGINT), ("immediate", signal.SIGQUIT)):
        with held(site.pid(name)) as postmaster:
            postmaster.signal(number)
            assert ends(postmaster)
    assert site.wait_for_state("fast", "STOPPED")["reason"] == "stopped by someone else"
    assert site.wait_for_state("immediate", "FATAL")["reason"] == "exited with status 0 (restart = never)"
    found = [controldata(installation, str(path), SERVER_USER) for path in directories.values()]
    assert [each["Database cluster state"] for each in found] == ["shut down", "in production"]
    assert [path.joinpath("postmaster.pid").exists() for path in directories.values()] == [False, False]


def test_its_process_group(cluster: Cluster) -> None:
    """None of a server's processes is in its group, nor in another's: whoever signals a group does not reach them."""
    with cluster, client(cluster), contextlib.ExitStack() as family:
        server = cluster.postmaster()
        assert server is not None
        pids = [family.enter_context(process).pid for process in children(family.enter_context(server))]
        # One that was forked this moment has a group of its own in the next.
        limit = time.monotonic() + LIMIT
        while (found := groups(pids)) != {pid: pid for pid in found} and time.monotonic() < limit:
            os.sched_yield()
        assert (found, len(found) > 0) == ({pid: pid for pid in found}, True)


def groups(pids: list[int]) -> dict[int, int]:
    """Return the process group of each process that still is."""
    found = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            found[pid] = os.getpgid(pid)
    return found


def test_what_a_server_tells_systemd(site: Site, installation: Installation) -> None:
    """A server that knows sd_notify(3), as Debian's does, never reports its own readiness or end as the daemon's."""
    path = str(site.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.bind(path)
        if SERVER_USER is not None:
            os.chown(path, SERVER_USER.uid, SERVER_USER.gid)
        site.add("shop", installation)
        daemon = site.run({"NOTIFY_SOCKET": path})
        site.order("Stop", "shop")
        daemon.end()
        notify.settimeout(0)
        assert senders(notify) <= {daemon.pid}


def senders(notify: socket.socket) -> set[int]:
    """Return the pids of all who have sent something to a socket until now."""
    found = set()
    while True:
        try:
            _, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
        except BlockingIOError:
            return found
        found |= {struct.unpack("3i", data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS}
