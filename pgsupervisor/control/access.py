"""Who may do what: a decision, made from what the kernel says of the other end of the socket.

Nothing that a client sends says who it is. The kernel does (SO_PEERCRED, unix(7)): the user and group that the
process had when it connected. Whoever may connect may look; orders are for root, for the daemon's own user, and
for the members of the inventory's `admin_group`.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import struct
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7)): process, user and group."""

LOOKING = frozenset(
    {
        "org.varlink.service.GetInfo",
        "org.varlink.service.GetInterfaceDescription",
        "io.pgsupervisor.GetStatus",
        "io.pgsupervisor.Monitor",
        "io.pgsupervisor.GetDaemon",
    }
)
"""The methods that change nothing and show nothing of what a server wrote."""


ORDERS = frozenset(
    f"io.pgsupervisor.{name}"
    for name in (
        "Start",
        "Stop",
        "Restart",
        "Reload",
        "Kill",
        "Update",
        "SetConfiguration",
        "StopDaemon",
        "UpgradeDaemon",
    )
)
"""The methods that change something."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who is at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(credentials))


def may(method: str, *, uid: int, groups: AbstractSet[str], daemon_uid: int, admin_group: str | None) -> bool:
    """Decide whether the user `uid`, member of `groups`, may call `method` (its full name)."""
    return method in LOOKING or uid in {0, daemon_uid} or admin_group in groups


def user_of(peer: Peer) -> str:
    """Return the name of a peer's user, or the number of one without a name."""
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return str(peer.uid)


def groups_of(peer: Peer) -> frozenset[str]:
    """Return the names of the groups that a peer's user is in now, so that a change counts without a new login."""
    numbers = {peer.gid}
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(peer.uid)
        numbers.update(os.getgrouplist(entry.pw_name, entry.pw_gid))
    names = set()
    for number in numbers:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return frozenset(names)
