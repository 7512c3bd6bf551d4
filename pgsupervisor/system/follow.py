"""A file that is followed: wherever its path leads, and whatever becomes of the directories on the way.

A watch belongs to a directory, and another directory may have its name by now. So whenever something happened on the
trail of the path, the trail is taken anew; but not after a mere write to the file, which leads nowhere else by that.
"""

from __future__ import annotations

import contextlib

from pgsupervisor.system.trail import Place, trail
from pgsupervisor.system.watch import Changed, Watcher

_ROUNDS = 5
"""How often a trail is taken that changes while it is being watched. Events tell of what changes faster than that."""


class Followed:
    """Has `changed` called when the file at `path` (absolute) may say something else; lives in the watcher's loop."""

    def __init__(self, watcher: Watcher, path: str, changed: Changed) -> None:
        self._watcher = watcher
        self._path = path
        self._changed = changed
        self._cancels: list[Changed] = []
        self._closed = False
        self._follow()

    def close(self) -> None:
        """Follow it no more; nothing is told any more."""
        self._closed = True
        self._watch(())

    def _follow(self) -> None:
        places: tuple[Place, ...] = ()
        for _ in range(_ROUNDS):
            # What changed before it was watched was told by nobody.
            if places == (places := trail(self._path)):
                break
            self._watch(places)

    def _watch(self, places: tuple[Place, ...]) -> None:
        before, self._cancels = self._cancels, []
        for place in places:
            # A directory that is gone at this moment, or not ours to read: what is above it tells of a change.
            with contextlib.suppress(OSError):
                self._cancels.append(self._watcher.watch_place(place, self._happened, self._changed))
        # The old ones go after the new ones came: a directory that is in both stays watched all the time.
        for cancel in before:
            cancel()

    def _happened(self) -> None:
        if not self._closed:
            self._follow()
            self._changed()
