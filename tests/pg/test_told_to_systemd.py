"""What a real daemon tells systemd, in whose place a socket of the test's own listens."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from by_hand import crashed, withheld
from daemons import Daemon, Site, held
from manager import LIMIT, Manager, Told, managed
from servers import client

from pgsupervisor.postgres import Installation

HANGING = """
import signal, threading

def hang_here(_number, _frame):
    threading.Event().wait()

signal.signal(signal.SIGUSR1, hang_here)
"""
"""A module that Python imports by itself: SIGUSR1 stops what the main thread does, which is the event loop."""

OFTEN = {"WATCHDOG_USEC": "1000000"}
"""Have the watchdog fed twice a second."""

QUIET = 3.0
"""Seconds in which nothing is told by who hangs; a time, since nothing is what it waits for."""


@pytest.fixture
def manager(site: Site) -> Iterator[Manager]:
    """A manager that listens."""
    with managed(site.door) as made:
        yield made


def environment(pid: int) -> set[bytes]:
    """Return the names of the environment variables of a process."""
    return {line.partition(b"=")[0] for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}


def told(manager: Manager, name: str) -> list[Told]:
    """Return all datagrams so far that assign this."""
    manager.take()
    return [each for each in manager.told if name in each]


def test_from_the_beginning_to_the_end(site: Site, manager: Manager) -> None:
    """READY once when all servers answer, STATUS as they change, STOPPING; and their servers know nothing of it."""
    for name in ("blog", "shop"):
        site.add(name)
    daemon = site.launch(manager.environment | OFTEN)
    assert manager.wait_for(READY="1") == {"READY": "1", "STATUS": "2 running"}
    assert site.states() == {"blog": "RUNNING", "shop": "RUNNING"}
    assert b"NOTIFY_SOCKET" in environment(daemon.pid)
    assert {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"} & environment(site.pid("shop")) == set()
    site.order("Stop", "shop")
    manager.wait_for(STATUS="1 running, 1 stopped")
    assert daemon.end() == 0
    stopping, *_ = told(manager, "STOPPING")
    assert stopping == {"STOPPING": "1", "STATUS": "1 running, 1 stopped"}
    assert len(told(manager, "READY")) == 1


def test_the_inventory_is_read_again(site: Site, manager: Manager) -> None:
    """Whoever asks for it, systemd is told when it begins and ends, and that it was refused, until it is not."""
    site.add("shop")
    daemon = site.launch(manager.environment)
    manager.wait_for(READY="1")
    site.add("blog")
    site.write()
    daemon.process.send_signal(signal.SIGHUP)
    reloading = manager.wait_for(RELOADING="1")
    assert (reloading["STATUS"], reloading["MONOTONIC_USEC"].isdecimal()) == ("1 running", True)
    manager.wait_for(READY="1", STATUS="2 running")
    site.inventory.write_text("[clusters.shop]\nprot = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    manager.wait_for(RELOADING="1")
    refused = manager.wait_for(READY="1")["STATUS"]
    assert refused.startswith(f"2 running; inventory refused: {site.inventory}: ")
    del site.clusters["blog"]
    site.write()
    assert site.pgsupctl("update").returncode == 0
    manager.wait_for(RELOADING="1", STATUS=refused)
    manager.wait_for(READY="1", STATUS="1 running")


def test_a_long_recovery(site: Site, manager: Manager, installation: Installation) -> None:
    """A unit that is ordered after ours meets servers that answer: READY waits for a crash recovery, with more time."""
    last = crashed(site, installation)
    site.daemons[-1].end()
    with withheld(last):
        site.launch(manager.environment)
        manager.wait_for(STATUS="1 recovering")
        assert (len(told(manager, "EXTEND_TIMEOUT_USEC")) > 0, told(manager, "READY")) == (True, [])
    assert manager.wait_for(READY="1")["STATUS"] == "1 running"


def test_a_stop_that_takes_long(site: Site, manager: Manager) -> None:
    """While a smart shutdown waits for a client, systemd is told who is waited for, and asked for more time."""
    site.add("shop", stop_mode="smart", stop_timeout="1h")
    daemon = site.launch(manager.environment)
    manager.wait_for(READY="1")
    with client(site.cluster("shop")):
        daemon.process.send_signal(signal.SIGTERM)
        manager.wait_for(STOPPING="1")
        manager.wait_for(EXTEND_TIMEOUT_USEC="60000000")
        manager.wait_for(STATUS="1 stopping: shop")
    assert daemon.wait()[0] == 0


def test_the_event_loop_hangs(site: Site, manager: Manager, tmp_path: Path) -> None:
    """The watchdog is fed until the event loop hangs; what systemd does then tells where, and is no harm to servers."""
    tmp_path.joinpath("sitecustomize.py").write_text(HANGING)
    site.add("shop")
    daemon = site.launch(manager.environment | OFTEN | {"PYTHONPATH": str(tmp_path)})
    manager.wait_for(READY="1")
    for _ in range(3):
        manager.wait_for(WATCHDOG="1")
    pid = site.pid("shop")
    daemon.process.send_signal(signal.SIGUSR1)
    wait_for_silence(manager)
    with held(pid) as server:
        status, said = end_as_systemd_does(daemon)
        assert (status, "Fatal Python error: Aborted" in said, "in hang_here" in said) == (-signal.SIGABRT, True, True)
        site.run(manager.environment)
        assert (site.pid("shop"), not server.wait(0)) == (pid, True)


def wait_for_silence(manager: Manager) -> None:
    """Wait until nothing is told any more."""
    limit = time.monotonic() + LIMIT
    with contextlib.suppress(TimeoutError):
        while manager.next(QUIET):
            assert time.monotonic() < limit, manager.told


def end_as_systemd_does(daemon: Daemon) -> tuple[int, str]:
    """End a daemon that does not feed its watchdog (WatchdogSignal= in systemd.service(5))."""
    daemon.process.send_signal(signal.SIGABRT)
    return daemon.wait()


def test_an_upgrade(site: Site, manager: Manager) -> None:
    """The upgraded program, which is the same process, goes on: it is ready, and feeds the watchdog."""
    site.add("shop")
    own_pid = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"]
    daemon = site.launch(manager.environment | OFTEN, own_pid)
    manager.wait_for(READY="1")
    manager.wait_for(WATCHDOG="1")
    assert site.pgsupctl("daemon", "upgrade").returncode == 0
    manager.wait_for(READY="1", STATUS="1 running")
    manager.wait_for(WATCHDOG="1")
    site.order("Stop", "shop")
    manager.wait_for(STATUS="1 stopped")
    assert daemon.end() == 0
