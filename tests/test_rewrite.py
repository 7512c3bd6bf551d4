"""A file is rewritten whole or not at all, and stays the file that it was."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from pgsupervisor.system.identity import User
from pgsupervisor.system.rewrite import rewrite


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a file in a directory of its own."""
    path = tmp_path / "file.conf"
    path.write_bytes(b"old")
    return path


def files_in(directory: Path) -> dict[str, bytes]:
    """Return the name and content of every file."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_full_disk_leaves_the_old_content(file: Path) -> None:
    """The new content does not fit: an OSError, the old file, and no temporary file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            rewrite(str(file), lambda _: b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(file.parent) == {"file.conf": b"old"}


def test_a_change_that_fails_changes_nothing(file: Path) -> None:
    """What the change raises arrives, and the next change is not locked out."""

    def fail(content: bytes) -> bytes:
        raise ValueError(content)

    with pytest.raises(ValueError, match="old"):
        rewrite(str(file), fail)
    rewrite(str(file), lambda content: content + b" new")
    assert files_in(file.parent) == {"file.conf": b"old new"}


def test_readers_of_the_old_file_keep_it(file: Path) -> None:
    """The file is replaced, never emptied: who has it open reads on."""
    with file.open("rb") as old:
        rewrite(str(file), lambda _: b"new")
        assert old.read() == b"old"
    assert file.read_bytes() == b"new"


def test_nothing_new_is_not_written(file: Path) -> None:
    """The same content leaves the same file."""
    before = file.stat()
    rewrite(str(file), lambda content: content)
    after = file.stat()  # not all of it: it may have been read in another second
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_a_symbolic_link_stays_one(file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The file behind the links is rewritten, in its own directory."""
    directory = tmp_path_factory.mktemp("links")
    (directory / "one").symlink_to("two")
    (directory / "two").symlink_to(file)
    rewrite(str(directory / "one"), lambda _: b"new")
    assert str((directory / "one").readlink()) == "two"
    assert (directory / "two").readlink() == file
    assert files_in(file.parent) == {"file.conf": b"new"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
def test_mode_and_extended_attributes_are_kept(file: Path, mode: int) -> None:
    """Who could read the file can read it afterwards, and nobody else."""
    file.chmod(mode)
    try:
        os.setxattr(file, "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    rewrite(str(file), lambda _: b"new")
    assert file.stat().st_mode & 0o7777 == mode
    assert os.getxattr(file, "user.note") == b"kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write a file and leave it to its owner")
def test_root_leaves_a_file_to_its_owner(file: Path, server_user: User) -> None:
    """A configuration that root edits stays the server's, with its mode."""
    os.chown(file, server_user.uid, server_user.gid)
    file.chmod(0o600)
    rewrite(str(file), lambda _: b"new")
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (server_user.uid, server_user.gid, 0o600)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_we_may_not_write_is_not_replaced(file: Path) -> None:
    """Write permission for the directory is not enough."""
    file.chmod(0o444)
    with pytest.raises(PermissionError):
        rewrite(str(file), lambda _: b"new")
    assert files_in(file.parent) == {"file.conf": b"old"}


def test_what_is_no_file_is_refused() -> None:
    """A device such as /dev/null is never replaced by a file."""
    with pytest.raises(OSError, match=r"not a regular file|Permission denied"):
        rewrite("/dev/null", lambda _: b"new")
    assert Path("/dev/null").is_char_device()


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    """There is nothing to rewrite."""
    with pytest.raises(FileNotFoundError):
        rewrite(str(tmp_path / "nowhere"), lambda _: b"new")
    assert files_in(tmp_path) == {}
