"""Waiting until nobody else has a data directory any more: for the end of a process, or for another lock file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pgsupervisor.postgres.datalock import Obstacle


class Locked:
    """What keeps a server from starting, if anything does; `over` is called once when it is gone, or may be."""

    def __init__(self, over: Callable[[], None]) -> None:
        self._over = over
        self._obstacle: Obstacle | None = None

    def wait(self, obstacle: Obstacle) -> None:
        """Wait until this one is gone; its process is let go of then."""
        self.forget()
        self._obstacle = obstacle
        if obstacle.process is not None:
            asyncio.get_running_loop().add_reader(obstacle.process, self.lift)

    def lift(self) -> None:
        """Say that it is gone, or may be; of none, nothing is said."""
        if self._obstacle is not None:
            self.forget()
            self._over()

    def forget(self) -> None:
        """Wait no more."""
        obstacle, self._obstacle = self._obstacle, None
        if obstacle is not None and obstacle.process is not None:
            asyncio.get_running_loop().remove_reader(obstacle.process)
            obstacle.close()
