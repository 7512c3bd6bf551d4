"""The trail of a path: where it may come to mean something else, and that a watcher on these places hears it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from watching import Ear, quiet, unprivileged, watching

from pgsupervisor.system.trail import Place, trail, trail_into
from pgsupervisor.system.watch import Watcher


@pytest.fixture
def top(short_directory: Path) -> Path:
    """A directory, two deep, that all may enter."""
    path = short_directory / "top"
    path.mkdir()
    os.chmod(short_directory, 0o777)
    os.chmod(path, 0o777)
    return path.resolve()


def at(path: Path, *, contents: bool = False) -> Place:
    """Return the place of a path."""
    return Place(str(path.parent), path.name, contents)


def down_to(path: Path) -> tuple[Place, ...]:
    """Return the places of all directories on the way to a path, and its own."""
    return tuple(at(each) for each in reversed([path, *path.parents][:-1]))


def into(path: Path) -> Place:
    """Return the place of all that is in a directory."""
    return Place(str(path), None, contents=True)


def config_map(volume: Path, version: str) -> None:
    """Write a version of a volume as Kubernetes does: a directory of its own, and one link swapped for another."""
    (volume / version).mkdir(parents=True)
    (volume / version / "file").write_text(version)
    (volume / "..data_tmp").symlink_to(version)
    (volume / "..data_tmp").rename(volume / "..data")
    if not (volume / "file").is_symlink():
        (volume / "file").symlink_to("..data/file")


def test_a_file(top: Path) -> None:
    """A file has its own place, and each directory on the way has one in the directory above."""
    (top / "file").touch()
    assert trail(str(top / "file")) == (*down_to(top), at(top / "file", contents=True))


@pytest.mark.parametrize("path", ["{}/./file", "{}//file", "/..{}/file"])
def test_spellings(top: Path, path: str) -> None:
    """It is where the kernel goes that counts, not how it is written."""
    (top / "file").touch()
    assert trail(path.format(top)) == trail(str(top / "file"))
    (top / "directory").mkdir()
    there_and_back = (*down_to(top / "directory"), at(top / "file", contents=True))
    assert trail(f"{top}/directory/../file") == there_and_back


def test_links(top: Path) -> None:
    """Links are places at both ends: relative and absolute ones, of files and of directories, and `..` after a link."""
    for name in ("one/below", "two"):
        (top / name).mkdir(parents=True)
    (top / "two" / "file").touch()
    (top / "directory").symlink_to(top / "one" / "below")
    (top / "one" / "file").symlink_to("../two/file")
    assert trail(f"{top}/directory/../file") == (
        *down_to(top / "directory"),
        at(top / "one"),
        at(top / "one" / "below"),
        at(top / "one" / "file"),
        at(top / "two"),
        at(top / "two" / "file", contents=True),
    )


def test_a_config_map(top: Path) -> None:
    """A file of a Kubernetes volume means something else when `..data` does."""
    config_map(top, "..1")
    assert trail(str(top / "file")) == (
        *down_to(top / "file"),
        at(top / "..data"),
        at(top / "..1"),
        at(top / "..1" / "file", contents=True),
    )


@pytest.mark.parametrize("more", ["", "/file", "/directory/../file"])
def test_what_is_missing(top: Path, more: str) -> None:
    """A path ends at the first name that is missing; that one has contents only if it is the last."""
    (top / "link").symlink_to("missing")
    missing = at(top / "missing", contents=not more)
    assert trail(f"{top}/missing{more}") == (*down_to(top), missing)
    assert trail(f"{top}/link{more}") == (*down_to(top / "link"), missing)
    assert trail_into(f"{top}/missing{more}") == down_to(top / "missing")


def test_a_file_where_a_directory_should_be(top: Path) -> None:
    """Then it is the file that must go first."""
    (top / "file").touch()
    assert trail(f"{top}/file/file") == down_to(top / "file")
    assert trail_into(f"{top}/file") == down_to(top / "file")


def test_a_directory_that_may_not_be_searched(top: Path) -> None:
    """It is its own mode, told in the directory above, that must change first."""
    (top / "closed").mkdir()
    (top / "closed").chmod(0o600)
    with unprivileged():
        for found in (trail(f"{top}/closed/file"), trail_into(f"{top}/closed/below")):
            assert found == down_to(top / "closed")


def test_links_that_lead_nowhere(top: Path) -> None:
    """Links in a circle are places, each once; so are those of a chain that is too long for the kernel."""
    (top / "one").symlink_to("other")
    (top / "other").symlink_to("one")
    assert trail(str(top / "one")) == (*down_to(top), at(top / "one"), at(top / "other"))
    (top / "file").touch()
    for number in range(41):
        (top / f"{number}").symlink_to(f"{number + 1}" if number < 40 else "file")
    with pytest.raises(OSError, match="Too many levels"):
        (top / "0").open(encoding="utf-8")
    assert trail(f"{top}/0") == (*down_to(top), *(at(top / f"{number}") for number in range(41)))
    (top / "1").read_text()
    assert trail(f"{top}/1")[-1] == at(top / "file", contents=True)


def test_too_many_names(top: Path) -> None:
    """A path that leads through more directories than anybody has a use for is watched as far as its first names."""
    path = top / "/".join("d" for _ in range(400))
    path.mkdir(parents=True)
    places = trail(str(path / "file"))
    assert places == down_to(path)[:256]


def test_a_directory(top: Path) -> None:
    """Of a directory as a whole, any name in it counts, and its own name, and those of links to it."""
    (top / "directory").mkdir()
    (top / "link").symlink_to("directory")
    assert trail_into(f"{top}/link") == (*down_to(top / "link"), at(top / "directory"), into(top / "directory"))


def test_the_root() -> None:
    """Nothing is above the root."""
    assert trail("/missing") == (Place("/", "missing", contents=True),)
    assert trail_into("/") == (Place("/", None, contents=True),)


class Follower:
    """Watches the trail of a path anew whenever it has changed, as one does who wants to know of every change."""

    def __init__(self, watcher: Watcher, path: Path, along: Callable[[str], tuple[Place, ...]]) -> None:
        self.ear = Ear()
        self.unwatched: list[Place] = []
        self._watcher = watcher
        self._path = str(path)
        self._along = along
        self._cancels: list[Callable[[], None]] = []
        self._watch()

    def close(self) -> None:
        """Follow no more."""
        for cancel in self._cancels:
            cancel()

    def _watch(self) -> None:
        places: tuple[Place, ...] = ()
        while places != (places := self._along(self._path)):
            before, self._cancels, self.unwatched = self._cancels, [], []
            for place in places:
                try:
                    cancel = self._watcher.watch(place.directory, place.name, self._told, contents=place.contents)
                except OSError:
                    self.unwatched.append(place)
                else:
                    self._cancels.append(cancel)
            for cancel in before:
                cancel()

    def _told(self) -> None:
        self._watch()
        self.ear.hear()


def hears(path: Path, beside: Path, *changes: Callable[[], object], along: Callable[[str], tuple[Place, ...]]) -> None:
    """See that each change is heard by whoever follows a path; `beside` is a directory that stays as it is."""

    async def play(watcher: Watcher) -> None:
        follower = Follower(watcher, path, along)
        for change in changes:
            await quiet(watcher, beside, follower.ear)
            change()
            await follower.ear.heard()

    watching(play)


def test_a_swap_is_heard(top: Path) -> None:
    """Every swap of `..data` is heard, and afterwards what is written where it leads to now."""
    config_map(top, "..1")
    hears(
        top / "file",
        top.parent,
        lambda: config_map(top, "..2"),
        lambda: (top / "..2" / "file").write_text("x"),
        lambda: config_map(top, "..3"),
        lambda: (top / "..3" / "file").write_text("x"),
        along=trail,
    )


def test_a_rename_over_is_heard(top: Path) -> None:
    """Saving as editors do is heard in the directory where the file really is, through a link to it."""
    (top / "real").mkdir()
    (top / "real" / "file").write_text("1")
    (top / "link").symlink_to("real/file")

    def save() -> None:
        (top / "real" / "new").write_text("2")
        (top / "real" / "new").rename(top / "real" / "file")

    hears(top / "link", top.parent, save, save, along=trail)


def test_a_directory_that_comes_back_is_heard(top: Path) -> None:
    """A directory that is removed and made again, renamed away and replaced, or missing for a time, is not lost."""
    directory = top / "directory"
    (directory / "below").mkdir(parents=True)
    file = directory / "below" / "file"
    file.touch()

    def replace_below() -> None:
        file.parent.rename(directory / "away")
        file.parent.mkdir()

    hears(
        file,
        top.parent,
        file.unlink,
        file.parent.rmdir,
        directory.rmdir,
        directory.mkdir,
        file.parent.mkdir,
        lambda: file.write_text("1"),
        replace_below,
        lambda: file.write_text("2"),
        lambda: file.parent.rename(directory / "gone"),
        lambda: directory.rename(top / "gone"),
        lambda: (directory / "below").mkdir(parents=True),
        lambda: file.write_text("3"),
        along=trail,
    )


def test_an_included_directory_is_heard(top: Path) -> None:
    """Of a directory as a whole: a file that is dropped into it, written, removed; its own end, and its return."""
    directory = top / "conf.d"
    file = directory / "a.conf"
    hears(
        directory,
        top.parent,
        directory.mkdir,
        file.touch,
        lambda: file.write_text("x"),
        file.unlink,
        directory.rmdir,
        directory.mkdir,
        file.touch,
        lambda: (directory.rename(top / "away"), directory.mkdir()),
        file.touch,
        along=trail_into,
    )


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_a_directory_that_becomes_unreadable_is_heard(top: Path, mode: int) -> None:
    """A directory that may not be read, or not be searched, for a time is heard when it may be again."""
    with unprivileged():
        directory = top / "directory"
        directory.mkdir()
        file = directory / "file"
        file.touch()

        async def play(watcher: Watcher) -> None:
            follower = Follower(watcher, file, trail)
            directory.chmod(mode)
            await follower.ear.heard()
            await quiet(watcher, top.parent, follower.ear)
            # All anew: a watch of the time when it was readable would still stand.
            follower.close()
            follower = Follower(watcher, file, trail)
            directory.chmod(0o700)
            await follower.ear.heard()
            await quiet(watcher, top.parent, follower.ear)
            assert follower.unwatched == []
            file.write_text("x")
            await follower.ear.heard()

        watching(play)
