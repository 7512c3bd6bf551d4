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
from typing import NamedTuple, TypeAlias

_MOST_NAMES = 256
"""Names on the way that are watched, links and directories; who owns them could have a path lead through any number."""

_MOST_LINKS = 40
"""Symbolic links that the kernel follows in one path (path_resolution(7)); the next one is ELOOP."""


Seen: TypeAlias = dict[str, str | int | None]
"""What names were found to be, by path: where a link leads to, or the errno of readlink(2); EINVAL is no link."""


class Place(NamedTuple):
    """A `name` (None: any name) in a real `directory` (absolute, without links); with `contents`, writes count."""

    directory: str
    name: str | None
    contents: bool


def trail(path: str, seen: Seen | None = None) -> tuple[Place, ...]:
    """Return the places at which an absolute path may come to mean something else, or its file something else to say.

    They are the names of all directories and links on the way, and of the file. Every directory in it exists at this
    moment; one that may not be read cannot be watched, but the directory above it tells when that changes.

    Trails that are taken one after the other, and make one picture, share what was `seen`.
    """
    way, end = _walk(path, seen)
    return tuple(dict.fromkeys([*way, end]))


def trail_into(path: str, seen: Seen | None = None) -> tuple[Place, ...]:
    """Return the places of a directory that is of interest as a whole: its trail, and any name in it."""
    way, end = _walk(path, seen)
    directory = os.path.join(end.directory, end.name or "")
    inside = [Place(directory, None, contents=True)] if end.contents and os.path.isdir(directory) else []
    named = [Place(end.directory, end.name, contents=False)] if end.name else []
    return tuple(dict.fromkeys([*way, *named, *inside]))


def _walk(path: str, seen: Seen | None) -> tuple[list[Place], Place]:
    """Go along a path as the kernel does; return the places on the way, and the one where it ends.

    It ends early at a name that is missing, that is no directory though it should be, that may not be searched, or
    that is a link or a name too many. Only a last name has contents.
    """
    seen = {} if seen is None else seen
    way: list[Place] = []
    links = 0
    here, names = "/", _names(path)
    while names:
        if len(way) == _MOST_NAMES:
            return way, way[-1]
        name = names.pop(0)
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = f"{here}/{name}" if here != "/" else f"/{name}"
        if (target := seen.get(there)) is None:
            target = seen[there] = _target(there)
        if not isinstance(target, str):
            place = Place(here, name, contents=not names)
            if target in {errno.ENOTDIR, errno.EACCES} and way:
                return way, way[-1]
            if target != errno.EINVAL or not names:
                return way, place
            way.append(place)  # it is there, and no link
            here = there
            continue
        way.append(Place(here, name, contents=False))
        links += 1
        if links > _MOST_LINKS:
            return way, way[-1]
        here = "/" if target.startswith("/") else here
        names = _names(target) + names
    return way, Place(*os.path.split(here), contents=True)


def _target(path: str) -> str | int | None:
    try:
        return os.readlink(path)
    except OSError as error:
        return error.errno


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in {"", "."}]
