"""Safe paths: what a path leads to can be changed by nobody but root and one user, as a rule ourselves.

Whoever may write a directory may rename whatever is in it, a directory too, and put something of his own in its place.
So it is not enough to look at the last one: every directory on the way counts, and every symbolic link, as for sshd(8)
(StrictModes; safe_path in misc.c). In a sticky directory, such as /tmp, an entry can be renamed by its owner alone
(inode(7)): that will do for what is above. What is granted by an access control list shows in the bits of the group
(acl(5)), so the mode tells of that as well.

That a group may write is no danger if nobody else is in it: with Debian and Fedora each user has a group of his own,
and a umask that lets it write. Nor, for what is above, is a group of the system's without people in it, through which
its programs share a directory of root's, as Ubuntu's /var/log is shared with rsyslogd.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator

from pgsupervisor.system.identity import User, acting_as, as_ourselves
from pgsupervisor.system.trail import trail_into
from pgsupervisor.values import frozen

_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_FIRST_OF_PEOPLE = 1000
"""The first number of a user who is no account of the system's (login.defs(5))."""

_GROUPS_OF_ANYBODY = frozenset({0, 100})
"""Groups with people in them who are not listed: root's, as which containers run any user, and SUSE's `users`."""


def nearest(path: str) -> str:
    """Return a directory at an absolute path, or the nearest one above it that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


@contextlib.contextmanager
def acting_in(directory: str, who: User | None) -> Iterator[None]:
    """Do what follows in this thread to the entries of a directory as ourselves, if nobody else can; else as `who`.

    Raises OSError if the directory is not there, or we may not act as `who`.
    """
    with as_ourselves():
        safe = weakness(directory) is None
    with as_ourselves() if safe else acting_as(who):
        yield


def user_name(uid: int) -> str:
    """Return the name of a user, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@frozen
class Weakness:
    """Why a path is not safe, and what makes it so; `whose` is the number of the one user who can change it, if any."""

    why: str
    remedy: str
    whose: int | None = None


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


def weakness(path: str, *, whose: int | None = None, entries_only: bool = False) -> Weakness | None:
    """Tell how others could change what an existing directory, or file, is or has in it; None if they cannot.

    Others are all but root and the user with the number `whose` (None: we ourselves). With `entries_only` it may be
    one that counts as what is above, such as a sticky one: others may put something there, but change nothing of ours.

    Raises OSError if it is not there, or cannot be looked at.
    """
    uid = os.geteuid() if whose is None else whose
    end = os.path.realpath(path, strict=True)
    for place in trail_into(path):
        named = place.directory if place.name is None else os.path.join(place.directory, place.name)
        weak = _of_owner(named, uid) or _of_mode(place.directory, uid, above=entries_only or place.directory != end)
        if weak is not None:
            return weak
    return None if os.path.isdir(end) else _of_mode(end, uid, above=False)


def owner(directory: str) -> tuple[int, Weakness | None]:
    """Return the number of the user to whom a directory belongs, and how anybody else but root could exchange it.

    Who can do that by a link could make himself be taken for the owner of what is another's, or the other way round.

    Raises OSError if it is not there, or cannot be looked at.
    """
    uid = os.stat(directory).st_uid
    return uid, weakness(directory, whose=uid, entries_only=True)


def _of_owner(path: str, whose: int) -> Weakness | None:
    uid = os.lstat(path).st_uid
    if uid in {0, whose}:
        return None
    return Weakness(f"{path} belongs to {user_name(uid)}", f"do `chown -h {user_name(whose)} {path}`", uid)


def _of_mode(directory: str, whose: int, *, above: bool) -> Weakness | None:
    facts = os.lstat(directory)
    mode = facts.st_mode
    sticky = bool(mode & stat.S_ISVTX)
    if not mode & _BY_OTHERS or (sticky and above):
        return None
    by_group_alone = not mode & stat.S_IWOTH and not _has_access_control_list(directory)
    if by_group_alone and _is_nobody_else(facts.st_gid, whose, system_will_do=above and facts.st_uid == 0):
        return None
    why = f"others may write in {directory} (its mode is {stat.S_IMODE(mode):04o})"
    return Weakness(why, "use a directory below it" if sticky else f"do `chmod go-w {directory}`")


def _has_access_control_list(path: str) -> bool:
    """Tell whether the bits of the group may be somebody else's, too, or cannot be known not to be (NFS)."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return True


def _is_nobody_else(gid: int, whose: int, *, system_will_do: bool) -> bool:
    """Tell whether a group is a user's own, as useradd(8) makes it, or else has only the system's accounts in it.

    That can be told by its name, number and list alone: all users of a network cannot be gone through.
    """
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    if gid in _GROUPS_OF_ANYBODY:
        return False
    own = group.gr_name == user_name(whose) and set(group.gr_mem) <= {group.gr_name}
    return own or (system_will_do and gid < _FIRST_OF_PEOPLE and all(map(_is_of_system, group.gr_mem)))


def _is_of_system(name: str) -> bool:
    try:
        return pwd.getpwnam(name).pw_uid < _FIRST_OF_PEOPLE
    except KeyError:
        return False
