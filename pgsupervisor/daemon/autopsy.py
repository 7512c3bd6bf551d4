"""What is done when a server has ended: find out how it went down, and what it has left behind, and tell it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from pgsupervisor.daemon.enclosure import Enclosure
from pgsupervisor.daemon.orphans import Orphans
from pgsupervisor.daemon.running import Running, left_by, lock_is_anothers, post_mortem, unexplained
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.life import Exited, Orphaned
from pgsupervisor.system.identity import acting_as
from pgsupervisor.system.process import Process


class Autopsy:
    """Looks at a cluster's servers that have ended, and keeps what they left.

    `over` is called after each was told of; `others` is whether somebody else may have started one in the meantime.
    `task` is there while it is at work.
    """

    def __init__(self, post: Post, over: Callable[[], None], enclosure: Enclosure) -> None:
        self.others = False
        self.task: asyncio.Task[None] | None = None
        self.orphans = Orphans(self._orphaned)
        self._post = post
        self._over = over
        self._enclosure = enclosure
        self._released = False

    def begin(self, running: Running) -> None:
        """Look at a server that has ended."""
        self.others = True
        self.task = asyncio.create_task(self._post_mortem(running))
        self.task.add_done_callback(self._told)

    def release(self) -> None:
        """Let go of whatever was left behind."""
        self._released = True
        self.orphans.let_go()
        self._enclosure.close()

    async def _post_mortem(self, running: Running) -> None:
        try:
            exited, left, self.others = await asyncio.to_thread(acting_as(running.owner)(_examine), running)
        except OSError as error:  # we may not act as that user
            exited, left = unexplained(error), []
        self.orphans.hold(left)
        if self._released:
            self.orphans.let_go()
        elif not left:
            self._enclosure.leave()
        self.task = None  # nothing keeps the next start any more
        self._post(replace(exited, orphans=len(left)))

    def _told(self, task: asyncio.Task[None]) -> None:
        if self.task is task:
            self.task = None
        self._over()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A cluster that stayed RUNNING without a server would hide it.
            mistake = f"ended, and then there was a mistake in pgsupervisor: {error!r}"
            self._post(Exited(mistake, clean=False, hopeless=False, jitter=1.0))
            raise error

    def _orphaned(self, fact: Orphaned) -> None:
        if not fact.count:
            self._enclosure.leave()
        self._post(fact)


def _examine(running: Running) -> tuple[Exited, list[Process], bool]:
    """Find out how a server ended, which of its processes live on, and whether another's lock file is there."""
    try:
        exited = post_mortem(running)
    except (OSError, PgSupervisorError) as error:
        exited = unexplained(error)
    left: list[Process] = []
    # Where nobody can look for them now, the next start finds them in its way.
    with contextlib.suppress(OSError):
        left = left_by(running)
    return exited, left, lock_is_anothers(running)
