"""Watched directories: "something happened to this name in there", told in the event loop.

Directories are watched, never files: a file that is replaced by a rename, as editors do, would take its watch
away with it. The kernel's inotify does the work, through watchdog: one inotify instance and, while nothing
happens, no wake-up. Where the kernel refuses (fs.inotify.max_user_watches is used up, the filesystem has no
events), the directory is looked at every second instead; that is worse, but a server that is never seen to become
ready would be worse still.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

# To end a watch while one of its events is on the way is no error, but watchdog says so (InotifyEmitter.queue_events).
logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)

_POLLING_INTERVAL = 1.0
"""Seconds between two looks at a directory that the kernel does not watch for us."""

_REFUSALS = {errno.ENOSPC, errno.EMFILE, errno.ENOSYS, errno.EOPNOTSUPP}
"""What inotify_init(2) and inotify_add_watch(2) answer when none is left, or none can be had there."""

_CHANGES: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirDeletedEvent,
]
"""What counts as a change. Opening and reading do not: a server's own reading must not look like an edit."""


Changed: TypeAlias = Callable[[], None]
"""Called in the event loop after something happened to a name; several changes may be told as one."""


class Watcher:
    """Watches names in directories, for one event loop and from within it.

    `inotify` makes watchdog's observer; a test may bring one that refuses.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, inotify: Callable[[], BaseObserver] = Observer) -> None:
        self._loop = loop
        self._polling: BaseObserver = PollingObserver(timeout=_POLLING_INTERVAL)
        self._directories: dict[str, _Directory] = {}
        try:
            self._inotify = inotify()
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            self._inotify = self._polling
        self._inotify.start()

    def watch(self, directory: str, name: str, changed: Changed) -> Changed:
        """Have `changed` called whenever `name` in `directory` is made, written, renamed or removed.

        Returns what ends that; after it was called, nothing is told any more. Raises OSError if there is no such
        directory, or it may not be looked at.
        """
        path = os.path.realpath(directory)
        watched = self._directories.get(path)
        if watched is None:
            watched = _Directory(self._loop, path, self._lost)
            watched.unschedule = self._schedule(watched)
            self._directories[path] = watched
        told = watched.names.setdefault(name, [])
        told.append(changed)

        def cancel() -> None:
            told.remove(changed)
            if not any(watched.names.values()):
                watched.unschedule()
                if self._directories.get(path) is watched:
                    del self._directories[path]

        return cancel

    def close(self) -> None:
        """End all watches and threads."""
        for observer in {self._inotify, self._polling}:
            if observer.is_alive():
                observer.stop()
                observer.join()

    def _lost(self, directory: _Directory) -> None:
        """Let go of a directory that was removed; if one is there again already, go on with that."""
        directory.unschedule()
        directory.unschedule = _nothing
        try:
            directory.unschedule = self._schedule(directory)
        except OSError:
            del self._directories[directory.path]

    def _schedule(self, directory: _Directory) -> Callable[[], None]:
        try:
            watch = self._inotify.schedule(directory, directory.path, event_filter=_CHANGES)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            if not self._polling.is_alive():
                self._polling.start()
            watch = self._polling.schedule(directory, directory.path, event_filter=_CHANGES)
            return partial(self._polling.unschedule, watch)
        return partial(self._inotify.unschedule, watch)


class _Directory(FileSystemEventHandler):
    """One watched directory, and whom to call for which name in it; calls `lost` when it was removed itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, lost: Callable[[_Directory], None]) -> None:
        self.path = path
        self.names: dict[str, list[Changed]] = {}
        self.unschedule: Callable[[], None] = _nothing
        self._loop = loop
        self._lost = lost

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Carry an event over into the loop; called in a thread of watchdog's."""
        self._loop.call_soon_threadsafe(self._tell, os.fsdecode(event.src_path), os.fsdecode(event.dest_path))

    def _tell(self, *paths: str) -> None:
        names = {os.path.basename(path) for path in paths}
        if self.path in paths and any(self.names.values()):
            self._lost(self)
            names = set(self.names)
        for name in names:
            for changed in tuple(self.names.get(name, ())):
                changed()


def _nothing() -> None:
    """Do nothing."""
