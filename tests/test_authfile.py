"""Which files pg_hba.conf and pg_ident.conf lead to. tests/pg/test_sources.py has the same tables judged by servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsupervisor.postgres import authfile
from pgsupervisor.postgres.authfile import AuthFiles

LISTS = [
    (b"local all @a trust", "a"),
    (b"@a", "a"),
    (b"local all alice,@a trust", "a"),
    (b"local all alice, @a trust", "a"),
    (b"local,@a, all", "a"),
    (b"local all @a\r", "a"),
    (b"local all @a#b", "a"),
    (b'local all @"a#b" trust', "a#b"),
    (b'local all @"a b" trust', "a b"),
    (b'local all @"a""b" trust', 'a"b'),
    (b'local all @x"y ""z"w trust', 'xy "zw'),
    (b'local all @"a trust', "a trust"),
    (b"local all @sub/../a trust", "a"),
    (b"local all @./a trust", "a"),
    (b"local\x0ball @a trust", "a"),
    (b"local all \\\n@a trust", "a"),
    (b"local all @a\\\nb trust", "ab"),
    (b"local all @a\\\r\nb trust", "ab"),
    (b"local all @a\\\\\n@b trust", "a\\@b"),
    (b"local all @a\\\\\n\n@\\", "a\\"),
    (b"local all @a\0b trust", "a"),
    (b"local all @a \\", "a"),
    (b'local all "@a" trust', None),
    (b'local all ""@a trust', None),
    (b"local all @ trust", None),
    (b'local all @"" trust', None),
    (b"local all +@a trust", None),
    (b"# c\n \t\r\n\n@a", "a"),
    (b"#\\\n\n@a", "a"),
    (b"# c \\\0\n@a", None),
    (b'local all @"a\\\n#b" trust', "a#b"),
    (b"# @a", None),
    (b"# \\\n@a", None),
    (b'local all "\\\n@a" trust', None),
    (b"", None),
]
"""What pg_hba.conf may say in every version since 14, and the one file that it leads to."""

DIRECTIVES = [
    (b"include a", "a"),
    (b" include\ta # c", "a"),
    (b'"include" "a b"', "a b"),
    (b"include,z a,b", "a"),
    (b"include \\\na", "a"),
    (b"include @a", "a"),
    (b'include "@a"', "@a"),
    (b"include a b", None),
    (b"include", None),
    (b"INCLUDE a", None),
    (b"a include", None),
]
"""The same for what is a directive since PostgreSQL 16."""


@pytest.fixture
def hba(tmp_path: Path) -> Path:
    """Where pg_hba.conf is."""
    return tmp_path / "pg_hba.conf"


def below(path: Path, *names: str) -> tuple[str, ...]:
    """Return the paths of files beside pg_hba.conf, after its own."""
    return (str(path), *(f"{path.parent}/{name}" for name in names))


@pytest.mark.parametrize(("content", "name"), LISTS)
def test_lists(hba: Path, content: bytes, name: str | None) -> None:
    """A file that is named with an unquoted @ is followed, in any list of any line, whether it exists or not."""
    hba.write_bytes(content)
    files = below(hba) if name is None else below(hba, name)
    assert [authfile.read(str(hba), major) for major in (14, 18)] == [AuthFiles(files, ())] * 2


@pytest.mark.parametrize(("content", "name"), DIRECTIVES)
def test_directives(hba: Path, content: bytes, name: str | None) -> None:
    """Includes are followed where PostgreSQL knows them."""
    hba.write_bytes(content)
    assert authfile.read(str(hba), 16) == AuthFiles(below(hba) if name is None else below(hba, name), ())


def test_versions(hba: Path) -> None:
    """A backslash goes on with the next line since 14, and there are includes since 16."""
    hba.write_bytes(b"include a\ninclude_if_exists b\ninclude_dir c\nlocal all \\\n@d\nlocal all @e\\\nf")
    lists = below(hba, "d", "e\\")
    assert authfile.read(str(hba), 13) == AuthFiles(lists, ())
    assert authfile.read(str(hba), 15) == AuthFiles(below(hba, "d", "ef"), ())
    assert authfile.read(str(hba), 16) == AuthFiles(below(hba, "a", "b", "d", "ef"), (f"{hba.parent}/c",))


def test_files_lead_to_files(hba: Path, tmp_path: Path) -> None:
    """Names are relative to the file that has them, lists lead to lists, and directories are read in C order."""
    sub = tmp_path / "sub"
    (sub / "d" / "dir.conf").mkdir(parents=True)
    for name in ("b.conf", "B.conf", ".c.conf", "d.txt", "\udce9.conf"):
        (sub / "d" / name).touch()
    hba.write_bytes(b"local all @sub/list trust\ninclude sub/more\n@/nowhere/../x\n")
    (sub / "list").write_bytes(b"alice, @inner\nbob\n")
    (sub / "more").write_bytes(b'include_dir d\ninclude_if_exists ../last\ninclude_dir " "\n')
    names = ("sub/list", "sub/inner", "sub/more", "sub/d/B.conf", "sub/d/b.conf", "sub/d/\udce9.conf", "last")
    files = (*below(hba, *names), "/nowhere/../x")
    assert authfile.read(str(hba), 18) == AuthFiles(files, (f"{sub}/d",))


def test_circles_and_depth_end(hba: Path) -> None:
    """Files that lead in a circle are read once, and files that lead deeper than the server goes are left there."""
    hba.write_text("include pg_hba.conf\nlocal all @other trust\ninclude 1\n" * 2)
    (hba.parent / "other").write_text("@pg_hba.conf @other")
    for number in range(1, 12):
        (hba.parent / str(number)).write_text(f"include {number + 1}\n" * 10)
    assert authfile.read(str(hba), 18).files == below(hba, "other", *map(str, range(1, 11)))


def test_links_are_followed_but_not_resolved(hba: Path, tmp_path: Path) -> None:
    """A symbolic link is a file of its own name, and what it says is relative to where the link is."""
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "real").write_text("include a")
    hba.symlink_to("away/real")
    assert authfile.read(str(hba), 18).files == below(hba, "a")


def test_what_cannot_be_read_is_named(hba: Path, tmp_path: Path) -> None:
    """What is missing, no file, or a link to itself is named, and the reading goes on without waiting for it."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    names = ("missing", "fifo", "directory", "loop", "fifo/below", "n" * 300, "last")
    hba.write_text("".join(f"include {name}\n" for name in names) + "include_dir fifo\n")
    assert authfile.read(str(hba), 18) == AuthFiles(below(hba, *names), (f"{tmp_path}/fifo",))
    assert authfile.read(f"{tmp_path}/none", 18) == AuthFiles((f"{tmp_path}/none",), ())
