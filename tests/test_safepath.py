"""Safe paths: who else could change what a path leads to."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from people import account, new_people, with_users

from pgsupervisor.system.identity import user
from pgsupervisor.system.safepath import Weakness, make_safe_directory, weakness

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
roots_group = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's group may well be his own")

People: TypeAlias = tuple[str, list[pwd.struct_passwd]]


@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that only we may write, with another one in it."""
    with tempfile.TemporaryDirectory(prefix="pgs-", dir="/tmp") as path:
        (Path(path) / "inner").mkdir(mode=0o755)
        yield Path(path)


def writable(path: Path, mode: int, remedy: str = "do `chmod go-w {}`") -> Weakness:
    """Return the weakness of a directory that others may write."""
    return Weakness(f"others may write in {path} (its mode is {mode:04o})", remedy.format(path))


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1755, 0o2755])
def test_safe(top: Path, mode: int) -> None:
    """What only we may write, below a sticky directory of root's, is safe."""
    (top / "inner").chmod(mode)
    assert weakness(str(top / "inner")) is None
    assert weakness("/") is None


@pytest.mark.parametrize(
    "mode", [*(pytest.param(mode, marks=roots_group) for mode in (0o720, 0o3770)), 0o702, 0o777, 0o1777]
)
def test_others_may_write(top: Path, mode: int) -> None:
    """A directory that the group or all others may write is none; a sticky one shall not be closed for that."""
    inner = top / "inner"
    inner.chmod(mode)
    remedy = "use a directory below it" if mode & stat.S_ISVTX else "do `chmod go-w {}`"
    assert weakness(str(inner)) == writable(inner, mode, remedy)


def test_a_sticky_directory_that_exists_already() -> None:
    """/tmp will do for what is above, where each entry is safe from others, but is itself no place to be."""
    assert weakness("/tmp") == writable(Path("/tmp"), 0o1777, "use a directory below it")
    assert weakness("/tmp", entries_only=True) is None


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o702, False), (0o1777, True), (0o755, True)])
def test_what_is_above_counts(top: Path, mode: int, *, safe: bool) -> None:
    """Who may write above can put another directory in the place of ours, unless it is sticky there."""
    top.chmod(mode)
    assert weakness(str(top / "inner")) == (None if safe else writable(top, mode))


def by_link(top: Path) -> Path:
    """Return a link, in a directory of its own, to the inner directory; that directory is what its way leads over."""
    (top / "way").mkdir()
    (top / "way" / "link").symlink_to("../inner")
    return top / "way" / "link"


def test_the_way_of_a_link_counts(top: Path) -> None:
    """Who may write where a symbolic link is can point it elsewhere, and who may write where it leads to is there."""
    link = by_link(top)
    assert weakness(str(link)) is None
    link.parent.chmod(0o777)
    assert weakness(str(link)) == writable(link.parent, 0o777)
    link.parent.chmod(0o755)
    (top / "inner").chmod(0o777)
    assert weakness(str(link)) == writable(top / "inner", 0o777)


@as_root
@pytest.mark.parametrize("whose", [lambda top: top / "inner", lambda top: top, by_link], ids=["it", "above", "link"])
def test_whose_it_is(top: Path, whose: Callable[[Path], Path]) -> None:
    """Who owns a directory may always write it; and the owner of a link may remove it, also from a sticky directory."""
    path = whose(top)
    path.parent.chmod(0o1777 if path.is_symlink() else path.parent.stat().st_mode)
    os.chown(path, user("nobody").uid, -1, follow_symlinks=False)
    expected = Weakness(f"{path} belongs to nobody", f"do `chown -h root {path}`", 65534)
    assert weakness(str(path if path.is_symlink() else top / "inner")) == expected


@as_root
def test_a_user_trusts_root_and_himself(top: Path) -> None:
    """For an ordinary user, what is root's or his is safe, and what is a third one's is not; root can tell as well."""
    nobody = user("nobody")
    top.chmod(0o755)
    assert_for(nobody.uid, top / "inner", None)
    os.chown(top / "inner", nobody.uid, nobody.gid)
    assert_for(nobody.uid, top / "inner", None)
    assert_for(0, top / "inner", Weakness(f"{top}/inner belongs to nobody", f"do `chown -h root {top}/inner`", 65534))
    os.chown(top / "inner", 3_999_999, nobody.gid)
    assert_for(
        nobody.uid,
        top / "inner",
        Weakness(f"{top}/inner belongs to 3999999", f"do `chown -h nobody {top}/inner`", 3999999),
    )


def assert_for(uid: int, path: Path, expected: Weakness | None, *, entries_only: bool = False) -> None:
    """Assert what is found for a user: by root, and by himself."""
    found = [weakness(str(path), whose=uid, entries_only=entries_only)]
    os.seteuid(uid)
    try:
        found.append(weakness(str(path), entries_only=entries_only))
    finally:
        os.seteuid(0)
    assert found == [expected, expected]


@pytest.fixture
def people() -> Iterator[People]:
    """A group without people in it, and Alice and Bob, each of whom has a group of his own."""
    with new_people("alice", "bob", group="devs") as made:
        yield made


@with_users
def test_a_users_own_group(top: Path, people: People) -> None:
    """What the group may write that has a user's name, and nobody else in it, is his, wherever it is on the way."""
    group, (alice, bob) = people
    inner = top / "inner"
    for path in (top, inner):
        os.chown(path, alice.pw_uid, alice.pw_gid)
        path.chmod(0o2775)
    assert_for(alice.pw_uid, inner, None)
    assert weakness(str(inner), whose=bob.pw_uid) == Weakness(
        f"{top} belongs to {alice.pw_name}", f"do `chown -h {bob.pw_name} {top}`", alice.pw_uid
    )
    account("gpasswd", "--add", alice.pw_name, alice.pw_name)
    assert_for(alice.pw_uid, inner, None)
    account("gpasswd", "--add", bob.pw_name, alice.pw_name)
    assert_for(alice.pw_uid, inner, writable(top, 0o2775))
    account("gpasswd", "--delete", bob.pw_name, alice.pw_name)
    inner.chmod(0o2777)
    assert_for(alice.pw_uid, inner, writable(inner, 0o2777))
    for other in (grp.getgrnam(group).gr_gid, bob.pw_gid, 3_999_999):
        os.chown(inner, alice.pw_uid, other)
        inner.chmod(0o775)
        assert_for(alice.pw_uid, inner, writable(inner, 0o775))


@with_users
def test_a_group_that_is_not_alone(top: Path, people: People) -> None:
    """Where an access control list lets others write, the bits of a user's own group are no longer about it."""
    _, (alice, bob) = people
    inner = top / "inner"
    top.chmod(0o755)
    os.chown(inner, alice.pw_uid, alice.pw_gid)
    os.setxattr(inner, "system.posix_acl_access", access_control_list(bob.pw_uid))
    assert stat.S_IMODE(inner.stat().st_mode) == 0o775
    assert_for(alice.pw_uid, inner, writable(inner, 0o775))


def access_control_list(uid: int) -> bytes:
    """Return what setfacl(1) makes of 0755 and one more user who may write (linux/posix_acl_xattr.h)."""
    nobody = 2**32 - 1
    owner, one, group, mask, other = 1, 2, 4, 16, 32
    entries = [(owner, 7, nobody), (one, 7, uid), (group, 5, nobody), (mask, 7, nobody), (other, 5, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@with_users
def test_a_group_of_the_system(top: Path, people: People) -> None:
    """What root shares with programs of the system, as /var/log, will do for what is above, until people are in it."""
    group, (alice, _) = people
    top.chmod(0o755)
    inner = top / "inner"
    (inner / "below").mkdir()
    inner.chmod(0o775)
    with new_people(group="system", system=True) as (system, _):
        os.chown(inner, 0, grp.getgrnam(system).gr_gid)
        for uid in (0, alice.pw_uid):
            assert_for(uid, inner, writable(inner, 0o775))
            assert_for(uid, inner, None, entries_only=True)
            assert_for(uid, inner / "below", None)
        assert make_safe_directory(str(inner / "made")) is None
        account("gpasswd", "--add", "daemon", system)
        assert_for(0, inner / "below", None)
        os.chown(inner, alice.pw_uid, -1)
        assert_for(alice.pw_uid, inner / "below", writable(inner, 0o775))
        os.chown(inner, 0, -1)
        account("gpasswd", "--add", alice.pw_name, system)
        assert_for(0, inner / "below", writable(inner, 0o775))
    for of_people in (0, 100, grp.getgrnam(group).gr_gid):
        os.chown(inner, 0, of_people)
        assert_for(0, inner / "below", writable(inner, 0o775))


def test_what_is_missing_is_made(top: Path) -> None:
    """Missing directories are made for all to enter and for nobody else to write, whatever the umask."""
    former = os.umask(0)
    try:
        assert make_safe_directory(str(top / "a" / "b")) is None
        after = os.umask(0)
    finally:
        os.umask(former)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (top / "a", top / "a" / "b")] == [0o755, 0o755]
    assert after == 0


@pytest.mark.parametrize(("mode", "made"), [(0o777, False), (0o1777, True)])
def test_nothing_is_made_where_others_may_write(top: Path, mode: int, *, made: bool) -> None:
    """In a directory that others may write nothing is made, unless it is sticky: there, what we make is ours."""
    top.chmod(mode)
    assert make_safe_directory(str(top / "a" / "b")) == (None if made else writable(top, mode))
    assert (top / "a").exists() == made


def test_where_nothing_can_be(top: Path) -> None:
    """A place that no directory can be made at is told by the error of the kernel."""
    (top / "file").touch()
    with pytest.raises(FileExistsError):
        make_safe_directory(str(top / "file" / "below"))
    (top / "dangling").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        make_safe_directory(str(top / "dangling"))
