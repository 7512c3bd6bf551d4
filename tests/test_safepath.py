"""Safe paths: who else could change what a path leads to."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgsupervisor.system.identity import user
from pgsupervisor.system.safepath import Weakness, make_safe_directory, weakness

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


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


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o3770, 0o1777])
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


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o770, False), (0o1777, True), (0o755, True)])
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
    expected = Weakness(f"{path} belongs to nobody", f"do `chown -h root {path}`")
    assert weakness(str(path if path.is_symlink() else top / "inner")) == expected


@as_root
def test_a_user_trusts_root_and_himself(top: Path) -> None:
    """For an ordinary user, what is root's or his is safe, and what is a third one's is not."""
    nobody = user("nobody")
    top.chmod(0o755)
    assert_as(nobody.uid, top / "inner", None)
    os.chown(top / "inner", nobody.uid, nobody.gid)
    assert_as(nobody.uid, top / "inner", None)
    os.chown(top / "inner", 3_999_999, nobody.gid)
    assert_as(
        nobody.uid,
        top / "inner",
        Weakness(f"{top}/inner belongs to 3999999", f"do `chown -h nobody {top}/inner`"),
    )


def assert_as(uid: int, path: Path, expected: Weakness | None) -> None:
    """Assert what a user finds."""
    os.seteuid(uid)
    try:
        found = weakness(str(path))
    finally:
        os.seteuid(0)
    assert found == expected


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
