"""A log that is kept from growing, for the tests: whoever rotates it, what he tells, and a disk that may be full."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import ParamSpec, TypeVar

from fakes import spec
from logs import BLOCK
from watching import LIMIT

from pgsupervisor.daemon.rotating import Rotation
from pgsupervisor.system.rotation import Rotated, RotatedLog
from pgsupervisor.system.watch import Watcher

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class AtOnce(Executor):
    """Threads for whom no time passes."""

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Do it here."""
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except OSError as error:
            future.set_exception(error)
        return future


class FullDiskLog(RotatedLog):
    """A log on a disk that may be full."""

    full = True

    def rotate(self, most: int, keep: int) -> Rotated | None:
        """Rotate it if there is room; if not, something is left to be recovered from."""
        if self.full and os.stat(self.path).st_size > most:
            Path(f"{self.path}.part").touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().rotate(most, keep)


class World:
    """A log that is rotated; `told` is what is told of that."""

    def __init__(self, log: RotatedLog, watcher: Watcher, rotating: Executor) -> None:
        self.log = log
        self.told: list[Rotated | OSError] = []
        self._facts = {"logfile": log.path, "logfile_maxbytes": 2 * BLOCK, "logfile_backups": 9}
        self.rotation = Rotation(spec("shop", **self._facts), log, watcher, rotating, self._tell)
        self._news = asyncio.Event()

    def go_by(self, log: RotatedLog | None, **facts: object) -> None:
        """Go by another spec."""
        self.rotation.go_by(spec("shop", **{**self._facts, **facts}), log)

    def _tell(self, what: Rotated | OSError) -> None:
        self.told.append(what)
        self._news.set()

    async def until_told(self) -> None:
        """Wait until something is told, from now on or since the last time."""
        async with asyncio.timeout(LIMIT):
            await self._news.wait()
        self._news.clear()

    @property
    def archived(self) -> list[int]:
        """The bytes of the archives that were told of."""
        return [each.size for each in self.told if isinstance(each, Rotated)]
