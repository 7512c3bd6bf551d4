"""The way in: clients are let in one after the other, and while it is shut they wait outside, and are not turned away.

The kernel keeps who connects to a listening socket in a queue until he is let in (listen(2)). So it does no harm to
let nobody in for a while. A server of asyncio's cannot do that: to pause it is to close its socket, or its file.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_PATIENCE = 1.0
"""Seconds until it is tried again to let in one for whom there was no descriptor or memory."""

_AT_ONCE = 128
"""How many are let in before anything else is done: whoever stands behind a crowd must not wait for each by itself."""


class Entrance:
    """Lets in who connects to a `listening` socket that does not block; shut at first.

    `enter` gets each connection, and is its owner. `failed` is told why one could not be let in.
    """

    def __init__(
        self,
        listening: socket.socket,
        enter: Callable[[socket.socket], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._listening = listening
        self._enter = enter
        self._failed = failed
        self._again: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Let in who waits, and who comes from now on."""
        asyncio.get_running_loop().add_reader(self._listening, self._let_in)

    def shut(self) -> None:
        """Let nobody in until it is opened again."""
        asyncio.get_running_loop().remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()

    def _let_in(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._let_one_in():
                return

    def _let_one_in(self) -> bool:
        """Let in the next one, and tell whether there may be another."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False  # nobody, or gone again
        except OSError as error:
            # He still waits, and we would be told of him without end.
            self.shut()
            self._again = asyncio.get_running_loop().call_later(_PATIENCE, self.open)
            self._failed(error)
            return False
        self._enter(connection)
        return True
