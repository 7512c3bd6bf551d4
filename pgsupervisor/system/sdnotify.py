"""What a service tells systemd, its manager: the protocol of sd_notify(3).

It is a datagram of lines NAME=VALUE to the Unix socket that $NOTIFY_SOCKET names. Who sends it is told by the kernel:
with `NotifyAccess=main` (systemd.service(5)) only the main process is heard.

Nothing here waits, and nothing fails. Where no manager listens, nobody is told. A manager that is busy may leave its
socket's queue full; libsystemd waits then, whereas we keep what is to be told until the kernel says that there is room:
a READY=1 that is lost would never be made up for. What is kept cannot grow: of each kind only the last counts.

The variables stay in our environment, so that a program which this process executes goes on where we have left off.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

_LONGEST = 1000
"""Characters of a value; systemd ignores a datagram that is longer than a page (NOTIFY_BUFFER_MAX in its source)."""


class NotifySocket:
    """Tells the manager that the environment names, if it names one; made and used in the event loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        # Made now, and not when there is something to tell: there may be no descriptor left then.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.settimeout(0)
        self._kept: dict[str, bytes] = {}
        self._waits = False

    @property
    def heard(self) -> bool:
        """Whether there is anybody to tell."""
        return self._socket is not None

    def tell(self, **assignments: str | int) -> None:
        """Tell these in one datagram, whose kind is the first name, and return at once."""
        if self._socket is None:
            return
        kind = next(iter(assignments))
        self._kept.pop(kind, None)  # the new one has another place in the order
        self._kept[kind] = b"\n".join(_line(name, str(value)) for name, value in assignments.items())
        if not self._waits:
            self._send(self._socket)

    def close(self) -> None:
        """Tell no more."""
        if self._socket is not None:
            self._wait(self._socket, waits=False)
            self._socket.close()
            self._socket = None

    def _send(self, to: socket.socket) -> None:
        self._wait(to, waits=False)
        while self._kept:
            kind, datagram = next(iter(self._kept.items()))
            try:
                # Each time: the manager may have made its socket anew. And only of a socket that is connected does the
                # kernel tell when there is room at the other end (unix_dgram_poll in net/unix/af_unix.c).
                to.connect(self._address)
                to.send(datagram)
            except BlockingIOError:
                self._wait(to, waits=True)
                return
            except OSError:
                pass  # the manager is gone
            del self._kept[kind]

    def _wait(self, to: socket.socket, *, waits: bool) -> None:
        loop = asyncio.get_running_loop()
        if waits:
            loop.add_writer(to, self._send, to)
        elif self._waits:
            loop.remove_writer(to)
        self._waits = waits


def monotonic_usec() -> int:
    """Return the microseconds of CLOCK_MONOTONIC, as MONOTONIC_USEC has to say them with RELOADING=1."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the seconds within which WATCHDOG=1 is awaited from process `pid` each time (sd_watchdog_enabled(3)).

    None if it is not awaited at all.
    """
    interval = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(pid))
    if not interval.isdecimal() or meant != str(pid):
        return None
    return int(interval) / 1e6 or None


def _address(path: str) -> bytes:
    """Return the address of a Unix socket: a path, or with an @ a name in the kernel's abstract namespace (unix(7)).

    Other addresses, as virtual machines have them (vsock), are not for services; nobody is told then.
    """
    if path[:1] not in {"/", "@"} or len(path) == 1:
        return b""
    address = os.fsencode(path)
    return b"\0" + address[1:] if path[0] == "@" else address


def _line(name: str, value: str) -> bytes:
    """Return an assignment, on one line; systemd ignores a status that is no UTF-8."""
    text = " ".join(value.split())
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{name}={cut}".encode("utf-8", "backslashreplace")
