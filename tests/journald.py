"""Somebody in the place of systemd-journald, and systemd-journald itself, away from that of this machine.

Both have a /run of their own, in a mount namespace that only the test's daemon shares, so only root can have them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from containers import first_of
from daemons import LIMIT, Record

_JOURNALD = "/lib/systemd/systemd-journald"

_RUN = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && "

# What the real one must not do here is to write into the log of this machine's kernel, and to turn its auditing on.
_JOURNALD_ALONE = (
    _RUN
    + f"""
mount -t tmpfs tmpfs /var/log && mount --bind /dev/null /dev/kmsg && mkdir /run/systemd/journald.conf.d &&
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=\\n' > /run/systemd/journald.conf.d/test.conf &&
exec {_JOURNALD}
"""
)

_UNDER_SYSTEMD = 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"'


def beside(directory: Path) -> Sequence[str]:
    """Return what makes a program find the sockets of journald in this directory."""
    return (
        "unshare",
        "--mount",
        "sh",
        "-c",
        _RUN + 'mount --bind "$0" /run/systemd/journal && exec "$@"',
        str(directory),
    )


def need_namespaces() -> None:
    """Skip the test where no mount namespace can be made."""
    tried = subprocess.run([*beside(Path("/tmp")), "true"], capture_output=True, text=True, check=False, timeout=LIMIT)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace can be made: {tried.stderr.strip()}")


@contextlib.contextmanager
def standing_in(directory: Path) -> Iterator[socket.socket]:
    """Accept streams at the place of journald's socket in this directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.settimeout(LIMIT)
        server.bind(str(directory / "stdout"))
        server.listen()
        yield server


@contextlib.contextmanager
def accepted(server: socket.socket) -> Iterator[Iterator[str]]:
    """Accept the next stream, and have its lines."""
    connection, _ = server.accept()
    connection.settimeout(LIMIT)
    with connection, connection.makefile("r") as lines:
        yield iter(lines)


class Journald:
    """A systemd-journald that runs in namespaces of its own, and ends with them."""

    def __init__(self, pid: int) -> None:
        self.through = ("nsenter", "--target", str(pid), "--mount", "--pid")
        """What makes a program run beside it."""

    @property
    def as_a_unit(self) -> Sequence[str]:
        """What makes a program run beside it with a standard error as systemd gives it to its units."""
        return (*self.through, "systemd-cat", "--identifier", "unit", "sh", "-c", _UNDER_SYSTEMD, "sh")

    def wait_for(self, text: str, *matches: str, count: int = 1) -> Record:
        """Wait until there are so many entries that fit, with a text in their message, and return the last of them."""
        journalctl = ("journalctl", "--follow", "--lines=all", "--all", "--output=json")
        seen, found = "", 0
        # A limit outside of the namespace would end nsenter alone.
        asked = [*self.through, "timeout", str(LIMIT), *journalctl, *matches]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            for line in reader.stdout:
                seen += line
                entry: Record = json.loads(line)
                found += text in str(entry["MESSAGE"])
                if found == count:
                    reader.kill()
                    return entry
        raise AssertionError(f"{text} is not in the journal:\n{seen}")


@contextlib.contextmanager
def real_journald(directory: Path) -> Iterator[Journald]:
    """Have systemd-journald itself, if there is one; `directory` is for what it says of itself."""
    for program in (_JOURNALD, "journalctl", "systemd-cat", "nsenter"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program}")
    ready = str(directory / "ready")
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _JOURNALD_ALONE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.settimeout(LIMIT)
        told.bind(ready)
        with subprocess.Popen(alone, env={**os.environ, "NOTIFY_SOCKET": ready}) as keeper:
            try:
                assert b"READY=1" in told.recv(4096)
                yield Journald(first_of(keeper.pid))
            finally:
                keeper.kill()
