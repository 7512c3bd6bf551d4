"""The settings of a cluster, with the server as the judge: what was set is what the server reads.

`postgres -C` answers for one setting. For many at once, and for lines that are wrong, a running server is asked
through its view pg_file_settings: it reads the configuration files anew for each query, and tells of every line
what it made of it, without applying it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lexer import ACCEPTED, REFUSED

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.lexer import LineError, fold, parse
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run

NASTY = [
    "",
    " ",
    "  two  blanks  ",
    "'",
    "''",
    "it's",
    "'quoted'",
    '"$user", public',
    "\\",
    "\\\\",
    "C:\\new\\table",
    "\\'",
    "'\\",
    "ends with \\",
    "\\101",
    "# no comment",
    "a # b",
    "a = b",
    "port = 1\r",
    "tab\there",
    "\r",
    "\x01\x0b\x0c\x1f\x7f",
    "größe",
    "日本語 🐘",
    "\udce9\udcff",
    "*",
    "10.0.0.1,::1",
    "cp %p '/archive/%f' && test ! -f \"/x/%f\"",
    "include 'x'",
    "x" * 5000,
    "\u2028\x85\ufeff",
    "';--",
]

VALUES = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])) | st.binary().map(
    lambda value: value.translate(None, b"\n\0").decode("utf-8", "surrogateescape")
)


# In hexadecimal, as a value may contain anything. Rows without a file tell of settings that need a restart to go.
QUERY = b"""
SELECT encode(convert_to(sourcefile, 'SQL_ASCII'), 'hex'), sourceline,
    encode(convert_to(coalesce(name, ''), 'SQL_ASCII'), 'hex'),
    encode(convert_to(coalesce(setting, ''), 'SQL_ASCII'), 'hex'), coalesce(error, '')
    FROM pg_file_settings WHERE sourcefile IS NOT NULL ORDER BY seqno;
\\echo end
"""


class Row(NamedTuple):
    """A row of pg_file_settings; `error` has the complaints about the line."""

    path: str
    line: int
    name: str
    value: str
    error: str


class Judge:
    """A running server that is asked what it makes of its configuration files."""

    def __init__(self, psql: subprocess.Popen[bytes], data_directory: Path) -> None:
        self.path = data_directory / "postgresql.conf"
        self.auto_file = data_directory / "postgresql.auto.conf"
        self._psql = psql

    def rows(self) -> list[Row]:
        """Return every assignment and every error that the server sees, in its order."""
        stdin, stdout = _pipes(self._psql)
        stdin.write(QUERY)
        stdin.flush()
        rows = []
        for answer in iter(stdout.readline, b"end\n"):
            assert answer, "psql ended"
            path, line, name, value, error = answer.decode().rstrip("\n").split("|", 4)
            rows.append(Row(_text(path), int(line), _text(name), _text(value), error))
        return rows

    def values(self) -> dict[str, str]:
        """Return what the server takes each setting to be."""
        return {fold(row.name): row.value for row in self.rows()}


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "surrogateescape")


def _pipes(psql: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert psql.stdin is not None
    assert psql.stdout is not None
    return psql.stdin, psql.stdout


@pytest.fixture
def judge(installation: Installation, data_directory: Path, server_user: User | None) -> Iterator[Judge]:
    """Start a server, and a psql that asks it."""
    environment = command.environment(os.environ, run_as=server_user)
    pg_ctl = [installation.require("pg_ctl"), "-D", str(data_directory), "-w", "-l", str(data_directory / "log")]
    started = run([*pg_ctl, "start"], environment=environment, run_as=server_user)
    assert started.returncode == 0, started.stdout + started.stderr
    connection = ["-h", str(data_directory.parent), "-U", "postgres"]
    psql = [installation.require("psql"), "-XAtq", *connection, "bytes"]
    try:
        # A database that takes any bytes for a text, as a configuration file does; template0 is let have any encoding.
        for arguments in (
            ("-T", "postgres", "template0"),
            ("-T", "template0", "-E", "SQL_ASCII", "--locale=C", "bytes"),
        ):
            created = run([installation.require("createdb"), *connection, *arguments], environment=environment)
            assert created.returncode == 0, created.stderr
        with subprocess.Popen(psql, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asked:
            yield Judge(asked, data_directory)
    finally:
        run([*pg_ctl, "-m", "immediate", "stop"], environment=environment, run_as=server_user)


def ask_postgres(installation: Installation, path: Path, server_user: User | None, name: str) -> str:
    """Return what `postgres -C` prints for one setting."""
    finished = run(
        command.setting_command(installation.require("postgres"), str(path.parent), name),
        environment=command.environment(os.environ, run_as=server_user),
        run_as=server_user,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.removesuffix("\n")


def test_nasty_values_arrive_at_the_server(
    installation: Installation, data_directory: Path, server_user: User | None
) -> None:
    """`postgres -C` prints exactly what was set, for a plain and for a qualified name."""
    path = data_directory / "postgresql.conf"
    config = ConfigFile(path)
    for value in NASTY:
        if "\r" in value:
            continue  # subprocess's text mode reads it as a newline; the other tests have it
        config.update({"archive_command": value, "my_app.motto": value})
        assert ask_postgres(installation, path, server_user, "archive_command") == value
    assert ask_postgres(installation, path, server_user, "my_app.motto") == NASTY[-1]


def test_a_spelling_of_the_administrator_is_the_same_setting(
    installation: Installation, data_directory: Path, server_user: User | None
) -> None:
    """`Work_Mem 1MB` is edited where it stands, and the server reads the new value."""
    path = data_directory / "postgresql.conf"
    path.write_bytes(b"Work_Mem 1MB\r\nMy_App.Motto'x'#c\r\nsort_mem=3MB # old")
    ConfigFile(path).update({"work_mem": "2MB", "MY_APP.MOTTO": "y"})
    assert path.read_bytes() == b"Work_Mem 1MB\r\nMy_App.Motto'y'#c\r\nsort_mem='2MB' # old"
    assert ask_postgres(installation, path, server_user, "work_mem") == "2048"
    assert ask_postgres(installation, path, server_user, "my_app.motto") == "y"


def test_the_file_of_initdb_is_read_and_edited(
    installation: Installation, data_directory: Path, server_user: User | None
) -> None:
    """A sample setting is uncommented where it stands, and commented out again."""
    path = data_directory / "postgresql.conf"
    before = path.read_bytes()
    config = ConfigFile(path, auto_file=data_directory / "postgresql.auto.conf")
    assert config.problems() == ()
    config["work_mem"] = "8MB"
    assert ask_postgres(installation, path, server_user, "work_mem") == "8192"
    changed = [
        (old, new) for old, new in zip(before.split(b"\n"), path.read_bytes().split(b"\n"), strict=True) if old != new
    ]
    assert [(old[:15], new[:16]) for old, new in changed] == [(b"#work_mem = 4MB", b"work_mem = '8MB'")]
    del config["work_mem"]
    assert path.read_bytes() == before.replace(b"#work_mem = 4MB", b"#work_mem = '8MB'")
    assert ask_postgres(installation, path, server_user, "work_mem") == "4096"


def test_the_table_of_lines_is_the_servers(judge: Judge) -> None:
    """The server reads every line of the lexer's own tests as they say, and refuses those that they refuse."""
    accepted = {line: entry for line, entry in ACCEPTED if entry.name != "include"}
    _include_each(judge.path, [*accepted, *(line for line, _ in REFUSED)])
    rows = [row for row in judge.rows() if row.path.endswith(".one")]
    read = [(fold(row.name), row.value) for row in rows if row.error != "syntax error"]
    assert read == [(entry.name, entry.value) for entry in accepted.values()]
    assert len(rows) == len(accepted) + len(REFUSED)


def _include_each(path: Path, lines: list[bytes]) -> None:
    """Make postgresql.conf include one file per line: this view gives up a file at its first error, not the next."""
    names = [f"{path.parent}/{number}.one" for number in range(len(lines))]
    for name, line in zip(names, lines, strict=True):
        Path(name).write_bytes(line + b"\n")
    path.write_text("".join(f"include '{name}'\n" for name in names))


PIECES = st.sampled_from(
    [
        *(b"a", b"B", b"a.b", b"_", b"z9", b"e5", b"\xe9", b"\xc3\xa4"),
        *(b".", b"-", b"+", b"/", b":", b"$", b"*", b",", b'"', b";", b"\x0b"),
        *(b"0", b"7", b"12", b"0x1f", b"1.5", b"kB", b"e"),
        *(b"'", b"''", b"'x'", b"\\", b"\\'", b"\\101", b"\\8", b"\\n", b"\\400", b"#"),
        *(b"=", b" = ", b" ", b"\t", b"\r"),
    ]
)
LINES = st.tuples(
    st.sampled_from([b"", b"", b"x.y=", b"x.y = ", b"port ", b"#"]), st.lists(PIECES, max_size=8).map(b"".join)
).map(b"".join)


def test_any_line_is_read_as_the_server_reads_it(judge: Judge) -> None:
    """Lines put together at random: the same name and value, or a syntax error on both sides."""

    @settings(max_examples=30)
    @given(st.lists(LINES, min_size=20, max_size=60))
    def check(lines: list[bytes]) -> None:
        _include_each(judge.path, lines)
        config = ConfigFile(judge.path)
        rows = judge.rows()
        assert [(problem.path, problem.line) for problem in config.problems()] == [
            (row.path, row.line) for row in rows if row.error == "syntax error"
        ]
        assert dict(config.items()) == {fold(row.name): row.value for row in rows if row.error != "syntax error"}

    check()


def test_any_value_arrives_at_the_server(judge: Judge) -> None:
    """Whatever is set, in whatever file, is what the server reads, and nothing else of its reading changes."""
    valid = LINES.filter(_is_valid)
    endings = st.sampled_from([b"\n", b"\r\n", b"\n\n"])
    content = st.lists(st.tuples(valid, endings).map(b"".join), max_size=20).map(b"".join)
    names = st.sampled_from(["x.y", "X.Y", "a.b", "port", "a", "archive_command", "new.one", "New.Two"])

    @settings(max_examples=150)
    @given(content, st.dictionaries(names, st.none() | VALUES, min_size=1), st.sampled_from([b"", b"\n", b"x.y 1"]))
    def check(content: bytes, changes: dict[str, str | None], last: bytes) -> None:
        judge.path.write_bytes(content + last)
        expected = judge.values() | {fold(name): value for name, value in changes.items()}
        config = ConfigFile(judge.path)
        config.update(changes)
        read = {name: value for name, value in expected.items() if value is not None}
        assert judge.values() == read
        assert dict(config.items()) == read

    check()


def _is_valid(line: bytes) -> bool:
    try:
        parse(line)
    except LineError:
        return False
    return True


def test_includes_are_followed_as_the_server_follows_them(judge: Judge) -> None:
    """Every assignment comes from the file and line that the server says, in its order."""
    base = judge.path.parent
    (base / "conf.d").mkdir()
    (base / "conf.d/sub.conf").mkdir()
    (base / "conf.d/B.conf").write_text("x.n = 'B'\ninclude = '../deep.conf'\n")
    (base / "conf.d/a.conf").write_text("x.n = 'a'\nx.a = 1\n")
    (base / "conf.d/.hidden.conf").write_text("x.hidden = 1\n")
    (base / "conf.d/.conf").write_text("x.hidden = 2\n")
    (base / "conf.d/c.conf~").write_text("x.hidden = 3\n")
    (base / "deep.conf").write_text("x.deep = 1 # no newline")
    (base / "late.conf.").write_text("x.n = 'late'\n")
    judge.path.write_text(
        "x.n = 'main'\nInclude_Dir 'conf.d'\nx.n = 'again'\n"
        "INCLUDE_IF_EXISTS = 'nowhere.conf'\ninclude late.conf.\ninclude 'conf.d/../deep.conf'\n"
    )
    judge.auto_file.write_text("x.auto = 'system'\nx.deep = 'system'\n")
    config = ConfigFile(judge.path, auto_file=judge.auto_file)
    rows = judge.rows()
    seen = {fold(row.name): (row.value, row.path, row.line) for row in rows}
    assert [row.error for row in rows] == [""] * len(rows)
    assert {entry.name: (entry.value, entry.path, entry.line) for entry in config.assignments()} == seen
    assert config.problems() == ()
    config["x.n"] = "mine"
    assert judge.values()["x.n"] == "mine"
    with pytest.raises(ConfigurationError, match=r"ALTER SYSTEM RESET x\.deep"):
        config["x.deep"] = "mine"


def test_includes_may_be_ten_deep(judge: Judge) -> None:
    """The eleventh level is an error, here and for the server."""
    base = judge.path.parent
    for level in range(1, 11):
        (base / f"{level}.conf").write_text(f"x.n{level} = 1\ninclude '{level + 1}.conf'\n")
    (base / "10.conf").write_text("x.n10 = 1\n")
    (base / "11.conf").write_text("x.n11 = 1\n")
    judge.path.write_text("include '1.conf'\n")
    config = ConfigFile(judge.path)
    assert config.problems() == ()
    assert dict(config.items()) == judge.values() == {f"x.n{level}": "1" for level in range(1, 11)}
    (base / "10.conf").write_text("x.n10 = 1\ninclude '11.conf'\n")
    assert [(problem.path, problem.line) for problem in config.problems()] == [(f"{base}/10.conf", 2)]
    assert "maximum nesting depth exceeded" in str(config.problems()[0])
    assert [row.path for row in judge.rows() if row.error] == [f"{base}/10.conf"]


REFUSED_INCLUDES = [
    "include 'nowhere.conf'",
    "include ''",
    "include_dir 'nowhere'",
    "include_dir ' '",
    "include_if_exists 'postgresql.conf'",
    "include 'circle.conf'",
    "include 'base'",
    "include_if_exists 'base'",
    "include_dir 'dangling'",
]


def test_an_include_that_the_server_refuses_is_a_problem(judge: Judge) -> None:
    """A missing file, an empty name, a circle: reported, and harmless for reading the rest."""
    base = judge.path.parent
    (base / "circle.conf").write_text("include 'postgresql.conf'\n")
    (base / "dangling").mkdir()
    (base / "dangling/x.conf").symlink_to("nowhere")
    for directive in REFUSED_INCLUDES:
        judge.path.write_text(f"x.a = 1\n{directive}\nx.b = 2\n")
        config = ConfigFile(judge.path)
        assert len(config.problems()) == 1, directive
        assert any(row.error for row in judge.rows()), directive
        assert dict(config.items()) == {"x.a": "1", "x.b": "2"}


def test_alter_system_wins(judge: Judge) -> None:
    """A setting of postgresql.auto.conf is what is read, and cannot be changed from here."""
    stdin, _ = _pipes(judge._psql)
    stdin.write(b"ALTER SYSTEM SET work_mem = '7MB';\n")
    stdin.flush()
    judge.rows()
    config = ConfigFile(judge.path, auto_file=judge.auto_file)
    before = judge.path.read_bytes()
    assert config["work_mem"] == "7MB"
    config["work_mem"] = "7MB"
    for change in ("9MB", None):
        with pytest.raises(ConfigurationError) as caught:
            config.update({"x.y": "1", "work_mem": change})
        assert caught.value.path == str(judge.auto_file)
        assert caught.value.line == 3
    assert judge.path.read_bytes() == before
