"""Watched directories: "something happened to this name in there", told in the event loop.

Directories are watched, never files: a file that is replaced by a rename, as editors do, would take its watch
away with it. All names of a directory share one watch, and all directories one inotify instance and its one thread,
which sleeps while nothing happens. Where inotify is refused (fs.inotify.max_user_watches is used up) or would keep
silent about other machines' changes (NFS), the directory is looked at every second instead; that is worse, but a
server that is never seen to become ready would be worse still. Whoever watches a name in it again, as after each change
of a configuration, has the kernel asked again.

A watch belongs to a path. When its directory is removed or moved away, all that listen are told, and another
directory that has the path by then is watched in its place; if there is none, the watch is at its end, and whoever
is told watches anew when the path is back. That it is back, its parent tells (see `trail`).

A thousand clusters have the same directories above them. So whoever listens is found by the name he listens to, and it
costs the same to come, to leave and to be told, however many others there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TypeAlias

from pgsupervisor.system.happenings import End, Inotify, Polling, What
from pgsupervisor.system.remote import remote_filesystem
from pgsupervisor.system.trail import Place

_REFUSALS = {
    errno.ENOSPC: "inotify has no watch left: raise fs.inotify.max_user_watches",
    errno.EMFILE: "inotify has no instance left: raise fs.inotify.max_user_instances, or the limit of open files",
    errno.ENOSYS: "this kernel has no inotify",
    errno.EOPNOTSUPP: "this filesystem has no inotify",
}
"""What inotify_init(2) and inotify_add_watch(2) answer when none is left, or none can be had there."""

_UNTOLD = 5.0
"""Seconds after which a file counts as written to, if the kernel does not tell."""

_ENTRIES = frozenset({What.ENTRY, What.EVERYTHING, What.GONE})
_WRITES = _ENTRIES | {What.CONTENTS}
"""What those want to know who are not told of writes, and who are."""

_OF_A_NAME = frozenset({What.ENTRY, What.CONTENTS})

Changed: TypeAlias = Callable[[], None]
"""Called in the event loop after something happened to a name; several changes may be told as one."""


class Watcher:
    """Watches names in directories, for one event loop and from within it.

    `refused` is called with a directory and the reason when that directory begins to be polled. `inotify` makes the
    inotify instance, and `remote` names the filesystem of an st_dev if other machines can change it unseen; a test may
    bring its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        refused: Callable[[str, str], None] = lambda _directory, _why: None,
        *,
        inotify: Callable[[], Inotify] = Inotify,
        remote: Callable[[int], str | None] = remote_filesystem,
    ) -> None:
        self._loop = loop
        self._refused = refused
        self._remote = remote
        self._directories: dict[str, _Directory] = {}
        self._growths: set[_Growth] = set()
        self._coming: dict[_News, None] = {}
        self._comes = threading.Lock()
        self._polling = Polling()
        self._no_inotify: str | None = None
        self._inotify: Inotify | None = None
        try:
            self._inotify = inotify()
            self._inotify.start()
        except OSError as error:
            self._no_inotify = _refusal(error)

    def watch(self, directory: str, name: str | None, changed: Changed, *, contents: bool = True) -> Changed:
        """Have `changed` called whenever `name` in `directory` is made, written, renamed, removed or given attributes.

        A `name` of None is any name. Without `contents`, writing to a file that is there is not told (and a busy file
        wakes nobody, unless another asked for it). Reading never is. Returns what ends that; after it was called,
        nothing is told any more. Raises OSError if there is no such directory, or it may not be read.
        """
        return self.watch_place(Place(os.path.realpath(directory), name, contents), changed).cancel

    def watch_place(self, place: Place, changed: Changed, renewed: Changed | None = None) -> Watch:
        """Watch a place of a trail, as `watch` does: its directory is a real one, and is not looked for again.

        `renewed` is called instead of `changed` when the name alone is concerned, and the directory is the same.
        """
        watched = self._watched(place.directory, contents=place.contents)
        kinds = _WRITES if place.contents else _ENTRIES
        watch = Watch(watched, place.name, kinds, changed, renewed or changed)
        watched.add(watch)
        return watch

    def growth(self, path: str, grown: Changed) -> Changed:
        """Have `grown` called, once, when a file is written to; where the kernel does not tell, in a few seconds.

        Whatever is written afterwards is not told until it is asked for again, so that a busy file costs nothing.
        Returns what ends the wait. Raises OSError if there is no such file.
        """
        waiting = _Growth(grown, self._growths)
        try:
            waiting.end = self._once(path, partial(self._loop.call_soon_threadsafe, waiting.tell))
        except OSError as error:
            _refusal(error)
            waiting.end = self._loop.call_later(_UNTOLD, waiting.tell).cancel
        self._growths.add(waiting)
        return waiting.cancel

    def polling(self, directory: str) -> str | None:
        """Return why a directory, a real path, is polled; None if it is not, or not watched at all."""
        watched = self._directories.get(directory)
        return None if watched is None else watched.polled

    def close(self) -> None:
        """End all watches and threads."""
        for watched in self._directories.values():
            watched.names.clear()
        self._directories.clear()
        for growth in tuple(self._growths):
            growth.cancel()
        self._polling.close()
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join()

    def _once(self, path: str, tell: Callable[[], object]) -> End:
        if self._inotify is None:
            os.lstat(path)
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)
        return self._inotify.once(path, tell)

    def _watched(self, path: str, *, contents: bool) -> _Directory:
        """Return the directory that has a path now, watched, and with `contents` also for writes."""
        watched = self._directories.get(path)
        if watched is not None and watched.identity != _identity(path):
            self._follow(watched)
            self._loop.call_soon(self._tell, watched, What.EVERYTHING, "")
            watched = self._directories.get(path)
        if watched is None:
            watched = _Directory(path, self._directories)
            self._begin(watched, contents=contents)
            self._directories[path] = watched
        elif self._inotify is not None and watched.polled == _REFUSALS[errno.ENOSPC]:
            self._poll_no_more(watched, self._inotify)
        elif contents and not watched.contents:
            end_narrower = watched.end
            self._begin(watched, contents=True)
            end_narrower()
        return watched

    def _begin(self, watched: _Directory, *, contents: bool) -> None:
        """Watch the directory that has the path now; what went before is not ended."""
        identity = _identity(watched.path)  # of before: should it be another's in a moment, that is noticed
        hear = partial(self._hear, watched)
        why = self._no_inotify or self._foreign(identity[0])
        if self._inotify is not None and why is None:
            try:
                watched.end = self._inotify.watch(watched.path, hear, contents=contents)
            except OSError as error:
                why = _refusal(error)
        if why is not None:
            contents = True
            watched.end = self._polling.watch(watched.path, hear)
            if watched.polled != why:
                self._refused(watched.path, why)
        watched.identity, watched.contents, watched.polled = identity, contents, why

    def _poll_no_more(self, watched: _Directory, inotify: Inotify) -> None:
        """Have the kernel tell of a polled directory, if it has a watch left by now."""
        with contextlib.suppress(OSError):
            end = inotify.watch(watched.path, partial(self._hear, watched), contents=True)
            watched.end()
            watched.end, watched.polled = end, None
            # Something may have happened since it was looked at the last time.
            self._loop.call_soon(self._tell, watched, What.EVERYTHING, "")

    def _foreign(self, device: int) -> str | None:
        kind = self._remote(device)
        return None if kind is None else f"inotify does not see what other machines change on {kind}"

    def _follow(self, watched: _Directory) -> None:
        """Let go of a directory that is gone; if another has its path, go on with that."""
        watched.end()
        try:
            self._begin(watched, contents=watched.contents)
        except OSError:
            del self._directories[watched.path]

    def _hear(self, watched: _Directory, what: What, name: str) -> None:
        """Carry over into the loop what somebody wants to know; called in the thread of inotify or of polling.

        What is on its way there already is not sent once more: whoever owns a directory makes more happen in it than
        the loop could hear of, and all of that would wait in our memory. And the loop is woken once for all that is.
        """
        wanted = watched.wanted(what, name)
        if wanted is None:
            return
        with self._comes:
            wakes = not self._coming
            self._coming[(watched, what, wanted)] = None
        if wakes:
            self._loop.call_soon_threadsafe(self._tell_all)

    def _tell_all(self) -> None:
        # First: what happens from now on is news again.
        with self._comes:
            coming, self._coming = self._coming, {}
        for news in coming:
            # Each by itself: a mistake of one who is told must not cost the others their news.
            self._loop.call_soon(self._tell, *news)

    def _tell(self, watched: _Directory, what: What, name: str) -> None:
        if what is What.GONE and self._directories.get(watched.path) is watched:
            self._follow(watched)
        for listener in watched.concerned(what, name):
            if not listener.cancelled and what in listener.kinds:
                listener.tell(what)


@dataclass(slots=True, eq=False)
class Watch:
    """Somebody's watch of a name in a directory (None: of any), for some `kinds` of happenings."""

    watched: _Directory
    name: str | None
    kinds: frozenset[What]
    changed: Changed
    renewed: Changed

    def holds(self) -> bool:
        """Tell whether all is told that happens in the directory that has the path now; to be asked in any thread."""
        watched = self.watched
        if watched.polled is not None or watched.among.get(watched.path) is not watched:
            return False
        with contextlib.suppress(OSError):
            return watched.identity == _identity(watched.path)
        return False

    @property
    def cancelled(self) -> bool:
        """Whether it is to be told nothing any more."""
        named = self.watched.names.get(self.name)
        return named is None or self not in named.listeners

    def tell(self, what: What) -> None:
        """Tell it what happened."""
        # What polling finds may as well be in another directory.
        (self.renewed if what in _OF_A_NAME and self.watched.polled is None else self.changed)()

    def cancel(self) -> None:
        """Listen no more."""
        if not self.cancelled:
            self.watched.remove(self)


@dataclass(slots=True, eq=False)
class _Growth:
    """One of those who wait for a file to be written to, once."""

    grown: Changed
    waiting: set[_Growth]
    end: End = lambda: None

    def tell(self) -> None:
        """Say that it was."""
        if self in self.waiting:
            self.cancel()
            self.grown()

    def cancel(self) -> None:
        """Wait no more."""
        if self in self.waiting:
            self.waiting.remove(self)
            self.end()


@dataclass(slots=True, eq=False)
class _Name:
    """Who listens to one name, in the order in which they came, and all kinds that these want to know of.

    What was wanted by one who has left stays in `kinds` until all have, as it does in the kernel: to go through all
    those who stay would take too long.
    """

    kinds: frozenset[What]
    listeners: dict[Watch, None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Directory:
    """One watched directory `among` others, and its names that somebody listens to (None: to any).

    Only the loop changes these. Other threads do nothing but to look a name up, and to read its `kinds`, which are
    replaced, never changed: each is one step for Python, so they see what was before a change or what is after it.
    """

    path: str
    among: dict[str, _Directory]
    names: dict[str | None, _Name] = field(default_factory=dict)
    identity: tuple[int, int] = (0, 0)
    contents: bool = False
    polled: str | None = None
    end: End = lambda: None

    def add(self, listener: Watch) -> None:
        """Have somebody listen."""
        named = self.names.get(listener.name)
        if named is None:
            named = self.names[listener.name] = _Name(listener.kinds)
        elif not listener.kinds <= named.kinds:
            named.kinds |= listener.kinds
        named.listeners[listener] = None

    def remove(self, listener: Watch) -> None:
        """Have somebody listen no more; the last one ends the watch."""
        named = self.names[listener.name]
        del named.listeners[listener]
        if named.listeners:
            return
        del self.names[listener.name]
        if not self.names and self.among.get(self.path) is self:
            del self.among[self.path]
            self.end()

    def wanted(self, what: What, name: str) -> str | None:
        """Return which name to tell of; None if nobody wants to know. To be asked in any thread."""
        if what is What.EVERYTHING or what is What.GONE:
            return "" if self.names else None
        # Who hears of any name need not hear which.
        for each in (name, None):
            named = self.names.get(each)
            if named is not None and what in named.kinds:
                return each or ""
        return None

    def concerned(self, what: What, name: str) -> tuple[Watch, ...]:
        """Return whom it may concern."""
        if what is What.EVERYTHING or what is What.GONE:
            return tuple(chain.from_iterable(named.listeners for named in self.names.values()))
        found = (self.names.get(each) for each in (name, None))
        return tuple(chain.from_iterable(named.listeners for named in found if named is not None))


_News: TypeAlias = tuple[_Directory, What, str]
"""What happened in which directory, and to which name (empty: to any)."""


def _identity(path: str) -> tuple[int, int]:
    """Return the device and the inode that a path leads to."""
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino


def _refusal(error: OSError) -> str:
    """Return why inotify is refused, or raise the error if it is another one."""
    why = _REFUSALS.get(error.errno or 0)
    if why is None:
        raise error
    return why
