"""The search for a server that somebody else has started, as often as its postmaster.pid is rewritten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Search:
    """Looks for one by `look`, unless somebody else is `busy` with the cluster; lives in the event loop.

    `due` is whether the file has been rewritten since it was looked for last. `task` is there while it is at work.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[None]], busy: Callable[[], bool]) -> None:
        self.due = False
        self.task: asyncio.Task[None] | None = None
        self._name = name
        self._look = look
        self._busy = busy

    def begin(self) -> None:
        """Begin to look, or go on."""
        if self.task is None:
            self.task = asyncio.create_task(self._until_quiet(), name=f"look for {self._name}")

    async def _until_quiet(self) -> None:
        try:
            while self.due and not self._busy():
                self.due = False
                await self._look()
        finally:
            self.task = None
