"""Whom a server can run as, as the inventory has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from inventories import SHOP, load_fixed, refusal, write
from people import account, with_users

from pgsupervisor.system.identity import user

NOBODY = user("nobody").uid


@pytest.fixture
def toor() -> Iterator[str]:
    """Another name of root."""
    name = f"pgs{os.getpid()}toor"
    account("useradd", "--non-unique", "--uid", "0", "--gid", "0", "--no-create-home", name)
    yield name
    account("userdel", "--force", name)


@with_users
@pytest.mark.parametrize("uid", [0, NOBODY])
def test_root_by_another_name(tmp_path: Path, toor: str, uid: int) -> None:
    """Root is refused by each of his names, where it is written."""
    path = write(tmp_path, f'{SHOP}user = "{toor}"\n')
    why = f'is "{toor}", who is root by another name; PostgreSQL refuses to run as root'
    assert refusal(path, uid=uid) == f"inventory.toml: clusters.shop.user: {why}"


@pytest.mark.parametrize("name", ["nobody", "no-such-user", "0"])
def test_root_may_name_anybody(tmp_path: Path, name: str) -> None:
    """For root, that there is no such user is for the start to tell; a number is a name, and nobody's as a rule."""
    assert load_fixed(write(tmp_path, f'{SHOP}user = "{name}"\n')).clusters["shop"].user == name


@pytest.mark.parametrize("name", ["daemon", "no-such-user", "0"])
@pytest.mark.parametrize(("where", "key"), [(SHOP, "clusters.shop.user"), (f"{SHOP}[defaults]\n", "defaults.user")])
def test_an_ordinary_user_can_be_nobody_else(tmp_path: Path, name: str, where: str, key: str) -> None:
    """Who is not root is told that he cannot run a server as another, where he asks for it, and what to do."""
    assert refusal(write(tmp_path, f'{where}user = "{name}"\n'), uid=NOBODY) == (
        f'inventory.toml: {key}: is "{name}", and you are nobody: only root can run a server as another user; do this '
        "as root, or leave the key out, for servers that run as nobody"
    )


def test_an_ordinary_user_may_name_himself(tmp_path: Path) -> None:
    """To name oneself changes nothing; one who has no name is nobody whom it could name."""
    path = write(tmp_path, f'{SHOP}user = "nobody"\n')
    assert load_fixed(path, uid=NOBODY).clusters["shop"].user == "nobody"
    assert "and you are the user with the number 3999999: only root" in refusal(path, uid=3_999_999)
