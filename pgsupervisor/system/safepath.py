"""Safe paths: what a path leads to can be changed by nobody but root and ourselves.

Whoever may write a directory may rename whatever is in it, a directory too, and put something of his own in its place.
So it is not enough to look at the last one: every directory on the way counts, and every symbolic link, as for sshd(8)
(StrictModes; safe_path in misc.c). In a sticky directory, such as /tmp, an entry can be renamed by its owner alone
(inode(7)): that will do for what is above. What is granted by an access control list shows in the bits of the group
(acl(5)), so the mode tells of that as well.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass

from pgsupervisor.system.trail import trail_into

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True)
class Weakness:
    """Why a path is not safe, and what makes it so."""

    why: str
    remedy: str


def make_safe_directory(path: str) -> Weakness | None:
    """Make the directory `path` (absolute), which only we can write, with those above that are missing; all get 0755.

    Return why it is not safe, if it is not; nothing is made then where others could have put it.

    Raises OSError. Sets the umask for the moment, which all threads have in common.
    """
    missing: list[str] = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    former = os.umask(0o022)
    try:
        for directory in reversed(missing):
            if (weak := weakness(path, entries_only=True)) is not None:
                return weak
            os.mkdir(directory)
            path = directory
    finally:
        os.umask(former)
    return weakness(path)


def weakness(directory: str, *, entries_only: bool = False) -> Weakness | None:
    """Tell how others could change what an existing `directory` is, or has in it; None if they cannot.

    With `entries_only` it may be a sticky one: others may put something there, but change nothing of ours.

    Raises OSError if it is not there, or cannot be looked at.
    """
    end = os.path.realpath(directory, strict=True)
    for place in trail_into(directory):
        named = place.directory if place.name is None else os.path.join(place.directory, place.name)
        weak = _of_owner(named) or _of_mode(place.directory, sticky_will_do=entries_only or place.directory != end)
        if weak is not None:
            return weak
    return None


def _of_owner(path: str) -> Weakness | None:
    uid, ours = os.lstat(path).st_uid, os.geteuid()
    if uid in {0, ours}:
        return None
    return Weakness(f"{path} belongs to {user_name(uid)}", f"do `chown -h {user_name(ours)} {path}`")


def _of_mode(directory: str, *, sticky_will_do: bool) -> Weakness | None:
    mode = os.lstat(directory).st_mode
    sticky = bool(mode & stat.S_ISVTX)
    if not mode & _BY_OTHERS or (sticky and sticky_will_do):
        return None
    why = f"others may write in {directory} (its mode is {stat.S_IMODE(mode):04o})"
    return Weakness(why, "use a directory below it" if sticky else f"do `chmod go-w {directory}`")
