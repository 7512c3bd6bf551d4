"""What another user may do with a path: the kernel, asked as that user, is the judge."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgsupervisor.system.identity import User, user
from pgsupervisor.system.permission import may
from pgsupervisor.system.process import run

WANTED = {os.R_OK: "-r", os.W_OK: "-w", os.X_OK: "-x"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for somebody else")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def nobody() -> User:
    """A user without rights, in one group more than its own."""
    found = user("nobody")
    return replace(found, groups=(found.gid, 12345))


def _judged(who: User, path: Path) -> dict[str, bool]:
    return {
        test: run(["test", test, str(path)], environment=os.environ, run_as=who).returncode == 0
        for test in WANTED.values()
    }


def _told(who: User | None, path: Path) -> dict[str, bool]:
    return {test: may(who, str(path), wanted) for wanted, test in WANTED.items()}


@as_root
@pytest.mark.parametrize("mode", [0o000, 0o700, 0o070, 0o007, 0o421, 0o124, 0o640, 0o755])
@pytest.mark.parametrize("owner", ["himself", "his group", "his other group", "somebody else"])
def test_modes(open_directory: Path, nobody: User, owner: str, mode: int) -> None:
    """For every owner and mode, the answer is the kernel's."""
    path = open_directory / "file"
    path.touch()
    uid, gid = {
        "himself": (nobody.uid, 0),
        "his group": (0, nobody.gid),
        "his other group": (0, 12345),
        "somebody else": (0, 0),
    }[owner]
    os.chown(path, uid, gid)
    path.chmod(mode)
    assert _told(nobody, path) == _judged(nobody, path)


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744])
def test_the_way_counts(open_directory: Path, nobody: User, mode: int) -> None:
    """A file that everybody may read is out of reach in a directory that may not be entered, by a symlink too."""
    inner = open_directory / "inner"
    inner.mkdir()
    path = inner / "file"
    path.touch()
    path.chmod(0o777)
    link = open_directory / "link"
    link.symlink_to(path)
    inner.chmod(mode)
    for each in (path, link):
        assert _told(nobody, each) == _judged(nobody, each)
    assert may(nobody, str(path), os.R_OK) is (mode == 0o711)


@as_root
def test_access_control_lists(open_directory: Path, nobody: User) -> None:
    """Where the mode says no and an access control list says yes, the answer is yes."""
    path = open_directory / "file"
    path.touch()
    path.chmod(0o640)
    # acl(5): user::rw-, user:nobody:r--, group::---, mask::r--, other::---
    entries = [
        (0x01, 6, 2**32 - 1),
        (0x02, 4, nobody.uid),
        (0x04, 0, 2**32 - 1),
        (0x10, 4, 2**32 - 1),
        (0x20, 0, 2**32 - 1),
    ]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this filesystem has no access control lists")
    assert _told(nobody, path) == {"-r": True, "-w": False, "-x": False} == _judged(nobody, path)


def test_ourselves(tmp_path: Path) -> None:
    """For ourselves, by whatever name, the kernel answers directly."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o600)
    me = user(os.geteuid())
    assert _told(None, path) == _told(me, path) == _judged(me, path) == {"-r": True, "-w": True, "-x": False}
