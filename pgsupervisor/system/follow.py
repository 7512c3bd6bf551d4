"""A file that is followed: wherever its path leads, and whatever becomes of the directories on the way.

A watch belongs to a directory, and another directory may have its name by now. So whenever something happened on the
trail of the path, the trail is taken anew.
"""

from __future__ import annotations

import contextlib

from pgsupervisor.system.trail import trail
from pgsupervisor.system.watch import Changed, Watcher


class Followed:
    """Has `changed` called when the file at `path` (absolute) may say something else; lives in the watcher's loop."""

    def __init__(self, watcher: Watcher, path: str, changed: Changed) -> None:
        self._watcher = watcher
        self._path = path
        self._changed = changed
        self._cancel = contextlib.ExitStack()
        self._closed = False
        self._watch()

    def close(self) -> None:
        """Follow it no more; nothing is told any more."""
        self._closed = True
        self._cancel.close()

    def _watch(self) -> None:
        with contextlib.ExitStack() as watched:
            for place in trail(self._path):
                # A directory that is gone at this moment, or not ours to read: what is above it tells of a change.
                with contextlib.suppress(OSError):
                    watched.callback(
                        self._watcher.watch(place.directory, place.name, self._happened, contents=place.contents)
                    )
            # The old ones go after the new ones came: a directory that is in both stays watched all the time.
            self._cancel.close()
            self._cancel = watched.pop_all()

    def _happened(self) -> None:
        if not self._closed:
            self._watch()
            self._changed()
