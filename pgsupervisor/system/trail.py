"""The trail of a path: the places at which it may come to mean something else.

What a path leads to changes not only where it ends. A symbolic link on the way is pointed elsewhere (a Kubernetes
ConfigMap swaps its link `..data`, and no file is touched); a directory is renamed away and another put in its place,
which tells its own watch nothing of the new one; a directory that was missing is made. Each place is a name in a real
directory, which is what a Watcher can watch. The trail is a picture of the moment: whoever is told of a change at one
of its places takes it anew.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

_MOST_LINKS = 40
"""Symbolic links that the kernel follows in one path (path_resolution(7)); the next one is ELOOP."""


@dataclass(frozen=True, slots=True)
class Place:
    """A `name` (None: any name) in a real `directory` (absolute, without links); with `contents`, writes count."""

    directory: str
    name: str | None
    contents: bool


def trail(path: str) -> tuple[Place, ...]:
    """Return the places at which an absolute path may come to mean something else, or its file something else to say.

    Every directory in it exists at this moment; one that may not be read cannot be watched, but the directory
    above it, which is in the trail, tells when that changes.
    """
    links, end = _walk(path)
    return _places(links, end)


def trail_into(path: str) -> tuple[Place, ...]:
    """Return the places of a directory that is of interest as a whole: its trail, and any name in it."""
    links, end = _walk(path)
    directory = os.path.join(end.directory, end.name or "")
    if not (end.contents and os.path.isdir(directory)):
        return _places(links, Place(end.directory, end.name, contents=False))
    return _places(links, Place(directory, None, contents=True))


def _places(links: list[Place], end: Place) -> tuple[Place, ...]:
    """Return all places once: those of the links, the end, and the name of the end's directory in the one above."""
    above, name = os.path.split(end.directory)
    return tuple(dict.fromkeys([*links, end, *([Place(above, name, contents=False)] if name else [])]))


def _walk(path: str) -> tuple[list[Place], Place]:
    """Go along a path as the kernel does; return the places of its links, and the place where it ends.

    It ends early at a name that is missing, that is no directory though it should be, that may not be searched, or
    that is a link too many. Only a last name has contents.
    """
    links: list[Place] = []
    here, names = "/", _names(path)
    while names:
        name = names.pop(0)
        if name == "..":
            here = os.path.dirname(here)
            continue
        try:
            target = os.readlink(os.path.join(here, name))
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there, and no link
                here = os.path.join(here, name)
                continue
            if error.errno in {errno.ENOTDIR, errno.EACCES}:
                return links, _place(here, contents=False)
            return links, Place(here, name, contents=not names)
        links.append(Place(here, name, contents=False))
        if len(links) > _MOST_LINKS:
            return links, links[-1]
        here = "/" if target.startswith("/") else here
        names = _names(target) + names
    return links, _place(here, contents=True)


def _place(path: str, *, contents: bool) -> Place:
    return Place(*os.path.split(path), contents)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in {"", "."}]
