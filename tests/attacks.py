"""Attacks on a real daemon by another user (`attacker`), and what they cost it."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attacker
from daemons import Daemon, Site

from pgsupervisor.supervision.events import KEPT

NOBODY = pwd.getpwnam("nobody")


class Ground:
    """A daemon that can be attacked, with the cluster `shop`, which the attacker may control."""

    def __init__(self, site: Site, daemon: Daemon) -> None:
        self.site = site
        self.daemon = daemon
        self._before = 0

    @contextlib.contextmanager
    def attacked(self, name: str, uid: int = NOBODY.pw_uid) -> Iterator[None]:
        """Have somebody attack the daemon, in full swing from the beginning to the end."""
        program = [sys.executable, attacker.__file__, name, self.site.socket, str(uid), str(NOBODY.pw_gid)]
        with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"in full swing\n"
                yield
                assert process.poll() is None
            finally:
                process.kill()

    def forget_peak(self) -> None:
        """Begin to measure how much more memory the daemon has than now."""
        Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5", encoding="ascii")
        self._before = self._peak()

    @property
    def more(self) -> int:
        """How many bytes of memory more than at the beginning the daemon has had at any time since."""
        return self._peak() - self._before

    @property
    def used(self) -> float:
        """How much processor time the thread that answers has taken, in seconds."""
        known = Path(f"/proc/{self.daemon.pid}/schedstat").read_text(encoding="ascii")
        return int(known.split()[0]) / 1e9

    def _peak(self) -> int:
        (line,) = (each for each in self._status() if each.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def _status(self) -> list[str]:
        return Path(f"/proc/{self.daemon.pid}/status").read_text(encoding="ascii").splitlines()


def people_may_attack(site: Site, others: int) -> Ground:
    """Start a daemon that everybody may ask, with a full log of events, and a long one of `shop` that is no text.

    So many `others` are clusters that do not run.
    """
    for path in (site.directory, site.door):
        os.chmod(path, 0o755)
    site.daemon_keys |= {"socket_mode": "0666", "admin_group": ""}
    site.add("shop", allow=["nobody"])
    for number in range(others):
        site.declare(f"other{number}", site.directory / f"other{number}", autostart=False)
    daemon = site.start()
    site.order("Start", "shop")
    with site.logfile("shop").open("ab") as log:
        log.write((b"\xff" * 99 + b"\n") * 50_000)
    with site.client() as client:
        for _ in range(KEPT):
            client.call("Stop", names=["other0"])
    return Ground(site, daemon)
