"""The systemd of the tests can do this machine no harm, and leaves nothing behind."""

from __future__ import annotations

import contextlib
from pathlib import Path

from booted import booted
from daemons import ends
from machine import make_directory, remove_directory

from pgsupervisor.system.process import Process

OURS = Path(__file__).parent


def test_it_can_write_what_is_lent_to_it_alone() -> None:
    """It is root, and can change nothing of the machine but in one directory; it comes up without any other unit."""
    lent = make_directory()
    try:
        with booted(lent) as systemd:
            for path in ("/pgs", "/usr/bin/pgs", "/root/pgs", "/dev/pgs", "/proc/sys/kernel/pid_max", f"{OURS}/pgs"):
                assert "Read-only file system" in systemd.try_to("touch", path).stderr
            systemd.run("touch", f"{lent}/written", "/tmp/elsewhere")
            started = systemd.run("systemctl", "list-units", "--type=service", "--plain", "--no-legend").split()[0]
        assert [each.name for each in lent.iterdir()] == ["written"]
        assert not Path("/tmp/elsewhere").exists()
        assert started == "systemd-journald.service"
    finally:
        remove_directory(lent)


def test_nothing_is_left() -> None:
    """Its processes, control groups and directories are gone, however the test ends."""
    lent = make_directory()
    with contextlib.ExitStack() as afterwards:
        afterwards.callback(remove_directory, lent)
        # What a test that fails does not do.
        boot = booted(lent)
        systemd = boot.__enter__()
        first = afterwards.enter_context(Process(systemd.pid))
        traces = (systemd.root, systemd.cgroup)
        systemd.run("systemd-run", "--property=Delegate=yes", "--", "sleep", "infinity")
        assert list(systemd.cgroup.glob("system.slice/run-*.service"))
        error = ZeroDivisionError()
        assert not boot.__exit__(type(error), error, None)
        assert ends(first)
        assert [each for each in traces if each.exists()] == []
