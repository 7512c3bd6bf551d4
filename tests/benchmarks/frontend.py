"""As much of PostgreSQL's protocol as it takes to ask a server something again and again, without a library's time.

PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

_HELLO = b"user\0postgres\0database\0postgres\0\0"

STARTUP_PACKET = struct.pack("!II", 8 + len(_HELLO), 3 << 16) + _HELLO

GOODBYE = struct.pack("!cI", b"X", 4)


class Session:
    """A session of the superuser on a server that trusts whoever comes by its Unix socket."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._stream = self._socket.makefile("rb")
        self._send(STARTUP_PACKET)
        self._until_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, statement: str) -> str:
        """Run a statement, and return the first field of its last row; empty if it has none."""
        text = statement.encode() + b"\0"
        self._send(struct.pack("!cI", b"Q", 4 + len(text)) + text)
        return self._until_ready()

    def _send(self, message: bytes) -> None:
        self._socket.sendall(message)

    def _until_ready(self) -> str:
        found = ""
        while True:
            kind, length = struct.unpack("!cI", self._stream.read(5))
            body = self._stream.read(length - 4)
            match kind:
                case b"E":
                    raise RuntimeError(body.decode(errors="replace"))
                case b"D":
                    (size,) = struct.unpack_from("!i", body, 2)
                    found = body[6 : 6 + max(size, 0)].decode()
                case b"Z":
                    return found
                case _:
                    pass
