"""Where a server would listen, and whether somebody else listens there already.

A TCP address is tried as the server itself would take it, by bind(2) with SO_REUSEADDR, and given back at once: nobody
is connected to. A Unix socket is a file that stays when its server dies, so there only connect(2) tells whether
somebody listens; PostgreSQL does not log a connection on which nothing is said. Who it is stands in the lock file
beside the socket (PostgreSQL's src/backend/libpq/pqcomm.c and src/backend/utils/init/miscinit.c).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from itertools import islice

import psutil

from pgsupervisor.postgres import pidfile
from pgsupervisor.system.guarded import beginning_of
from pgsupervisor.system.identity import User, as_ourselves
from pgsupervisor.system.permission import may

_LOCK = 8192
"""Bytes that are read of a lock file; anybody may have put anything there."""

LONGEST_SOCKET_PATH = 107
"""Bytes that the path of a Unix socket can have, the NUL after it not counted (unix(7), sun_path)."""


_ITEM = re.compile(r'\s*(?:"([^"]*)"\s*|([^,]*))(?:,|\Z)')
"""An item of a list setting: in double quotes, or up to the next comma."""

_MOST = 64
"""How many sockets a server can listen on (MAXLISTEN in postmaster.c): to look for more would be in vain."""


def split_list(value: str) -> list[str]:
    """Return the items of a setting such as listen_addresses: separated by commas, and perhaps in double quotes.

    Of more than a server can have, the first.
    """
    items = ((found[1] or found[2] or "").strip() for found in _ITEM.finditer(value))
    return list(islice(filter(None, items), _MOST))


def socket_path(directory: str, port: int) -> str:
    """Return the path of a server's Unix socket; `@` at its beginning means the abstract namespace (unix(7))."""
    return f"{directory}/.s.PGSQL.{port}"


def tcp_problems(addresses: list[str], port: int) -> list[str]:
    """Return why a server could not listen on a port of these addresses (`*`, IP addresses or host names)."""
    taken: list[str] = []
    unusable: list[str] = []
    free = False
    for address in addresses:
        try:
            # As bytes, as the server has it: of a text, Python would make another name (IDNA).
            host = None if address == "*" else os.fsencode(address)
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (socket.gaierror, ValueError) as error:  # the latter for what no host can be named
            unusable.append(f"{address}: {error.strerror if isinstance(error, OSError) else 'no host name'}")
            continue
        for family, kind, protocol, _, place in found:
            try:
                _bind(family, kind, protocol, place)
                free = True
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    taken.append(str(place[0]))
                else:
                    unusable.append(f"{place[0]}: {error.strerror}")
    if taken:
        where = ", ".join(dict.fromkeys(taken))
        return [f"port {port} at {where} is in use{_listeners(port)}; stop what listens there, or choose another port"]
    if unusable and not free:
        return [f"no address of listen_addresses can be used ({'; '.join(unusable)}); correct listen_addresses"]
    return []


def _bind(family: int, kind: int, protocol: int, place: tuple[object, ...]) -> None:
    with socket.socket(family, kind, protocol) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        attempt.bind(place)


@as_ourselves()
def _listeners(port: int) -> str:
    """Name the processes that listen on a port, as far as we may know them."""
    pids = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port == port
        and connection.pid
    }
    named = []
    for pid in sorted(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            named.append(f"{psutil.Process(pid).name()} (pid {pid})")
    return f" by {', '.join(named)}" if named else ""


def unix_problems(directories: list[str], port: int, run_as: User | None) -> list[str]:
    """Return why a server that runs as `run_as` could not listen on its sockets in these directories."""
    found = []
    for directory in directories:
        path = socket_path(directory, port)
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            found.append(
                f"the path of the socket {path} is longer than {LONGEST_SOCKET_PATH} bytes; "
                "choose a shorter directory for unix_socket_directories"
            )
        elif not directory.startswith("@") and not _writable(directory, run_as):
            found.append(
                f"the socket directory {directory} does not exist, or the server's user may not write into it; "
                "make it so, or choose another in unix_socket_directories"
            )
        elif _in_use(path):
            found.append(
                f"the socket {path} is in use{_holder(path)}; stop that server, or choose another port or directory"
            )
    return found


def _writable(directory: str, run_as: User | None) -> bool:
    """Tell whether a server could make its socket there."""
    return os.path.isdir(directory) and may(run_as, directory, os.W_OK) and may(run_as, directory, os.X_OK)


def _in_use(path: str) -> bool:
    """Tell whether somebody listens on a socket, or has it so that nobody else can take it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        attempt.settimeout(0)  # a full queue is an answer as well, and not to be waited for
        result = attempt.connect_ex("\0" + path[1:] if path.startswith("@") else path)
    return result not in (errno.ENOENT, errno.ECONNREFUSED)


def _holder(path: str) -> str:
    """Name the server that has a socket, from its lock file, whose lines are those of postmaster.pid."""
    try:
        lock = pidfile.parse(beginning_of(path + ".lock", _LOCK).decode("utf-8", "surrogateescape"))
    except OSError:
        lock = None
    return "" if lock is None else f" by the server with pid {lock.pid} of {lock.data_directory}"
