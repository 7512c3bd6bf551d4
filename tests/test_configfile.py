"""The settings of a cluster as a mapping, and what its editing does to the bytes of postgresql.conf."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import MutableMapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.configtree import Assignment

SAMPLE = b"""\
# Caf\xe9, in Latin-1
\tlisten_addresses = 'localhost'\t\t# what IP address(es)
Port=5433
#work_mem = 4MB\t\t\t\t# min 64kB
# port = of call, see docs
#port = of call
my_app.Motto 'it\\'s' # c
"""


def config(tmp_path: Path, content: bytes) -> ConfigFile:
    """Make a postgresql.conf of these bytes."""
    path = tmp_path / "postgresql.conf"
    path.write_bytes(content)
    return ConfigFile(path)


def content_of(settings: ConfigFile) -> bytes:
    """Return the bytes of postgresql.conf."""
    return Path(settings.path).read_bytes()


EDITS = [
    pytest.param(b"port = 1\n", {"port": "2"}, b"port = '2'\n", id="in place"),
    pytest.param(b"  Port\t=1#c\r\n", {"port": "2"}, b"  Port\t='2'#c\r\n", id="spelling and spacing stay"),
    pytest.param(b"port 1", {"port": "2"}, b"port '2'", id="no equal sign, no last newline"),
    pytest.param(b"port'1'#c", {"port": "2"}, b"port'2'#c", id="no blank at all"),
    pytest.param(b"a = 'it\\'s' # c\nb = 5\n", {"a": "x"}, b"a = 'x' # c\nb = 5\n", id="an escaped quote"),
    pytest.param(b"a = 1\na = 2\na = 3\n", {"a": "4"}, b"a = 1\na = 2\na = '4'\n", id="the last one counts"),
    pytest.param(b"#a = 2\na = 1\n", {"a": "2"}, b"#a = 2\na = '2'\n", id="active before commented out"),
    pytest.param(b"A.b = 1\n", {"a.B": "2"}, b"A.b = '2'\n", id="a qualified name"),
    pytest.param(b"#a = 1\n #a = 1 # c\nb = 1\n", {"a": "2"}, b"#a = 1\n a = '2' # c\nb = 1\n", id="uncommented"),
    pytest.param(b"# a = 1\n#a 1\n", {"a": "2"}, b"# a = 1\n#a 1\na = '2'\n", id="prose"),
    pytest.param(b"", {"A_b": "2"}, b"A_b = '2'\n", id="an empty file"),
    pytest.param(b"b = 1", {"a": "2"}, b"b = 1\na = '2'\n", id="appended after no newline"),
    pytest.param(b"b = 1\r\nc = 2", {"a": "2"}, b"b = 1\r\nc = 2\r\na = '2'\r\n", id="appended with CRLF"),
    pytest.param(b"b = 1\n", {"a": "1", "c": "2"}, b"b = 1\na = '1'\nc = '2'\n", id="appended in order"),
    pytest.param(b"a = 1\n", {"a": "1"}, b"a = 1\n", id="the value that it has"),
    pytest.param(b"a = 'x''y'\n", {"a": "x'y"}, b"a = 'x''y'\n", id="the value that it has, quoted"),
    pytest.param(b"  a = 1\nA 2 # c\n", {"a": None}, b"#  a = 1\n#A 2 # c\n", id="taken out"),
    pytest.param(b"b = 1\n", {"a": None}, b"b = 1\n", id="nothing to take out"),
    pytest.param(b"a = 1\n", {"a": "2", "A": "3"}, b"a = '3'\n", id="two spellings, the later counts"),
    pytest.param(b"a = \n'\nb = 1 1\n", {"b": "2"}, b"a = \n'\nb = 1 1\nb = '2'\n", id="a broken file"),
    pytest.param(b"\xef\xbb\xbfa = 1\n", {"a": "2"}, b"\xef\xbb\xbfa = 1\na = '2'\n", id="a byte order mark"),
    pytest.param(b"sort_mem = 1\n", {"work_mem": "2"}, b"sort_mem = '2'\n", id="an old name"),
    pytest.param(b"a = 1\n", {"a": "\\ ' \r \xe9 \udce9"}, b"a = '\\\\ '' \\r \xc3\xa9 \xe9'\n", id="escapes"),
]


@pytest.mark.parametrize(("before", "changes", "after"), EDITS)
def test_only_what_must_change_changes(
    tmp_path: Path, before: bytes, changes: dict[str, str | None], after: bytes
) -> None:
    """The whole file, byte for byte, after an update."""
    settings = config(tmp_path, before)
    settings.update(changes)
    assert content_of(settings) == after


def test_the_file_is_a_mutable_mapping(tmp_path: Path) -> None:
    """Every operation of a MutableMapping works, on names without case and values that are str."""
    settings = config(tmp_path, SAMPLE)
    expected = {"listen_addresses": "localhost", "port": "5433", "my_app.motto": "it's"}
    assert isinstance(settings, MutableMapping)
    assert settings == expected
    assert dict(settings) == dict(settings.items()) == expected
    assert list(settings) == list(settings.keys()) == list(expected)
    assert list(settings.values()) == list(expected.values())
    assert len(settings) == 3
    assert settings["PORT"] == settings["port"] == "5433"
    assert "Port" in settings
    assert "work_mem" not in settings
    number: object = 5433
    assert number not in settings
    assert settings.get("work_mem") is None
    assert settings.get("work_mem", "x") == "x"
    with pytest.raises(KeyError, match="'Work_Mem'"):
        settings["Work_Mem"]
    assert settings.getset(["PORT", "work_mem"]) == {"PORT": "5433", "work_mem": None}
    assert settings.pop("port") == "5433"
    assert settings.setdefault("port", "1") == "1"
    assert settings.setdefault("port", "2") == "1"
    settings.update([("a", "1")], b="2")
    assert settings.getset({"a", "b"}) == {"a": "1", "b": "2"}
    settings["a"] = None
    del settings["B"]
    with pytest.raises(KeyError, match="'b'"):
        del settings["b"]
    settings.clear()
    assert not settings
    assert settings.problems() == ()


def test_taking_out_and_putting_back_is_one_line(tmp_path: Path) -> None:
    """A setting that was taken out is put back where it stood, with its comment."""
    settings = config(tmp_path, b"a = 1 # c\nb = 2\n")
    del settings["a"]
    assert content_of(settings) == b"#a = 1 # c\nb = 2\n"
    settings["a"] = "1"
    assert content_of(settings) == b"a = '1' # c\nb = 2\n"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"b": "1", "a": "x\ny"}, ValueError),
        ({"b": "1", "a": "x\0y"}, ValueError),
        ({"b": "1", "a": "\ud800"}, ValueError),
        ({"b": "1", "a b": "x"}, ValueError),
        ({"b": "1", "a = 1\nx": "x"}, ValueError),
        ({"b": "1", "include": "x"}, ValueError),
        ({"b": "1", "include_dir": None}, ValueError),
        ({"b": "1", "a": 5}, TypeError),
        ({"b": "1", 5: "a"}, TypeError),
    ],
)
def test_what_cannot_be_written_touches_nothing(
    tmp_path: Path, changes: dict[str, str | None], error: type[Exception]
) -> None:
    """One impossible change among others, and none is made."""
    settings = config(tmp_path, SAMPLE)
    inode = Path(settings.path).stat().st_ino
    with pytest.raises(error):
        settings.update(changes)
    assert content_of(settings) == SAMPLE
    assert Path(settings.path).stat().st_ino == inode


@pytest.mark.parametrize("changes", [{}, {"port": "5433"}, {"nowhere": None}])
def test_nothing_to_do_writes_nothing(tmp_path: Path, changes: dict[str, str | None]) -> None:
    """Not even the file's inode or its time changes."""
    settings = config(tmp_path, SAMPLE)
    before = Path(settings.path).stat()
    settings.update(changes)
    after = Path(settings.path).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_a_missing_file_is_an_error_everywhere(tmp_path: Path) -> None:
    """Neither reading nor writing takes a missing postgresql.conf for an empty one."""
    settings = ConfigFile(tmp_path / "postgresql.conf")
    for access in (
        lambda: settings["port"],
        lambda: list(settings),
        lambda: settings.getset(["port"]),
        lambda: settings.update(port="1"),
        settings.problems,
    ):
        with pytest.raises(FileNotFoundError):
            access()
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_mistakes_can_be_read_and_mended(tmp_path: Path) -> None:
    """What PostgreSQL would refuse is told with its line, and the rest is there."""
    settings = config(tmp_path, b"a = 1\nb = = 2\nc = 'x\nd = 4\n")
    assert dict(settings) == {"a": "1", "d": "4"}
    assert [(problem.path, problem.line, problem.why) for problem in settings.problems()] == [
        (settings.path, 2, 'syntax error near token "="'),
        (settings.path, 3, 'syntax error near token "\'"'),
    ]


def test_an_included_file_that_wins_is_overridden_at_the_end(tmp_path: Path) -> None:
    """Neither the earlier line nor the comment would be what the server reads, so the new line goes after all."""
    (tmp_path / "more.conf").write_text("a = 2\nb = 2\n")
    settings = config(tmp_path, b"a = 1\n#b = 1\ninclude 'more.conf'\n")
    settings.update(a="3", b="3")
    assert content_of(settings) == b"a = 1\n#b = 1\ninclude 'more.conf'\na = '3'\nb = '3'\n"
    assert dict(settings) == {"a": "3", "b": "3"}
    settings["a"] = "4"
    assert content_of(settings) == b"a = 1\n#b = 1\ninclude 'more.conf'\na = '4'\nb = '3'\n"
    assert (tmp_path / "more.conf").read_text() == "a = 2\nb = 2\n"


def test_what_an_included_file_sets_is_not_taken_out_here(tmp_path: Path) -> None:
    """The error names the file and the line that would have to go."""
    (tmp_path / "more.conf").write_text("\na = 2\n")
    before = b"include 'more.conf'\na = 1\nb = 1\n"
    settings = config(tmp_path, before)
    with pytest.raises(ConfigurationError) as caught:
        settings.update({"b": None, "a": None})
    assert (caught.value.path, caught.value.line) == (str(tmp_path / "more.conf"), 2)
    assert content_of(settings) == before


def test_what_alter_system_set_is_not_changed_here(tmp_path: Path) -> None:
    """postgresql.auto.conf wins, wherever it lies; the error says how to give it up."""
    auto = tmp_path / "data/postgresql.auto.conf"
    auto.parent.mkdir()
    config(tmp_path, b"a = 1\nb = 1\n")
    settings = ConfigFile(tmp_path / "postgresql.conf", auto_file=auto)
    assert dict(settings) == {"a": "1", "b": "1"}
    auto.write_text("# Do not edit this file manually!\na = '2'\n")
    assert dict(settings) == {"a": "2", "b": "1"}
    for value in ("1", "3", None):
        with pytest.raises(ConfigurationError, match="ALTER SYSTEM RESET a") as caught:
            settings.update({"b": "2", "a": value})
        assert (caught.value.path, caught.value.line) == (str(auto), 2)
    settings["A"] = "2"
    assert content_of(settings) == b"a = 1\nb = 1\n"


def test_provenance_and_the_files_to_watch(tmp_path: Path) -> None:
    """Where each value comes from, and every file and directory that has a say, existing or not."""
    for name in ("a.conf", "B.conf", "c.txt", ".d.conf"):
        (tmp_path / "conf.d").mkdir(exist_ok=True)
        (tmp_path / "conf.d" / name).write_text(f"x = '{name}'\n")
    config(tmp_path, b"y = 1\ninclude_dir = 'conf.d'\ninclude_if_exists 'later'\n")
    path, auto = str(tmp_path / "postgresql.conf"), str(tmp_path / "postgresql.auto.conf")
    settings = ConfigFile(path, auto_file=auto)
    conf_d = str(tmp_path / "conf.d")
    assert settings.assignments() == (
        Assignment("y", "1", path, 1),
        Assignment("x", "a.conf", f"{conf_d}/a.conf", 1),
    )
    assert settings.files() == (path, f"{conf_d}/B.conf", f"{conf_d}/a.conf", str(tmp_path / "later"), auto)
    assert settings.directories() == (conf_d,)


def test_a_circle_of_files_is_read_once(tmp_path: Path) -> None:
    """Each file that leads back is a problem, and is not read again and again."""
    (tmp_path / "more.conf").write_text("include 'postgresql.conf'\na = 2\n" * 2)
    settings = config(tmp_path, b"a = 1\n" + b"include_if_exists 'more.conf'\n" * 2)
    more = str(tmp_path / "more.conf")
    assert dict(settings) == {"a": "2"}
    assert [(problem.path, problem.line) for problem in settings.problems()] == [(more, 1), (more, 3)] * 2
    assert settings.problems()[0].why == f'configuration file recursion in "{settings.path}"'
    assert settings.files() == (settings.path, more)


VALUES = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]))
LINES = st.sampled_from([b"a = 1", b"A '2' # c", b"#a = 3", b"# prose", b"", b"b=1", b"q.a x", b"\xe9", b"#b = 'x'"])
ENDINGS = st.sampled_from([b"\n", b"\r\n"])


@given(
    st.lists(st.tuples(LINES, ENDINGS)), st.dictionaries(st.sampled_from(["a", "b", "q.a", "n"]), VALUES, min_size=1)
)
def test_every_other_line_stays_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, bytes]], changes: dict[str, str]
) -> None:
    """An update changes at most one line for each setting, adds lines only at the end, and is read back."""
    settings = config(tmp_path_factory.mktemp("any"), b"".join(line + ending for line, ending in lines))
    before = dict(settings)
    settings.update(changes)
    after = content_of(settings).split(b"\n")[:-1]
    kept = after[: len(lines)]
    differing = [old for (old, end), new in zip(lines, kept, strict=True) if old + end != new + b"\n"]
    assert len(differing) + len(after) - len(lines) <= len(changes)
    assert dict(settings) == before | changes


def _write_many(path: str, writer: int, count: int) -> None:
    settings = ConfigFile(path)
    for number in range(count):
        settings[f"w{writer}.n{number}"] = str(number)


def test_writers_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    """Processes and threads write one file at the same time, a reader always sees a whole file, and all is there."""
    settings = config(tmp_path, SAMPLE)
    context = multiprocessing.get_context("spawn")
    writers: list[threading.Thread | multiprocessing.process.BaseProcess] = [
        *(context.Process(target=_write_many, args=(settings.path, number, 15)) for number in range(2)),
        *(threading.Thread(target=_write_many, args=(settings.path, number, 15)) for number in range(2, 5)),
    ]
    for writer in writers:
        writer.start()
    seen = 3
    while any(writer.is_alive() for writer in writers):
        now = len(settings)
        assert now >= seen
        seen = now
    for writer in writers:
        writer.join()
    assert dict(settings) == {
        "listen_addresses": "localhost",
        "port": "5433",
        "my_app.motto": "it's",
        **{f"w{writer}.n{number}": str(number) for writer in range(5) for number in range(15)},
    }
    assert content_of(settings).startswith(SAMPLE)
    assert [path.name for path in tmp_path.iterdir()] == ["postgresql.conf"]
