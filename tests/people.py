"""Other users than the one who runs the tests: to be one for a moment, and to have some made."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

with_users = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("useradd") is None,
    reason="only root can make users, with useradd, and be one of them",
)


@contextlib.contextmanager
def somebody_else(uid: int, gid: int) -> Iterator[None]:
    """Be another user for the moment of a connect(2), which is when the kernel takes down who one is."""
    former = os.getegid()
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(former)


@contextlib.contextmanager
def new_people(*names: str, group: str, system: bool = False) -> Iterator[tuple[str, list[pwd.struct_passwd]]]:
    """Have a group, and users who are not in it, by names that end so; none of them is there afterwards.

    Each user has a group of his own. With `system` the group is one of the system's.
    """
    made = f"pgs{os.getpid()}"
    with contextlib.ExitStack() as undo:
        account("groupadd", *(["--system"] if system else []), f"{made}{group}")
        undo.callback(account, "groupdel", f"{made}{group}")
        for name in names:
            account("useradd", "--no-create-home", "--user-group", "--shell", "/bin/false", f"{made}{name}")
            undo.callback(account, "userdel", "--force", f"{made}{name}")
        yield f"{made}{group}", [pwd.getpwnam(f"{made}{name}") for name in names]


def account(*command: str) -> None:
    """Run a program that changes the user database; of two at once, one would be refused."""
    with Path(__file__).open(encoding="utf-8") as database:
        fcntl.flock(database, fcntl.LOCK_EX)
        run(command)


def run(command: Sequence[str]) -> None:
    """Run a program, and see that it succeeds."""
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
