"""Whose a cluster is, and as whom root touches its files and asks its programs; the kernel is the judge."""

from __future__ import annotations

import asyncio
import contextvars
import os
from pathlib import Path

import pytest
from people import as_root

from pgsupervisor.errors import ClusterError
from pgsupervisor.postgres import owner
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.owner import as_owner, found_once, run_as, touched_by
from pgsupervisor.system.identity import NOBODY, User, acting_as, user

NOBODYS_PROGRAM = "#!/bin/sh\necho postgres '(PostgreSQL)' 18.$(id -u)\n"
"""A program whose version is the number of the user as whom it runs."""


@as_root
def test_the_named_one(short_directory: Path) -> None:
    """Who is named counts, whomever the directory belongs to, whether there is one or not."""
    daemon = user("daemon")
    for path in (short_directory, short_directory / "missing"):
        assert (run_as(str(path), "daemon"), touched_by(str(path), "daemon")) == (daemon, daemon)
    with pytest.raises(ClusterError, match=r"there is no user pgs-ghost on this machine"):
        run_as(str(short_directory), "pgs-ghost")
    assert touched_by(str(short_directory), "pgs-ghost") == NOBODY


@as_root
def test_the_owner(short_directory: Path, server_user: User) -> None:
    """Where none is named, root goes by the owner, also while it acts; of a directory that is missing there is none."""
    path = str(short_directory)
    with acting_as(NOBODY):
        assert (run_as(path, None), touched_by(path, None)) == (server_user, server_user)
    assert (run_as(f"{path}/missing", None), touched_by(f"{path}/missing", None)) == (None, NOBODY)
    with as_owner(path, None):
        assert os.geteuid() == server_user.uid


@as_root
def test_roots_own(tmp_path: Path) -> None:
    """What only root could have put there is touched by root, and no server runs as root."""
    assert (run_as(str(tmp_path), None), touched_by(str(tmp_path), None)) == (None, None)
    assert touched_by(str(tmp_path / "missing"), None) is None
    tmp_path.chmod(0o777)
    assert touched_by(str(tmp_path), None) == NOBODY


@as_root
def test_a_directory_that_others_can_exchange(short_directory: Path, server_user: User) -> None:
    """Whom a directory belongs to does not count where somebody else decides which one it is."""
    his = short_directory / "his"
    his.mkdir()
    os.chown(his, server_user.uid, server_user.gid)
    assert run_as(str(his), None) == server_user
    link = short_directory / "link"
    link.symlink_to(his)
    os.lchown(link, NOBODY.uid, NOBODY.gid)
    with pytest.raises(ClusterError, match=rf"{link} belongs to nobody; name the user .* or do .chown -h"):
        run_as(str(link), None)
    assert touched_by(str(link), None) == NOBODY
    os.lchown(link, server_user.uid, server_user.gid)
    assert run_as(str(link), None) == server_user
    short_directory.chmod(0o777)
    with pytest.raises(ClusterError, match=r"others may write in .*; name the user"):
        run_as(str(his), None)
    assert run_as(str(his), "daemon") == user("daemon")


@pytest.mark.skipif(os.geteuid() == 0, reason="root runs no servers")
def test_an_ordinary_user(tmp_path: Path) -> None:
    """Who is not root runs servers as himself, and is nobody else for their files either."""
    assert (run_as(str(tmp_path), None), touched_by(str(tmp_path), None), touched_by("/", "root")) == (None, None, None)


def _program(directory: Path) -> Path:
    directory.mkdir()
    program = directory / "postgres"
    program.write_text(NOBODYS_PROGRAM, encoding="ascii")
    program.chmod(0o755)
    return program


def _asked_by(directory: Path) -> int:
    return Installation.from_bindir(directory).version_info[1]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str | int]:
    """The users who were looked up."""
    asked: list[str | int] = []

    def noted(name_or_uid: str | int) -> User:
        asked.append(name_or_uid)
        return user(name_or_uid)

    monkeypatch.setattr(owner, "user", noted)
    return asked


def test_found_once(short_directory: Path, looked_up: list[str | int]) -> None:
    """In one thing that is done, also in threads, a user is looked up once; one who is not known, again and again."""
    path = str(short_directory)

    async def done() -> contextvars.Context:
        with found_once():
            await asyncio.to_thread(run_as, path, "daemon")
            with found_once():
                assert run_as(path, "daemon") == await asyncio.to_thread(run_as, path, "daemon") == user("daemon")
            for _ in range(2):
                with pytest.raises(ClusterError):
                    await asyncio.to_thread(run_as, path, "pgs-ghost")
            return contextvars.copy_context()

    inherited = asyncio.run(done())
    assert looked_up == ["daemon", "pgs-ghost", "pgs-ghost"]
    assert inherited.run(run_as, path, "daemon") == run_as(path, "daemon")
    assert looked_up[3:] == ["daemon", "daemon"]


@as_root
def test_found_once_by_who_acts(short_directory: Path, server_user: User, looked_up: list[str | int]) -> None:
    """Who does something as a cluster's owner has found out who that is; the next who does, finds the next owner."""
    path = str(short_directory)
    with as_owner(path, None):
        assert (run_as(path, None), touched_by(path, None)) == (server_user, server_user)
    assert looked_up == [server_user.uid]
    os.chown(short_directory, NOBODY.uid, NOBODY.gid)
    with as_owner(path, None):
        assert os.geteuid() == NOBODY.uid


@as_root
def test_a_directory_that_comes_late(tmp_path: Path, server_user: User) -> None:
    """That a directory is nobody's yet is not held to while something is done: it may be there in a moment."""
    path = tmp_path / "late"
    with found_once():
        assert run_as(str(path), None) is None
        path.mkdir()
        os.chown(path, server_user.uid, server_user.gid)
        assert run_as(str(path), None) == server_user


@as_root
def test_as_whom_programs_are_asked(short_directory: Path, server_user: User) -> None:
    """Root runs no program that somebody else could exchange: it is asked as its owner, or as nobody."""
    os.chown(short_directory, 0, 0)
    short_directory.chmod(0o755)
    program = _program(short_directory / "bin")
    assert _asked_by(program.parent) == 0
    with acting_as(server_user):
        assert _asked_by(program.parent) == server_user.uid
    os.chown(program, server_user.uid, server_user.gid)
    assert _asked_by(program.parent) == server_user.uid
    os.chown(program, 54321, 54321)
    assert _asked_by(program.parent) == NOBODY.uid
    os.chown(program, 0, 0)
    program.chmod(0o775)
    assert _asked_by(program.parent) == NOBODY.uid
    program.chmod(0o755)
    program.parent.chmod(0o777)
    assert _asked_by(program.parent) == NOBODY.uid


@as_root
def test_a_link_to_roots_own_program(short_directory: Path, server_user: User) -> None:
    """A user's link does not make root run a program of root's that he chooses."""
    os.chown(short_directory, 0, 0)
    short_directory.chmod(0o755)
    program = _program(short_directory / "bin")
    bindir = short_directory / "his"
    bindir.mkdir()
    (bindir / "postgres").symlink_to(program)
    assert _asked_by(bindir) == 0
    os.chown(bindir, server_user.uid, server_user.gid)
    assert _asked_by(bindir) == server_user.uid
