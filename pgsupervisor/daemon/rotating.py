"""The log of one cluster is kept from growing without end.

The kernel tells, once, that a log has been written to. From then on it is looked at again and again, but the less often
the longer it will take to become too large, until it is found not to have grown; then the kernel is asked again. So a
log that nobody writes to costs nothing, and one that a server floods is looked at a few times in a second, however many
lines that is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeAlias, TypeVar

from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.system.rotation import Rotated, RotatedLog
from pgsupervisor.system.watch import Watcher

Result = TypeVar("Result")

Told: TypeAlias = Callable[[Rotated | OSError], None]
"""Is told of each rotation, and why one was not possible."""

_SOONEST = 0.1
_LATEST = 2.0
"""Seconds until a log that grows is looked at again, at the least and at the most."""

_AFTER_FAILURE = 60.0
"""Seconds until a log is looked at again that could not be rotated, as when the disk is full."""

_GONE = "its log was removed or renamed: what the server writes now is not to be seen until it is restarted"


def next_look(grown: int, elapsed: float, left: int) -> float | None:
    """Return in how many seconds to look at a log that has `grown` by so many bytes in the `elapsed` seconds.

    `left` is by how much more it may grow. None: when it is written to again.
    """
    if grown <= 0:
        return None
    # In half the time that it has at this pace, since it may become faster.
    return min(max(_SOONEST, left * elapsed / grown / 2), _LATEST)


class Rotation:
    """Rotates the log of one cluster, as long as it `run`s; made and used in the event loop.

    `rotating` has the threads in which that is done. `trouble` is what there is to say of it; empty if nothing.
    """

    def __init__(
        self, spec: ClusterSpec, log: RotatedLog | None, watcher: Watcher, rotating: Executor, told: Told
    ) -> None:
        self.trouble = ""
        self._spec = spec
        self._log = log
        self._watcher = watcher
        self._rotating = rotating
        self._told = told
        self._prepared: RotatedLog | None = None
        self._danger = ""
        self._inode = self._size = 0
        self._looked = 0.0
        self._wake = asyncio.Event()

    def go_by(self, spec: ClusterSpec, log: RotatedLog | None) -> None:
        """Go by this spec from now on, and look after this log; it may just have been made. None is no file."""
        if spec == self._spec and log is not None and self._is_ready(log):
            return
        self._spec, self._log, self._prepared = spec, log, None
        self._wake.set()

    def _is_ready(self, log: RotatedLog) -> bool:
        """Tell whether a log is looked after already, and is the same file still."""
        if log is not self._prepared or self.trouble == _GONE:
            return False
        try:
            return _file(log)[0] == self._inode and not log.is_cut_off()
        except OSError:
            return False

    async def run(self) -> None:
        """Look after the log until cancelled."""
        while True:
            self._wake.clear()
            spec, log = self._spec, self._log
            try:
                await self._look(spec, log)
            except FileNotFoundError:
                # One that was there is still written to, by a server that has it open.
                self.trouble = _GONE if log is self._prepared else ""
                await self._wake.wait()  # until a server makes it
            except BlockingIOError as error:
                self.trouble = f"the log is not rotated: {error.strerror}"
                await self._wait(_LATEST)
            except OSError as error:
                if self.trouble != (trouble := f"the log is not rotated: {error.strerror}"):
                    self._told(error)
                self.trouble, self._prepared = trouble, None
                await self._wait(_AFTER_FAILURE)

    async def _look(self, spec: ClusterSpec, log: RotatedLog | None) -> None:
        """Rotate the log if it is too large, and wait until it may be.

        Raises OSError.
        """
        if log is None or not spec.logfile_maxbytes:
            self.trouble = ""
            await self._wake.wait()
            return
        if log is not self._prepared:
            self._danger = await self._in_thread(log.make_ready)
            self._inode, self._size = _file(log)
            self._prepared = log
        inode, size = _file(log)
        if inode != self._inode:
            raise FileNotFoundError
        if size > spec.logfile_maxbytes:
            await self._rotate(spec, log)
            _, size = _file(log)
        self.trouble = self._danger
        now = asyncio.get_running_loop().time()
        delay = next_look(size - self._size, now - self._looked, spec.logfile_maxbytes - size)
        self._size, self._looked = size, now
        if delay is None:
            await self._growth(log)
            self._wake.clear()
            self._looked = asyncio.get_running_loop().time()
            delay = _SOONEST
        await self._wait(delay)

    async def _rotate(self, spec: ClusterSpec, log: RotatedLog) -> None:
        """Rotate the log until it is small enough, and have all archives compressed if that is wanted."""
        while True:
            rotated = await self._in_thread(partial(log.rotate, spec.logfile_maxbytes, spec.logfile_backups))
            if rotated is not None:
                self._told(rotated)
            elif not (spec.logfile_compress and await self._in_thread(log.compress)):
                return

    async def _growth(self, log: RotatedLog) -> None:
        """Wait until the log has been written to, or there is something else to do."""
        cancel = self._watcher.growth(log.path, self._wake.set)
        try:
            # What was written before that was asked for is not told.
            if _file(log)[1] == self._size:
                await self._wake.wait()
        finally:
            cancel()

    async def _wait(self, delay: float) -> None:
        timer = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._rotating, work)


def _file(log: RotatedLog) -> tuple[int, int]:
    """Return the inode and the size of a log; raises OSError."""
    facts = os.stat(log.path)
    return facts.st_ino, facts.st_size
