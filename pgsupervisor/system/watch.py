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

_POLLING_INTERVAL = 1.0
"""Seconds between two looks at a directory that the kernel does not watch for us."""

_REFUSALS = {errno.ENOSPC, errno.EMFILE, errno.ENOSYS, errno.EOPNOTSUPP}
"""What inotify_add_watch(2) answers when it has no watch left, or cannot watch such a filesystem."""

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
    """Watches names in directories, for one event loop and from within it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inotify: BaseObserver = Observer()
        self._polling: BaseObserver = PollingObserver(timeout=_POLLING_INTERVAL)
        self._directories: dict[str, _Directory] = {}
        self._inotify.start()

    def watch(self, directory: str, name: str, changed: Changed) -> Changed:
        """Have `changed` called whenever `name` in `directory` is made, written, renamed or removed.

        Returns what ends that; after it was called, nothing is told any more. Raises OSError if there is no such
        directory, or it may not be looked at.
        """
        path = os.path.realpath(directory)
        watched = self._directories.get(path)
        if watched is None or watched.gone:
            watched = self._directories[path] = _Directory(self._loop, path)
            watched.unschedule = self._schedule(watched)
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
        for observer in (self._inotify, self._polling):
            if observer.is_alive():
                observer.stop()
                observer.join()

    def _schedule(self, directory: _Directory) -> Changed:
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
    """One watched directory, and whom to call for which name in it; `gone` once it was removed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self.path = path
        self.gone = False
        self.names: dict[str, list[Changed]] = {}
        self.unschedule: Changed = lambda: None
        self._loop = loop

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Carry an event over into the loop; called in a thread of watchdog's."""
        self._loop.call_soon_threadsafe(self._tell, os.fsdecode(event.src_path), os.fsdecode(event.dest_path))

    def _tell(self, *paths: str) -> None:
        self.gone = self.gone or self.path in paths
        for name in {os.path.basename(path) for path in paths}:
            for changed in tuple(self.names.get(name, ())):
                changed()
