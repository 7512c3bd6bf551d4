"""The files of a logging collector: where the data directory says that they are, and in which order they come."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsupervisor.postgres.collector import current_logfile, logfiles


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("stderr log/a.log\n", "log/a.log"),
        ("csvlog log/a.csv\n", "log/a.csv"),
        ("jsonlog log/a.json\n", "log/a.json"),
        ("stderr log/a.log\ncsvlog log/a.csv\njsonlog log/a.json\n", "log/a.log"),
        ("jsonlog log/a.json\ncsvlog log/a.csv\n", "log/a.csv"),
        ("stderr log/a.log", "log/a.log"),
        ("stderr log/a b.log\n", "log/a b.log"),
        ("stderr log/a\x85b.log\n", "log/a\x85b.log"),
        ("stderr ../logs/a.log\n", "../logs/a.log"),
        ("stderr /var/log/a.log\n", "/var/log/a.log"),
    ],
)
def test_the_current_file(tmp_path: Path, written: str, named: str) -> None:
    """Of the files that it names the best to read is taken; its path may be relative to the data directory."""
    (tmp_path / "current_logfiles").write_text(written, encoding="utf-8", newline="")
    assert current_logfile(str(tmp_path)) == (named if named.startswith("/") else f"{tmp_path}/{named}")


def test_a_name_in_no_encoding(tmp_path: Path) -> None:
    """A path is bytes, whatever they stand for."""
    (tmp_path / "current_logfiles").write_bytes(b"stderr log/\xe9.log\n")
    named = current_logfile(str(tmp_path))
    assert named is not None
    assert os.fsencode(named) == os.fsencode(tmp_path) + b"/log/\xe9.log"


@pytest.mark.parametrize("written", [None, "", "\n", "stderr", "syslog log/a\n", "nonsense\n\nstderr\n"])
def test_no_current_file(tmp_path: Path, written: str | None) -> None:
    """A cluster without a collector has none, nor has one whose file says nothing."""
    if written is not None:
        (tmp_path / "current_logfiles").write_text(written)
    assert current_logfile(str(tmp_path)) is None


def test_where_nobody_can_look(tmp_path: Path) -> None:
    """What is no directory cannot be looked into; that is not the same as that there is no collector."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        current_logfile(str(tmp_path / "file"))


def test_the_order_of_files(tmp_path: Path) -> None:
    """Files of the same kind come as they were written, at the same moment by their names; the current one is last."""
    written = {"4.log": 1, "3.log": 3, "2.log": 2, "1.log": 2, "7.log": 0, "8.csv": 2, "9.log.gz": 2, "6": 2}
    for name, when in written.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(when, when))
    (tmp_path / "5.log").symlink_to("nowhere")
    os.utime(tmp_path / "5.log", ns=(4, 4), follow_symlinks=False)
    found = [Path(path).name for path in logfiles(str(tmp_path / "7.log"))]
    assert found == ["4.log", "1.log", "2.log", "3.log", "5.log", "7.log"]


@pytest.mark.parametrize(
    ("current", "also"),
    [
        ("shop-2026-11-27_150000.log", ["shop-2026-11-26_000000.log"]),
        ("blog-2026-11-27_150000.log", ["blog-2026-11-25_000000.log"]),
        ("postgresql-Fri.log", ["postgresql-Thu.log"]),
        ("Friday the 27 of November.log", ["Thursday the 1 of October.log"]),
        ("monsoon.log", []),
    ],
)
def test_another_servers_files(tmp_path: Path, current: str, also: list[str]) -> None:
    """In one directory, those of a server are told by all of their names but what a date or a time has made."""
    for name in (
        *("shop-2026-11-26_000000.log", "shop-2026-11-26_000000.csv", "blog-2026-11-25_000000.log", "monsoon2.log"),
        *("postgresql-Thu.log", "other-Thu.log", "Thursday the 1 of October.log", "tuesoon.log"),
    ):
        (tmp_path / name).touch()
    assert logfiles(str(tmp_path / current)) == [str(tmp_path / name) for name in (*also, current)]


def test_files_without_a_suffix(tmp_path: Path) -> None:
    """Where `log_filename` has no suffix, files with one are not of the same kind."""
    for name in ("mon", "tue", "mon.csv", "tue.json"):
        (tmp_path / name).touch()
    assert logfiles(str(tmp_path / "tue")) == [str(tmp_path / "mon"), str(tmp_path / "tue")]


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    """The current file counts also when it is not there; its directory must be."""
    assert logfiles(str(tmp_path / "a.log")) == [str(tmp_path / "a.log")]
    with pytest.raises(FileNotFoundError):
        logfiles(str(tmp_path / "no" / "a.log"))
