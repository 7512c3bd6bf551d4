"""One log that is kept from growing, by the kernel's word: at no cost while it is quiet, and without a gap."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from logs import BLOCK, TEXT, write
from rotations import World
from watching import LIMIT, kernel_watches, watching

from pgsupervisor.system.rotation import RotatedLog
from pgsupervisor.system.watch import Changed, Watcher


@pytest.fixture
def log(tmp_path: Path) -> RotatedLog:
    """An empty log."""
    made = RotatedLog(str(tmp_path / "log"))
    write(made, b"")
    return made


def test_an_idle_log_costs_nothing(log: RotatedLog) -> None:
    """For a log that nobody writes to, the kernel is asked once, and then there is not even a time to wait for."""

    async def play(watcher: Watcher) -> None:
        with ThreadPoolExecutor(1) as rotating:
            world = World(log, watcher, rotating)
            task = asyncio.create_task(world.rotation.run())
            for rotations in (1, 2):
                await _asked()
                write(log, TEXT[: 2 * BLOCK])
                await world.until_told()
                assert len(world.told) == rotations
            await _asked()
            timers = asyncio.get_running_loop()._scheduled
            assert [timer for timer in timers if not timer.cancelled()] == []
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert kernel_watches() == []

    write(log, TEXT[:1])
    watching(play)


async def _asked() -> None:
    """Wait until the kernel is asked to tell of what is written."""
    async with asyncio.timeout(LIMIT):
        while not kernel_watches():  # noqa: ASYNC110  # that is told by nobody
            await asyncio.sleep(0.01)


class LateWatcher(Watcher):
    """A watcher that is asked whether a file grows in the moment after it has grown."""

    def growth(self, path: str, grown: Changed) -> Changed:
        """Tell when it grows again."""
        write(RotatedLog(path), TEXT[: 3 * BLOCK])
        return super().growth(path, grown)


def test_it_grows_before_that_is_asked(log: RotatedLog) -> None:
    """What is written after the log was looked at, and before the kernel is asked to tell, is not overlooked."""

    async def play() -> None:
        watcher = LateWatcher(asyncio.get_running_loop())
        with ThreadPoolExecutor(1) as rotating:
            world = World(log, watcher, rotating)
            task = asyncio.create_task(world.rotation.run())
            await world.until_told()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        watcher.close()
        assert world.archived == [2 * BLOCK]

    asyncio.run(play())
