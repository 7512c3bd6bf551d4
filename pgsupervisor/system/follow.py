"""A file that is followed: wherever its path leads, and whatever becomes of the directories on the way.

A watch belongs to a directory, and another directory may have its name by now. So whenever something happened on the
trail of the path, the trail is taken anew, and watched if it leads elsewhere, or if a directory on it was another. But
what happens to the file alone leads nowhere else, unless there is a link in its place.
"""

from __future__ import annotations

import contextlib
import os

from pgsupervisor.system.trail import Place, trail
from pgsupervisor.system.watch import Changed, Watch, Watcher

_ROUNDS = 5
"""How often a trail is taken that changes while it is being watched. Events tell of what changes faster than that."""


class Followed:
    """Has `changed` called when the file at `path` (absolute) may say something else; lives in the watcher's loop."""

    def __init__(self, watcher: Watcher, path: str, changed: Changed) -> None:
        self._watcher = watcher
        self.path = path
        self._changed = changed
        self._places: tuple[Place, ...] = ()
        self._watches: list[Watch] = []
        self._closed = False
        self._follow()

    def close(self) -> None:
        """Follow it no more; nothing is told any more."""
        self._closed = True
        self._watch(())

    def _follow(self) -> None:
        watched = self._places if self._all_is_told else ()
        for _ in range(_ROUNDS):
            # What changed before it was watched was told by nobody.
            if watched == (watched := trail(self.path)):
                break
            self._watch(watched)

    @property
    def _all_is_told(self) -> bool:
        """Whether whatever happens at the places is told, so that none need be watched anew."""
        return len(self._watches) == len(self._places) and all(watch.holds() for watch in self._watches)

    def _watch(self, places: tuple[Place, ...]) -> None:
        before, self._watches, self._places = self._watches, [], places
        for place in places:
            # A directory that is gone at this moment, or not ours to read: what is above it tells of a change.
            with contextlib.suppress(OSError):
                renewed = self._renewed if place.contents else None
                self._watches.append(self._watcher.watch_place(place, self._happened, renewed))
        # The old ones go after the new ones came: a directory that is in both stays watched all the time.
        for watch in before:
            watch.cancel()

    def _renewed(self) -> None:
        directory, name, _ = self._places[-1]
        if name is None or os.path.islink(os.path.join(directory, name)):
            self._happened()
        else:
            self._changed()

    def _happened(self) -> None:
        if not self._closed:
            self._follow()
            self._changed()
