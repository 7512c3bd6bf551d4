"""Whoever can write an inventory has its daemon at his command: root's is read only where nobody else can."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from inventories import SHOP, load_fixed, refusal, write
from people import as_root

from pgsupervisor.system.identity import user

pytestmark = as_root


def a_mode(path: Path) -> tuple[Path, str]:
    """Let the group write the file."""
    path.chmod(0o664)
    return path, f"others may write in {path} (its mode is 0664); do `chmod go-w {path}`"


def an_owner(path: Path) -> tuple[Path, str]:
    """Give the file away."""
    os.chown(path, user("nobody").uid, -1)
    return path, f"{path} belongs to nobody; do `chown -h root {path}`"


def a_directory(path: Path) -> tuple[Path, str]:
    """Have the file in a directory of another user's."""
    os.chown(path.parent, user("nobody").uid, -1)
    return path, f"{path.parent} belongs to nobody; do `chown -h root {path.parent}`"


def a_directory_of_all(path: Path) -> tuple[Path, str]:
    """Have the file in a directory that everybody may write."""
    path.parent.chmod(0o777)
    return path, f"others may write in {path.parent} (its mode is 0777); do `chmod go-w {path.parent}`"


def a_link(path: Path) -> tuple[Path, str]:
    """Have the file behind a link to where everybody may write."""
    free = path.parent / "free"
    free.mkdir()
    free.chmod(0o777)
    path.rename(free / "file")
    path.symlink_to(free / "file")
    return path, f"others may write in {free} (its mode is 0777); do `chmod go-w {free}`"


WEAKEN = (a_mode, an_owner, a_directory, a_directory_of_all, a_link)


@pytest.mark.parametrize("weaken", WEAKEN, ids=lambda function: function.__name__)
@pytest.mark.parametrize("name", ["inventory.toml", "conf.d/shop.toml"])
def test_what_others_could_change(tmp_path: Path, weaken: Callable[[Path], tuple[Path, str]], name: str) -> None:
    """A file that somebody else could change is refused, the main one and an included one, with what to do."""
    main = write(tmp_path, 'include = ["conf.d/*.toml"]\n', {"conf.d/shop.toml": SHOP})
    assert list(load_fixed(main).clusters) == ["shop"]
    path, why = weaken(tmp_path / name)
    said = (
        f"{path}: others could have root do what they like, since {why}, or have it where only root may write, as in "
    )
    assert refusal(main) == f"{said}/etc/pgsupervisor".replace(f"{tmp_path}/", "")


def test_in_a_sticky_directory(tmp_path: Path) -> None:
    """Where all may put files, but only change their own, root's own is safe."""
    path = write(tmp_path, SHOP)
    tmp_path.chmod(0o1777)
    assert list(load_fixed(path).clusters) == ["shop"]


def test_an_ordinary_users_inventory_is_his_affair() -> None:
    """Who is not root may share his inventory with whom he likes."""
    nobody = user("nobody")
    with tempfile.TemporaryDirectory(prefix="pgs-", dir="/tmp") as directory:
        os.chmod(directory, 0o777)
        path = write(Path(directory), SHOP)
        os.chmod(path, 0o666)
        os.seteuid(nobody.uid)
        try:
            assert list(load_fixed(path, uid=nobody.uid).clusters) == ["shop"]
        finally:
            os.seteuid(0)
