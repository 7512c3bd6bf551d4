"""Limits of processes and of open files: whoever hits one says so, and goes on when it is raised."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Daemon, Site
from machine import INSTALLATIONS
from servers import mended, sql

from pgsupervisor.postgres import Installation

OFTEN = {"start_retries": 0, "restart_limit": 2, "restart_delay": "50ms", "restart_max_delay": "50ms"}
"""A second failure is one too many; but what lies outside is tried again often."""


@contextlib.contextmanager
def limited(daemon: Daemon, which: int, most: int) -> Iterator[None]:
    """Lower a limit of a daemon and of the servers that it starts, for a while."""
    soft, hard = resource.prlimit(daemon.pid, which)
    resource.prlimit(daemon.pid, which, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, which, (soft, hard))


def open_files(daemon: Daemon) -> int:
    """Return how many files a daemon has open."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def site_with_two(site: Site, installation: Installation) -> Daemon:
    """Have a server that runs, and one that is stopped."""
    site.add("shop", installation, **OFTEN)
    site.add("blog", installation)
    daemon = site.run()
    site.order("Stop", "shop")
    return daemon


def test_no_more_processes(site: Site, installation: Installation) -> None:
    """A server for which there is no process is told of, tried again, and started when the limit is raised."""
    daemon = site_with_two(site, installation)
    with limited(daemon, resource.RLIMIT_NPROC, 1):
        ordered = site.pgsupctl("start", "shop")
        assert (ordered.returncode, "raise the limit of processes" in ordered.stdout) == (1, True), ordered
        site.wait_for("shop", lambda each: each["state"] == "BACKOFF" and each["restarts"] >= 3)
        assert (site.status("blog")["state"], sql(site.cluster("blog"), "select 1")) == ("RUNNING", "1")
    mended(site)


def test_no_more_open_files(site: Site) -> None:
    """A daemon that may open no more files says so, takes orders, and starts the server when the limit is raised."""
    daemon = site_with_two(site, INSTALLATIONS[0])
    with limited(daemon, resource.RLIMIT_NOFILE, open_files(daemon) + 3):
        ordered = site.pgsupctl("start", "shop")
        assert (ordered.returncode, "Too many open files" in ordered.stdout) == (1, True), ordered
        site.wait_for("shop", lambda each: each["state"] == "BACKOFF" and each["restarts"] >= 3)
        assert (site.status("blog")["state"], sql(site.cluster("blog"), "select 1")) == ("RUNNING", "1")
    mended(site)


def test_a_server_that_may_open_too_few_files(site: Site) -> None:
    """The limit that a server has is the daemon's: when that is raised, the server starts."""
    daemon = site_with_two(site, INSTALLATIONS[0])
    with limited(daemon, resource.RLIMIT_NOFILE, 48):
        site.pgsupctl("start", "shop")
        site.wait_for(
            "shop", lambda each: each["state"] == "BACKOFF" and "insufficient file desc" in str(each["reason"])
        )
    mended(site)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group whose processes can be limited, for root too."""
    path = Path("/sys/fs/cgroup/pids", f"pgsupervisor-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of version 1 can be made: {error}")
    yield path
    path.rmdir()


def test_no_more_threads(group: Path, site: Site) -> None:
    """Where not even a thread can be started, the daemon does all its work all the same."""
    daemon = site_with_two(site, INSTALLATIONS[0])
    crowd(group, daemon, 0)
    ordered = site.pgsupctl("start", "shop")
    assert (ordered.returncode, "raise the limit of processes" in ordered.stdout) == (1, True), ordered
    site.wait_for("shop", lambda each: each["state"] == "BACKOFF" and each["restarts"] >= 3)
    site.order("Reload", "blog")
    (group / "pids.max").write_text("max")
    mended(site)
    assert daemon.logged(level="error") == []


def test_a_server_that_cannot_fork(group: Path, site: Site, installation: Installation) -> None:
    """A postmaster for whose first child there is no process says so, and is tried until there is."""
    daemon = site_with_two(site, installation)
    crowd(group, daemon, 1)
    ordered = site.pgsupctl("start", "shop")
    assert (ordered.returncode, "could not fork" in ordered.stdout) == (1, True), ordered
    (group / "pids.max").write_text("max")
    mended(site)


def crowd(group: Path, daemon: Daemon, spare: int) -> None:
    """Put a daemon into a control group in which it can have a few more processes and threads, and no others."""
    (group / "cgroup.procs").write_text(str(daemon.pid))
    (group / "pids.max").write_text(str(int((group / "pids.current").read_text()) + spare))
