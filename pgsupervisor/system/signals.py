"""Signals of this process, told in the event loop, and none of them lost when the process executes another program.

A signal whose handler has run is forgotten by the kernel. asyncio keeps it in a pipe of its own, where it would be
lost if execve(2) came before the loop has read it. Here the pipe is ours, and another program may inherit it: what was
not told before is told there. A signal that comes while nobody has a handler yet is kept by the kernel as long as it is
blocked; that it is, is inherited, too (signal(7)).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from signal import Signals
from typing import Self

HEARD = (Signals.SIGTERM, Signals.SIGINT, Signals.SIGHUP, Signals.SIGCHLD)
"""The signals that are told."""


class SignalPipe:
    """Catches the signals `HEARD`; made and used in the main thread. `descriptors` are those of its pipe."""

    def __init__(self, inherited: tuple[int, int] | None = None) -> None:
        """Catch signals from now on, and no longer block them; with the pipe of the program before us if there was one.

        Nothing is forgotten until somebody listens.
        """
        self.descriptors = inherited or os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.descriptors[1], warn_on_full_buffer=False)
        # The byte in the pipe is what tells of a signal; but without a handler there would be none.
        self._former = {number: signal.signal(number, lambda _number, _frame: None) for number in HEARD}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)

    def listen(self, told: Callable[[Signals], None]) -> None:
        """Have `told` called in the running loop with each signal, in their order."""
        asyncio.get_running_loop().add_reader(self.descriptors[0], self._read, told)

    def _read(self, told: Callable[[Signals], None]) -> None:
        for number in os.read(self.descriptors[0], 4096):
            if number in HEARD:
                told(Signals(number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Catch no more: a signal does to us what it did before."""
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        asyncio.get_running_loop().remove_reader(self.descriptors[0])
        for descriptor in self.descriptors:
            os.close(descriptor)
