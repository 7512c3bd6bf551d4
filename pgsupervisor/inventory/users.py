"""Whom a server can run as: never root, and, unless we are root, nobody but ourselves.

PostgreSQL refuses root, and only root can become somebody else. A start would find that out as well, but here it is
known where it is written. That there is no such user is left to the start: he may be there by then.
"""

from __future__ import annotations

import pwd

from pgsupervisor.inventory.convert import Place
from pgsupervisor.system.identity import user


def refuse_whom_none_can_be(name: str, place: Place, uid: int) -> None:
    """Refuse the user `name`, who stands at `place`, if he is root, or is not the user `uid`, who is not root.

    Raises InventoryError.
    """
    number = _number(name)
    if number == 0:
        raise place.error(f'is "{name}", who is root by another name; PostgreSQL refuses to run as root')
    if uid not in {0, number}:
        we = _name(uid)
        raise place.error(
            f'is "{name}", and you are {we}: only root can run a server as another user; do this as root, or leave the '
            f"key out, for servers that run as {we}"
        )


def _number(name: str) -> int | None:
    try:
        return user(name).uid
    except KeyError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user with the number {uid}"
