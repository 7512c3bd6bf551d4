"""What happens in a directory, from the two who can tell: the kernel's inotify, and a look every second.

watchdog reads inotify. Of it we take the part that owns the one inotify instance and its one thread, and leave the
layer above, which has a thread for every directory, keeps a removal back for half a second in case it is half of a
rename, asks for writes wherever it asks for attributes, and does not pass on that the kernel's queue ran over.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import TypeAlias

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)
from watchdog.observers.polling import PollingObserver

from pgsupervisor.values import frozen

# That events were lost is made good for, and no news for an administrator.
logging.getLogger("watchdog.observers.inotify_c").setLevel(logging.ERROR)


class What(Enum):
    """A kind of happening."""

    ENTRY = auto()
    """A name was made, renamed to or from, removed, or has other attributes."""
    CONTENTS = auto()
    """The file of that name was written to."""
    EVERYTHING = auto()
    """Any name may be concerned: the directory has other attributes, or events were lost."""
    GONE = auto()
    """The directory was removed, moved away or unmounted."""


Tell: TypeAlias = Callable[[What, str], None]
"""Told, in a thread of the teller's, what happened and to which name (empty if to no single one)."""

End: TypeAlias = Callable[[], None]
"""Ends a watch, once."""

_ENTRIES = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
)
_WRITES = InotifyConstants.IN_MODIFY
"""Not IN_CLOSE_WRITE, which tells of whoever could have written: a server may open its lock file so once a minute, only
to read it."""
_GONE = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF | InotifyConstants.IN_UNMOUNT
_HOW = InotifyConstants.IN_ONLYDIR | InotifyConstants.IN_DONT_FOLLOW | InotifyConstants.IN_MASK_ADD
"""A directory has one mask, whoever asks: who asks for less must not take from who asked for more (inotify(7))."""

_WRITTEN_ONCE = Mask(InotifyConstants.IN_MODIFY | InotifyConstants.IN_ONESHOT | InotifyConstants.IN_DONT_FOLLOW)
"""What is asked of a file that is written to all the time."""

_NO_WATCH = WatchDescriptor(-1)

_POLLING_INTERVAL = 1.0
"""Seconds between two looks at a directory that the kernel does not watch for us."""

_POLLED: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileAttribEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
    DirAttribEvent,
]
"""What is told of a polled directory; that something in a directory below it has changed is not."""


class Inotify(InotifyFD):
    """One inotify instance and the thread that reads it.

    Raises OSError if the kernel has none left.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ids = itertools.count()

    def watch(self, path: str, tell: Tell, *, contents: bool) -> End:
        """Tell of what happens in a directory, with `contents` also that files in it are written to.

        Raises OSError; ENOSPC means that no watch is left.
        """
        return self._ask(path, Mask(_ENTRIES | _HOW | (_WRITES if contents else 0)), _Callback(tell))

    def once(self, path: str, tell: Callable[[], object]) -> End:
        """Tell, once, that a file has been written to.

        However busy the file is, no more comes of it until somebody asks again. Raises OSError, as `watch` does.
        """
        return self._ask(path, _WRITTEN_ONCE, _Once(tell))

    def _ask(self, path: str, mask: Mask, callback: WatchCallback) -> End:
        number = CallbackId(next(self._ids))
        descriptor = self.add_callback(os.fsencode(path), mask, callback, number)
        end = partial(self.remove_callbacks, [(descriptor, number)])
        if descriptor == _NO_WATCH:
            # watchdog keeps quiet about EACCES, and about this error alone (InotifyFD._raise_error).
            end()
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return end


class Polling:
    """Looks at directories every second, for want of anybody who tells."""

    def __init__(self) -> None:
        self._observer = PollingObserver(timeout=_POLLING_INTERVAL)

    def watch(self, path: str, tell: Tell) -> End:
        """Tell of what happens in a directory, writes included; at most one watch of a path at a time.

        Raises OSError if the directory cannot be read, or no thread can be started for it.
        """
        try:
            if not self._observer.is_alive():
                self._observer.start()
            watch = self._observer.schedule(_Handler(path, tell), path, event_filter=_POLLED)
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, f"{os.strerror(errno.EAGAIN)}: {error}", path) from error
        return partial(self._observer.unschedule, watch)

    def close(self) -> None:
        """Look no more."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()


@frozen
class _Callback:
    """What inotify says of one directory, put into our words."""

    tell: Tell

    def on_event(self, event: InotifyEvent) -> None:
        if event.mask & _GONE:
            self.tell(What.GONE, "")
        elif not event.name:
            self.tell(What.EVERYTHING, "")
        else:
            self.tell(What.CONTENTS if event.mask & _WRITES else What.ENTRY, os.fsdecode(event.name))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """Do nothing: the event before this one has told."""

    def on_queue_overflow(self) -> None:
        self.tell(What.EVERYTHING, "")


@frozen
class _Once:
    """That a file was written to, for one who waits for it."""

    tell: Callable[[], object]

    def on_event(self, event: InotifyEvent) -> None:
        """Do nothing: the kernel ends the watch with this event, and it is told that that is done."""

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002  # watchdog's
        self.tell()

    def on_queue_overflow(self) -> None:
        self.tell()


class _Handler(FileSystemEventHandler):
    """What polling finds in one directory, put into our words."""

    def __init__(self, path: str, tell: Tell) -> None:
        self._path = path
        self._tell = tell

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = {os.fsdecode(path) for path in (event.src_path, event.dest_path) if path}
        if self._path in paths:
            self._tell(What.GONE if isinstance(event, DirDeletedEvent) else What.EVERYTHING, "")
            return
        what = What.CONTENTS if isinstance(event, FileModifiedEvent) else What.ENTRY
        for path in paths:
            self._tell(what, os.path.basename(path))
