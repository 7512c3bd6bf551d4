"""Whose a cluster is: the OS user that its programs run as, and as whom its files are touched.

It is the one that is named. Where none is, root goes by whom the data directory belongs to, for PostgreSQL refuses to
run as root; and everybody else runs servers as himself.

A name leads where whoever may write the directories on the way wants it to lead. So an owner counts only if nobody
else could have put the directory there: or a link to somebody's cluster would be enough to have that in one's hands.
"""

from __future__ import annotations

import contextlib
import os

from pgsupervisor.errors import ClusterError
from pgsupervisor.system.identity import NOBODY, User, acting_as, as_ourselves, user
from pgsupervisor.system.safepath import nearest, owner, weakness


@as_ourselves()
def run_as(data_directory: str, name: str | None) -> User | None:
    """Return the OS user that a cluster's programs run as; None for ourselves. `name` is the one that was named.

    Raises ClusterError if the user database does not know him, or nobody can say whom the data directory belongs to.
    """
    name_or_uid = name or (_owner(data_directory) if os.geteuid() == 0 else None)
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
def touched_by(data_directory: str, name: str | None) -> User | None:
    """Return the user as whom root touches a cluster's files; None if we are not root, or nobody but root has them.

    Where it is not known whose they are, it is one without rights: who has them may be about to exchange them.
    """
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(ClusterError, OSError):
        who = run_as(data_directory, name)
        if who is not None or weakness(nearest(data_directory)) is None:
            return who
    return NOBODY


def as_owner(data_directory: str, name: str | None) -> contextlib.AbstractContextManager[None]:
    """Do what follows in this thread to a cluster's files as its user, if we are root (see `identity.acting_as`)."""
    return acting_as(touched_by(data_directory, name))


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
