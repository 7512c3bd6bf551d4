"""A daemon as its clients see it: a Unix socket that answers each method with what the test wrote down for it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from pgsupervisor.control import protocol
from pgsupervisor.control.protocol import Parameters, Reply, Request

Script = Callable[[Parameters], Iterable[Reply | bytes | None]]
"""Returns what is answered: replies, bytes as they are, or None to hang up. It may wait in between."""


def says(*answers: Reply | bytes | None) -> Script:
    """Return a script that answers the same to everybody."""
    return lambda _parameters: answers


def reply(**parameters: object) -> Reply:
    """Return a last reply."""
    return Reply(parameters)


def part(**parameters: object) -> Reply:
    """Return a reply that others follow."""
    return Reply(parameters, continues=True)


def error(name: str, /, **parameters: object) -> Reply:
    """Return an error reply."""
    return Reply(parameters, error=name)


class FakeDaemon:
    """Listens at `path`, with a thread for each connection; `requests` is what it was asked, in order."""

    def __init__(self, path: str, scripts: Mapping[str, Script]) -> None:
        self.path = path
        self.requests: list[Request] = []
        self._scripts = {f"{protocol.INTERFACE}.{method}": script for method, script in scripts.items()}
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._listening.bind(self.path)
        self._listening.listen()
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)
        self._listening.close()
        os.unlink(self.path)
        assert not [thread for thread in self._threads if thread.is_alive()], "a client has not hung up"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the end
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer until either side hangs up."""
        frames = protocol.FrameReader(protocol.MAX_REQUEST)
        with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data := connection.recv(65536):
                frames.feed(data)
                while (frame := frames.next()) is not None:
                    request = protocol.decode_request(frame)
                    self.requests.append(request)
                    for answer in self._scripts[request.method](request.parameters):
                        if answer is None:
                            return
                        connection.sendall(answer if isinstance(answer, bytes) else protocol.encode_reply(answer))
