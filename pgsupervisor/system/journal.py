"""systemd's journal, by the two sockets at which systemd-journald takes what is to be written.

A *stream* is for a program that knows nothing of the journal: it writes lines to its standard output and error, and
these are connected to journald's stream socket. Before the first line stand a few lines that say whose they are, as
sd_journal_stream_fd(3) writes them. From then on journald reads, and nobody stands between them.

An *entry* is for a program that has more to say than a line: fields by name, the sentence (`MESSAGE`) being one of
them. It is one datagram to journald's native socket (https://systemd.io/JOURNAL_NATIVE_PROTOCOL), or, if it is too
large for that, a file without a name whose descriptor is sent. The file is sealed, so that journald can map it into its
memory without fear that somebody cuts it meanwhile (memfd_create(2), F_ADD_SEALS in fcntl(2)).

Who writes entries does not wait for journald: what it does not take at once is lost.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

STREAM = "/run/systemd/journal/stdout"
"""Where streams are connected."""

ENTRIES = "/run/systemd/journal/socket"
"""Where entries are sent."""

_INFORMATIONAL = 6
"""The priority of a stream's lines (syslog(3))."""

_PATIENCE = 5.0
"""Seconds that a journald that hangs may keep us from connecting a stream."""

_ROOM = 8 * 1024 * 1024
"""Bytes that a stream may be ahead of journald, as far as the system allows (net.core.wmem_max)."""

_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
"""What the kernel says of a datagram that is too large for this socket, or for its memory."""

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def stream(identifier: str, path: str = STREAM) -> socket.socket:
    """Connect a stream whose lines get this SYSLOG_IDENTIFIER (one line of text); a program can have it as its output.

    Raises OSError if nobody takes it.
    """
    # Identifier, unit, priority, whether lines begin with one of their own (<6>), and whether they go on to syslog, to
    # the kernel's log and to the console.
    header = f"{identifier}\n\n{_INFORMATIONAL}\n0\n0\n0\n0\n"
    with contextlib.ExitStack() as failed:
        made = failed.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        made.settimeout(_PATIENCE)
        made.connect(path)
        made.shutdown(socket.SHUT_RD)
        made.sendall(header.encode())
        made.settimeout(None)  # the program that gets it expects writes to wait, as on any file
        failed.pop_all()
    return made


def entry(fields: Mapping[str, str]) -> bytes:
    """Return an entry as it is sent. Names are of capital letters, digits and `_`, with a letter first, at most 64.

    A value of one line is written as NAME=VALUE; one of more lines follows its name and its size, so that no line of it
    can be taken for another field.
    """
    return b"".join(_field(name.encode("ascii"), _bytes(value)) for name, value in fields.items())


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" not in value:
        return b"%b=%b\n" % (name, value)
    return b"%b\n%b%b\n" % (name, struct.pack("<Q", len(value)), value)


def _bytes(value: str) -> bytes:
    # What is no UTF-8 would make journalctl show no word of it; as an escape, it is readable.
    return value.encode("utf-8", "backslashreplace")


class Journal:
    """Sends entries to the journald at `path`, which may come and go."""

    def __init__(self, path: str = ENTRIES) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def send(self, entry: bytes) -> None:
        """Send an entry, and return at once; one that is not taken is lost."""
        with contextlib.suppress(OSError):
            try:
                self._socket.sendto(entry, self._path)
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise
                self._send_in_file(entry)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()

    def _send_in_file(self, entry: bytes) -> None:
        with open(os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", buffering=0) as file:
            rest = memoryview(entry)
            while rest:
                rest = rest[file.write(rest) :]
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file.fileno()))
            self._socket.sendmsg([], [passed], 0, self._path)  # socket.send_fds forgets the address
