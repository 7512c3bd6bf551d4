"""Whose a cluster is: the OS user that its programs run as, and as whom its files are touched.

It is the one that is named. Where none is, root goes by whom the data directory belongs to, for PostgreSQL refuses to
run as root; and everybody else runs servers as himself.

A name leads where whoever may write the directories on the way wants it to lead. So an owner counts only if nobody
else could have put the directory there: or a link to somebody's cluster would be enough to have that in one's hands.

It is found out once for a thing that is done, such as a start with all of its steps (`found_once`), so that these agree
on it; and anew for the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from pgsupervisor.errors import ClusterError
from pgsupervisor.system.identity import NOBODY, User, acting_as, as_ourselves, our_uid, user
from pgsupervisor.system.safepath import nearest, owner, weakness


class _Found:
    """Whose clusters are, by their directories and the users that were named for them; until it is `over`."""

    def __init__(self) -> None:
        self.users: dict[tuple[str, str | None], User | None] = {}
        self.over = False


_found: ContextVar[_Found | None] = ContextVar("whose clusters are", default=None)


@contextlib.contextmanager
def found_once() -> Iterator[None]:
    """Do what follows, also what this task has done in threads meanwhile, with one answer to whose a cluster is."""
    outer = _found.get()
    if outer is not None and not outer.over:
        yield
        return
    found = _Found()
    former = _found.set(found)
    try:
        yield
    finally:
        found.over = True  # for the callbacks and tasks as well that have come of it, and inherit it
        _found.reset(former)


def run_as(data_directory: str, name: str | None) -> User | None:
    """Return the OS user that a cluster's programs run as; None for ourselves. `name` is the one that was named.

    Raises ClusterError if the user database does not know him, or nobody can say whom the data directory belongs to.
    """
    if not name and our_uid() != 0:
        return None
    found = _found.get()
    if found is None or found.over:
        return _find(data_directory, name)
    which = (data_directory, name)
    who = found.users.get(which)
    if who is None:  # nobody is no answer: the directory may be there in a moment, or its disk
        who = found.users[which] = _find(data_directory, name)
    return who


def touched_by(data_directory: str, name: str | None) -> User | None:
    """Return the user as whom root touches a cluster's files; None if we are not root, or nobody but root has them.

    Where it is not known whose they are, it is one without rights: who has them may be about to exchange them.
    """
    if our_uid() != 0:
        return None
    with contextlib.suppress(ClusterError, OSError):
        who = run_as(data_directory, name)
        if who is not None or _is_roots_alone(data_directory):
            return who
    return NOBODY


@contextlib.contextmanager
def as_owner(data_directory: str, name: str | None) -> Iterator[None]:
    """Do what follows in this thread to a cluster's files as its user, if we are root (see `identity.acting_as`)."""
    with found_once(), acting_as(touched_by(data_directory, name)):
        yield


@as_ourselves()
def _find(data_directory: str, name: str | None) -> User | None:
    name_or_uid = name or _owner(data_directory)
    if name_or_uid is None:
        return None
    try:
        return user(name_or_uid)
    except KeyError as error:
        raise ClusterError(
            f"there is no user {name_or_uid} on this machine to run {data_directory} as; "
            "name one that exists, or change the owner of the directory"
        ) from error


@as_ourselves()
def _is_roots_alone(data_directory: str) -> bool:
    return weakness(nearest(data_directory)) is None


def _owner(data_directory: str) -> int | None:
    """Return the number of the user that a data directory belongs to; None if that is root, or there is none."""
    try:
        uid, weak = owner(data_directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if uid and weak is not None:
        why = f"others could exchange {data_directory} for another directory: {weak.why}"
        raise ClusterError(f"{why}; name the user that its server shall run as, or {weak.remedy}")
    return uid or None
