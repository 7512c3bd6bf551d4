"""Who may do what: a decision, made from what the kernel says of the other end of the socket.

Nothing that a client sends says who it is. The kernel does (SO_PEERCRED, unix(7)): the user and group that the
process had when it connected. There are three circles:

- root, the daemon's own user, and the members of the inventory's `admin_group` may do everything;
- the OS user of a cluster, and those whom its `allow` names, may control that cluster and read its log;
- whoever else may connect sees how the clusters are and what happened to them, but nothing that may quote a log or the
  value of a setting.

Who is in them is one pure decision, `may`. What it has to know of users and groups is looked up elsewhere (`rights`).
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import struct
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from pgsupervisor.system.safepath import owner, user_name
from pgsupervisor.values import frozen

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
"""The methods that change nothing; of what a server wrote, they show nothing to those who may not read it."""

_CLUSTER_ORDERS = frozenset(f"io.pgsupervisor.{name}" for name in ("Start", "Stop", "Restart", "Reload", "Kill"))

CONTROL = _CLUSTER_ORDERS | {f"io.pgsupervisor.{name}" for name in ("GetLog", "CheckConfiguration")}
"""The methods that are about clusters; who has a cluster may call them for it."""

OWNING = frozenset({"io.pgsupervisor.GetConfiguration", "io.pgsupervisor.SetConfiguration"})
"""The methods that only the OS user of a cluster may call for it.

Settings hold passwords, and name programs, which the server runs as that user: whoever may set them can do whatever he
can, also to his other clusters.
"""

ORDERS = _CLUSTER_ORDERS | {
    f"io.pgsupervisor.{name}" for name in ("Update", "SetConfiguration", "StopDaemon", "UpgradeDaemon")
}
"""The methods that change something."""


@frozen
class Peer:
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    gid: int


def peer_of(connection: socket.socket) -> Peer:
    """Ask the kernel who is at the other end of a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(credentials))


@frozen
class Who:
    """Who asks: the number of a user, his name, or that number again if he has none, and the names of his groups."""

    uid: int
    name: str
    groups: AbstractSet[str] = frozenset()


@frozen
class Whose:
    """Whose a cluster is: its OS user, by name or by number (None: nobody knows), and whom else its `allow` names."""

    user: str | int | None
    allow: Sequence[str] = ()


def may(method: str, who: Who, whose: Whose | None, *, daemon_uid: int, admin_group: str | None) -> bool:
    """Decide whether somebody may call `method` (its full name) for a cluster, or (None) for all there is.

    A name that `allow` has is a user's, or with `@` a group's. A user who has no name can be meant by his number.
    """
    if method in LOOKING or who.uid in {0, daemon_uid} or admin_group in who.groups:
        return True
    if method not in CONTROL | OWNING or whose is None:
        return False
    if whose.user in {who.uid, who.name}:
        return True
    meant = {who.name, *(f"@{group}" for group in who.groups)}
    return method in CONTROL and not meant.isdisjoint(whose.allow)


def user_of(peer: Peer) -> str:
    """Return the name of a peer's user, or the number of one without a name."""
    return user_name(peer.uid)


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


def owner_of(directory: str) -> int | None:
    """Return the number of the user to whom a directory belongs; None if nobody can say so for sure."""
    try:
        uid, weak = owner(directory)
    except OSError:
        return None
    return uid if weak is None else None
