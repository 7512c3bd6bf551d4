"""A daemon with nothing to do does nothing: no poll, no timer, no wake-up."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemons import LIMIT, Site, installation_number, new_site
from machine import NewDataDirectory
from manager import managed

CLUSTERS = 60
TRIES = 5
QUIET = 10.0
"""Seconds for which nobody may move; the one wait in these tests that is a time, since nothing is what it waits for."""


def moves(pid: int) -> dict[str, tuple[str, ...]]:
    """Return, for each thread of a process, how often it was switched to and how long it ran."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        switches = [line for line in (thread / "status").read_text().splitlines() if "ctxt_switches" in line]
        ticks = (thread / "stat").read_text().rpartition(")")[2].split()[11:13]
        found[thread.name] = (*switches, *ticks)
    return found


@pytest.fixture
def site(new_data_directory: NewDataDirectory) -> Iterator[Site]:
    """A site where nobody else makes anything: of what is made in /tmp, a daemon that has its files there hears."""
    with new_site(new_data_directory, "/var/tmp") as made:
        yield made


def test_an_idle_daemon_does_nothing(site: Site, tmp_path: Path) -> None:
    """For ten seconds, a daemon that watches dozens of servers makes no system call, and none of its threads runs.

    That systemd listens makes no difference, as long as it has no watchdog.
    """
    for number in range(CLUSTERS):
        settings = {"shared_buffers": "1MB", "max_connections": "5", "autovacuum": "off"}
        site.add(f"c{number}", installation_number(number), settings=settings, stable_after="100ms")
    # Not in the site's directory: the daemon watches it, and the tracer's own writing could wake it.
    with managed(site.door) as manager, contextlib.ExitStack() as tracing:
        daemon = site.run(manager.environment)
        assert set(site.states().values()) == {"RUNNING"}
        manager.wait_for(READY="1")
        trace = tracing.enter_context(traced(daemon.pid, tmp_path / "trace"))
        # What is under way from the start has to end. But whoever polls never has quiet for so long.
        assert any(is_quiet(daemon.pid, trace) for _ in range(TRIES)), moves(daemon.pid)


def is_quiet(pid: int, trace: Callable[[], str]) -> bool:
    """Watch a process for a while, and tell whether it did nothing."""
    before = (moves(pid), trace())
    time.sleep(QUIET)
    return (moves(pid), trace()) == before


@contextlib.contextmanager
def traced(pid: int, output: Path) -> Iterator[Callable[[], str]]:
    """Have the system calls of a process traced, where there is strace, and a function that returns them."""
    program = shutil.which("strace")
    if program is None:
        yield lambda: ""
        return
    arguments = [program, "-f", "-o", str(output), "-p", str(pid)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE) as tracing:
        assert tracing.stderr is not None
        tracing.stderr.readline()  # "Process PID attached", after which all its threads are
        try:
            yield output.read_text
        finally:
            tracing.terminate()
            tracing.communicate(timeout=LIMIT)
