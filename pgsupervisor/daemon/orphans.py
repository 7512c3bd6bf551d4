"""The processes that outlived a postmaster, held by their pidfds until the last of them is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from signal import Signals

from pgsupervisor.supervision.life import Orphaned
from pgsupervisor.system.process import Process


class Orphans:
    """Tells by `post` how many are left of those `held`, whenever one has ended. Lives in the event loop."""

    def __init__(self, post: Callable[[Orphaned], None]) -> None:
        self._post = post
        self.held: list[Process] = []

    def hold(self, processes: list[Process]) -> None:
        """Take processes into care, in the place of any before."""
        self.let_go()
        self.held = processes
        for process in processes:
            asyncio.get_running_loop().add_reader(process, self._ended, process)

    def signal(self, number: Signals) -> None:
        """Send a signal to each of them."""
        for process in self.held:
            process.signal(number)

    def let_go(self) -> None:
        """Let go of them; nothing is told any more."""
        for process in self.held:
            self._close(process)
        self.held = []

    def _ended(self, process: Process) -> None:
        self.held.remove(process)
        self._close(process)
        self._post(Orphaned(len(self.held)))

    def _close(self, process: Process) -> None:
        asyncio.get_running_loop().remove_reader(process)
        process.close()
