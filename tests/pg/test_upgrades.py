"""Upgrades in the midst of things: of many clients, of an initdb, of SIGTERM; and of servers that are no children."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from daemons import LIMIT, Daemon, Site
from fake_programs import write_program
from machine import INSTALLATIONS
from servers import client, linked_installation

from pgsupervisor.control.client import Client
from pgsupervisor.postgres import Installation


def upgrade(site: Site) -> None:
    """Upgrade the daemon, which is the same process afterwards."""
    assert site.call("UpgradeDaemon")["pid"] == site.daemons[-1].pid


def opened(daemon: Daemon) -> list[str]:
    """Return what a daemon has open and which children, by the word of the kernel."""
    links = []
    for entry in Path(f"/proc/{daemon.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(entry).partition(":[")[0])
    return sorted(links + [child.name() for child in psutil.Process(daemon.pid).children()])


def settles(found: Callable[[], object], expected: object) -> bool:
    """Tell whether something comes to be as expected: that a connection is closed, for one, is told by nobody."""
    deadline = time.monotonic() + LIMIT
    while found() != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return found() == expected


def test_many_clients_through_many_upgrades(site: Site) -> None:
    """Nobody is refused or cut off, whether he connects just then or is connected; nothing is left open afterwards."""
    enough = threading.Event()

    def call_anew() -> int:
        calls = 0
        while not enough.is_set():
            site.call("GetStatus", names=[])
            calls += 1
        return calls

    def call_again() -> int:
        calls = 0
        with Client(site.socket) as one:
            while not enough.is_set():
                one.call("GetDaemon")
                calls += 1
        return calls

    site.add("shop")
    daemon = site.start()
    daemon.wait_for_log(cluster="shop", now="RUNNING")
    before = opened(daemon)
    with client(site.cluster("shop")) as connected, ThreadPoolExecutor() as callers:
        calls = [callers.submit(call) for call in (call_anew, call_anew, call_again)]
        try:
            for _ in range(3):
                upgrade(site)
        finally:
            enough.set()
        assert [each.result() > 0 for each in calls] == [True] * 3
        assert connected.poll() is None
    assert settles(lambda: opened(daemon), before), (before, opened(daemon))


def patient_initdb(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Installation, Path]:
    """Make an installation whose initdb waits until somebody writes into a pipe, which is returned too."""
    made = linked_installation(site, INSTALLATIONS[0], monkeypatch)
    pipe = site.directory / "go"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    program = Path(made.require("initdb"))
    real = program.readlink()
    program.unlink()
    write_program(program, f'read go < {pipe}; exec {real} --no-sync "$@"')
    return made, pipe


def test_in_the_midst_of_initdb(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An initdb is not cut off; who waits behind it for his turn to start is started by the new version."""
    installation, pipe = patient_initdb(site, monkeypatch)
    site.daemon_keys["start_concurrency"] = 1
    reachable = {"listen_addresses": "", "unix_socket_directories": str(site.directory)}
    site.declare("first", site.directory / "first", installation, init=True, priority=1, settings=reachable)
    site.add("second", priority=2)
    daemon = site.start()
    daemon.wait_for_log(cluster="second", now="STARTING")
    with ThreadPoolExecutor() as waiting, os.fdopen(os.open(pipe, os.O_RDWR), "wb", buffering=0) as go:
        upgraded = waiting.submit(upgrade, site)
        daemon.wait_for_log(event="daemon upgrading")
        assert daemon.logged(event="daemon upgraded") == []
        go.write(b"go\n")
        upgraded.result()
    site.order("Start", "all")
    daemon.wait_for_log(count=2, now="RUNNING")
    assert sorted(str(each["cluster"]) for each in daemon.logged(now="RUNNING")) == ["first", "second"]
    assert {each["now"] for each in daemon.logged(event="state changed")} == {"STARTING", "RUNNING"}


def test_sigterm_in_the_midst(site: Site) -> None:
    """SIGTERM is not lost between two versions: it is obeyed by one of them."""
    site.add("shop")
    daemon = site.run()
    with Client(site.socket, timeout=LIMIT) as one, ThreadPoolExecutor() as waiting:
        waiting.submit(one.call, "UpgradeDaemon")
        daemon.wait_for_log(event="daemon upgrading")
        assert daemon.end() == 0
    assert site.cluster("shop").running() is False


def test_servers_of_another_daemon(site: Site) -> None:
    """After kill -9 of an upgraded daemon, the next one adopts its servers; and keeps them through its own upgrade."""
    site.add("shop", INSTALLATIONS[-1])
    first = site.run()
    pid = site.pid("shop")
    upgrade(site)
    first.end(signal.SIGKILL)
    site.run()
    upgrade(site)
    assert site.pid("shop") == pid
    os.kill(pid, signal.SIGKILL)
    again = site.wait_for("shop", lambda each: (each["state"], each["restarts"]) == ("RUNNING", 1))
    assert again["pid"] != pid
