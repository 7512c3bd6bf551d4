"""systemd's watchdog: it is told, again and again, that the daemon makes progress, and ends a daemon that does not.

Servers live on then, and the next daemon adopts them. So what is told has to be true in both ways: a daemon that is of
no use any more is better ended, and one that does its duty to a single cluster must not be.

That the event loop goes on is shown by each telling: it comes from a timer in it. That a keeper does is looked at: one
that has nothing to do may rest for as long as it likes, but one that has an event before it, or whose deadline is over,
takes it at once, since it waits for nothing else. If it has not from one look to the next, or lives no more, there is a
mistake in pgsupervisor that a new daemon will not be in.

Threads are not judged. What they do is as long as the disk, or another program, lets it be. One that hangs on a dead
NFS mount cannot be ended before the mount is back, and its keeper takes orders all the while; a new daemon would hang
in the same place, and all the other clusters would be without one meanwhile. For the same reason a keeper that has not
found out yet whether its server runs is not judged: that is looked at in a thread, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from pgsupervisor.supervision.keeper import Keeper
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.system.sdnotify import NotifySocket


class Progress:
    """Judges the keepers of clusters by what they have done since they were looked at last."""

    def __init__(self, kept: Callable[[], Iterable[Kept]]) -> None:
        self._kept = kept
        self._before: dict[Keeper, int] = {}

    def stuck(self) -> list[str]:
        """Return the names of the clusters whose keepers had something to do the last time, and have done nothing."""
        before = self._before
        self._before = {each.keeper: each.keeper.steps for each in self._kept() if _has_to_act(each)}
        return [keeper.name for keeper, steps in self._before.items() if before.get(keeper) == steps]


class Watchdog:
    """Tells systemd within each `interval` (seconds) that all keepers make progress; None if it does not want to know.

    Of those that do not, `hung` is told.
    """

    def __init__(
        self, notify: NotifySocket, interval: float | None, progress: Progress, hung: Callable[[Sequence[str]], None]
    ) -> None:
        self._notify = notify
        self._interval = interval
        self._progress = progress
        self._hung = hung
        self._known: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin; a program that was executed in place of another has no time to lose."""
        if self._interval is not None and self._notify.heard:
            self._look(self._interval)

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, interval: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(interval / 2, self._look, interval)
        stuck = self._progress.stuck()
        if not stuck:
            self._notify.tell(WATCHDOG=1)
        elif stuck != self._known:
            self._hung(stuck)
        self._known = stuck


def _has_to_act(kept: Kept) -> bool:
    if kept.task.done():
        return not kept.task.cancelled()  # it has died; one that is cancelled was let go
    return kept.keeper.due
