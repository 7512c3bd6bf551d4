"""The blocking client: asks the daemon something, and waits for what it says.

>>> with Client("/run/pgsupervisor/control") as client:                         # doctest: +SKIP
...     client.call("GetStatus", names=[])["clusters"]
...     for reply in client.stream("Restart", names=["shop"]):
...         print(reply)

Whoever leaves early (Ctrl-C, an exception, `close`) only stops waiting: an order that the daemon took, it carries
out. The standard library alone is used, and little of it, since every start of `pgsupctl` imports this: `socket` is
passed over for the module in C that it is made of, since it makes enumerations of some hundred numbers first.
"""

from __future__ import annotations

import _socket
import struct
from collections.abc import Iterator
from types import TracebackType

from pgsupervisor.control import protocol
from pgsupervisor.errors import DaemonUnreachableError, RemoteError
from pgsupervisor.shapes import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_NEXT_STEP = (
    "is pgsupervisord running? Start it with `systemctl start pgsupervisor` or `pgsupervisord -c INVENTORY`, "
    "or name the socket of another one with `-s SOCKET`"
)


class Client:
    """A connection to the daemon that listens at the Unix socket `path`.

    `timeout` (in seconds; None: for ever) is how long the daemon may take to let us in, and to answer a `call`.
    """

    def __init__(self, path: str, timeout: float | None = 30) -> None:
        """Connect.

        Raises DaemonUnreachableError if nobody answers there.
        """
        self._path = path
        self._timeout = timeout
        self._frames = protocol.FrameReader(protocol.MAX_REPLY)
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            # One that does not block would be refused where others stand in front of the door (unix(7), EAGAIN).
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _timeval(timeout))
            self._socket.connect(path)
            self._socket.settimeout(timeout)
        except OSError as error:
            self._socket.close()
            raise DaemonUnreachableError(path, _why_not_connected(error)) from error

    def call(self, method: str, /, **parameters: object) -> protocol.Parameters:
        """Call a method of our interface, and return what it answers. A parameter that is None is left out.

        Raises RemoteError if the answer is an error, DaemonUnreachableError if none comes.
        """
        self._send(method, parameters, more=False)
        self._socket.settimeout(self._timeout)
        return self._receive().parameters

    def stream(self, method: str, /, **parameters: object) -> Iterator[protocol.Parameters]:
        """Call a method with `more`, and yield each of its answers, however long they take.

        Raises the same errors as `call`.
        """
        self._send(method, parameters, more=True)
        self._socket.settimeout(None)
        continues = True
        while continues:
            reply = self._receive()
            continues = reply.continues
            yield reply.parameters

    def wait_for_end(self) -> None:
        """Wait until the daemon closes the connection, as it does when it ends."""
        self._socket.settimeout(None)
        while self._read():
            pass

    def close(self) -> None:
        """Hang up. What was ordered goes on."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, method: str, parameters: protocol.Parameters, *, more: bool) -> None:
        given = {name: value for name, value in parameters.items() if value is not None}
        request = protocol.Request(f"{protocol.INTERFACE}.{method}", given, more)
        try:
            self._socket.sendall(protocol.encode_request(request))
        except OSError as error:
            raise DaemonUnreachableError(self._path, f"it hung up on us ({error}); look at its log") from error

    def _receive(self) -> protocol.Reply:
        """Wait for the next reply; an error reply is raised."""
        while (frame := self._frames.next()) is None:
            data = self._read()
            if not data:
                raise DaemonUnreachableError(
                    self._path, "it hung up before it had answered; did it stop? Look at its log"
                )
            self._frames.feed(data)
        reply = protocol.decode_reply(frame)
        if reply.error is not None:
            raise RemoteError(reply.error, reply.parameters)
        return reply

    def _read(self) -> bytes:
        """Read what there is; nothing when the daemon hung up."""
        try:
            return self._socket.recv(65536)
        except ConnectionResetError:
            return b""
        except TimeoutError as error:
            raise DaemonUnreachableError(self._path, f"no answer within {self._timeout:g} s") from error


def _timeval(seconds: float | None) -> bytes:
    """Return a time as setsockopt(2) takes it: a struct timeval, in which 0 is for ever."""
    return struct.pack("ll", *divmod(int((seconds or 0) * 1_000_000), 1_000_000))


def _why_not_connected(error: OSError) -> str:
    """Say why a connection could not be made, and what to do about it."""
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return f"there is no socket; {_NEXT_STEP}"
        case ConnectionRefusedError():
            return f"nobody listens there any more; {_NEXT_STEP}"
        case PermissionError():
            return "permission denied; ask as root, as the daemon's own user, or as a member of its admin_group"
        case BlockingIOError() | TimeoutError():
            return "it takes no more connections at the moment; try again"
        case _:
            return f"{error.strerror or error}; {_NEXT_STEP}"
