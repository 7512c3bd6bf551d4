"""systemd, as far as a service tells it something: a socket of the test's own in its place."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

LIMIT = 30.0
"""Seconds until a wait is given up."""

Told: TypeAlias = dict[str, str]
"""A datagram, as its assignments."""


class Manager:
    """Listens at an address, as $NOTIFY_SOCKET would have it. It reads only when it is asked to."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.told: list[Told] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def take(self) -> list[Told]:
        """Return what has come since the last time, at once."""
        self._socket.settimeout(0)
        before = len(self.told)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receive()
        return self.told[before:]

    def next(self, within: float = LIMIT) -> Told:
        """Wait for the next datagram; TimeoutError if there is none."""
        self._socket.settimeout(within)
        return self._receive()

    def wait_for(self, **assignments: str) -> Told:
        """Wait for a datagram with these assignments, among others."""
        limit = time.monotonic() + LIMIT
        while not assignments.items() <= (told := self.next()).items():
            assert time.monotonic() < limit, self.told
        return told

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _receive(self) -> Told:
        lines = self._socket.recv(65536).decode().split("\n")
        told = dict(line.split("=", 1) for line in lines)
        self.told.append(told)
        return told


@contextlib.contextmanager
def managed(directory: Path) -> Iterator[Manager]:
    """Have a manager that listens in a directory."""
    path = str(directory / "notify")
    made = Manager(path)
    try:
        yield made
    finally:
        made.close()
        os.unlink(path)
