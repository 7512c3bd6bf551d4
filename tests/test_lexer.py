"""The lexer of one line, against exact expectations; tests/pg/test_settings.py asks the server for the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.postgres.lexer import (
    Entry,
    LineError,
    fold,
    parse,
    parse_commented_out,
    saying,
    spell_name,
    spell_value,
)

ACCEPTED = [
    (b"port = 5433", Entry("port", "5433", 7, 11)),
    (b"port=5433\n", Entry("port", "5433", 5, 9)),
    (b"port 5433\r\n", Entry("port", "5433", 5, 9)),
    (b"port'5433'#c", Entry("port", "5433", 4, 10)),
    (b" \tPort\t=\t5433 # four\n", Entry("port", "5433", 9, 13)),
    (b"_x9 = on", Entry("_x9", "on", 6, 8)),
    (b"My_App.Motto = on", Entry("my_app.motto", "on", 15, 17)),
    (b"a.b'x'", Entry("a.b", "x", 3, 6)),
    (b"SORT_MEM = 4MB", Entry("work_mem", "4MB", 11, 14)),
    (b"\xc4rger = 1", Entry("\udcc4rger", "1", 8, 9)),
    ("größe = 1".encode(), Entry("größe", "1", 10, 11)),
    (b"\xef\xbb\xbfport = 1", Entry("\ufeffport", "1", 10, 11)),
    (b"a = Europe/Berlin", Entry("a", "Europe/Berlin", 4, 17)),
    (b"a = pg_catalog.en-GB:x", Entry("a", "pg_catalog.en-GB:x", 4, 22)),
    (b"a = b.c.d", Entry("a", "b.c.d", 4, 9)),
    (b"a = -1", Entry("a", "-1", 4, 6)),
    (b"a = +64kB", Entry("a", "+64kB", 4, 9)),
    (b"a = 0x1FkB", Entry("a", "0x1FkB", 4, 10)),
    (b"a = .5", Entry("a", ".5", 4, 6)),
    (b"a = 1.5e-3", Entry("a", "1.5e-3", 4, 10)),
    (b"a = .", Entry("a", ".", 4, 5)),
    (b"a = ''", Entry("a", "", 4, 6)),
    (b"a = 'it''s' # c", Entry("a", "it's", 4, 11)),
    (rb"a = 'it\'s' # c", Entry("a", "it's", 4, 11)),
    (rb"a = 'C:\\new'", Entry("a", r"C:\new", 4, 13)),
    (rb"a = '\b\f\n\r\t\q\8\x41'", Entry("a", "\b\f\n\r\tq8x41", 4, 24)),
    (rb"a = '\101\1012\7z\18'", Entry("a", "AA2\az\x018", 4, 21)),
    (rb"a = '\41z'", Entry("a", "!z", 4, 10)),
    (rb"a = '\303\251\351'", Entry("a", "é\udce9", 4, 18)),
    (rb"a = 'x\0y'", Entry("a", "x", 4, 10)),
    (rb"a = 'x\400y'", Entry("a", "x", 4, 12)),
    (b"a = 'x # y\ty\r\x0b\x0c'", Entry("a", "x # y\ty\r\x0b\x0c", 4, 16)),
    (b"a = ''''''", Entry("a", "''", 4, 10)),
    (b"include 'x'", Entry("include", "x", 8, 11)),
]

REFUSED = [
    (b"port", "near end of line"),
    (b"port =", "near end of line"),
    (b"port = # c", "near end of line"),
    (b"port = = 1", 'near token "="'),
    (b"= 1", 'near token "="'),
    (b"5 = 1", 'near token "5"'),
    (b"'a' = 1", "near token \"'a'\""),
    (b"a-b = 1", 'near token "a-b"'),
    (b"a.b.c = 1", 'near token "a.b.c"'),
    (b"a$b = 1", 'near token "$"'),
    (b"a . b = 1", 'near token "b"'),
    (b"a = b.c", 'near token "b.c"'),
    (b"a = 10.0.0.1", 'near token ".0"'),
    (b"a = *", 'near token "*"'),
    (b"a = b,c", 'near token ","'),
    (b'a = "x"', 'near token """'),
    (b"a = 7 MB", 'near token "MB"'),
    (b"a = 1.5GB", 'near token "GB"'),
    (b"a = 1e5", 'near token "5"'),
    (b"a = 0X1F", 'near token "1F"'),
    (b"a = b c", 'near token "c"'),
    (b"a = 'b", 'near token "\'"'),
    (b"a = 'b'c'", 'near token "c"'),
    (rb"a = 'b\'", 'near token "\'"'),
    (b"a = 'b\nc'", 'near token "\'"'),
    (b"a = 1\x0b", 'near token "\x0b"'),
    (b"a = 1;", 'near token ";"'),
    (b"\xef\xbb\xbf# a comment", "near end of line"),
]

COMMENTED_OUT = [
    (b"#work_mem = 4MB   # min 64kB\n", Entry("work_mem", "4MB", 11, 14)),
    (b"#Work_Mem=4MB", Entry("work_mem", "4MB", 9, 12)),
    (b"  #a.b = 'x'\r\n", Entry("a.b", "x", 8, 11)),
    (b"# port = 5433", None),
    (b"##port = 5433", None),
    (b"#port 5433", None),
    (b"#port matters", None),
    (b"# port = of call, see docs", None),
    (b"#port = of call", None),
    (b"#port = ", None),
    (b"#port = 'x", None),
    (b"# set foo = 1", None),
    (b"#i # foo = 1", None),
    (b"port = 1 #port = 2", None),
    (b"x #port = 2", None),
    (b"#", None),
    (b"\n", None),
]


@pytest.mark.parametrize(("line", "entry"), ACCEPTED)
def test_a_line_that_the_server_takes_is_read_as_it_takes_it(line: bytes, entry: Entry) -> None:
    """Name, value and the place of the value are exactly what guc-file.l makes of the line."""
    assert parse(line) == entry


@pytest.mark.parametrize(("line", "near"), REFUSED)
def test_a_line_that_the_server_refuses_is_refused_in_its_words(line: bytes, near: str) -> None:
    """The error names the same token as the server's own message."""
    with pytest.raises(LineError) as caught:
        parse(line)
    assert str(caught.value) == f"syntax error {near}"


def test_a_nul_in_a_value_is_refused() -> None:
    """The server's C strings would lose the end of the value, and one character more; that is damage, not a value."""
    with pytest.raises(LineError, match="near token"):
        parse(b"a = 'b\0c'")


@pytest.mark.parametrize("line", [b"", b"\n", b"\r\n", b" \t\r", b"#", b"# port = 1", b"\t# \0 \xff\n"])
def test_an_empty_line_and_a_comment_say_nothing(line: bytes) -> None:
    """Blanks are spaces, tabs and carriage returns; a comment may contain any byte."""
    assert parse(line) is None


@pytest.mark.parametrize(("line", "entry"), COMMENTED_OUT)
def test_prose_is_not_taken_for_a_setting_that_is_commented_out(line: bytes, entry: Entry | None) -> None:
    """Only `#` directly before a whole valid assignment with an equal sign is one."""
    assert parse_commented_out(line) == entry


def test_only_ascii_letters_have_a_case() -> None:
    """The server's guc_name_compare knows no locale, so a Turkish or a sharp letter stays what it is."""
    assert fold("İ.ÄÖ_Ab") == "İ.ÄÖ_ab"
    assert fold("Vacuum_Mem") == "maintenance_work_mem"


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "1a", "a-b", "a.b.c", ".a", "a.", "a$b", "a\n", "a=1\nb", "a\0", "\ud800"]
)
def test_a_name_that_no_setting_can_have_is_refused(name: str) -> None:
    """A name cannot smuggle in a value, a line, or a directive."""
    with pytest.raises(ValueError, match=r"name of a setting|cannot be written"):
        spell_name(name)


@pytest.mark.parametrize("name", ["include", "Include_Dir", "INCLUDE_IF_EXISTS"])
def test_a_directive_is_no_setting(name: str) -> None:
    """To include a file is not to set something."""
    with pytest.raises(ValueError, match="directive"):
        spell_name(name)


@pytest.mark.parametrize("value", ["a\nb", "\n", "a\0b", "\ud800"])
def test_a_value_that_a_file_cannot_say_is_refused(value: str) -> None:
    """A newline or a NUL in a value, or half a character, is a ValueError."""
    with pytest.raises(ValueError, match="cannot"):
        spell_value(value)


@pytest.mark.parametrize("value", [5433, True, 1.5, b"x", None])
def test_a_value_that_is_no_string_is_refused_with_advice(value: object) -> None:
    """`settings['port'] = 5433` says what to write instead."""
    with pytest.raises(TypeError, match="a setting is a str, such as '64MB'"):
        spell_value(value)  # type: ignore[arg-type]  # that is the mistake


@given(st.binary().map(lambda value: value.replace(b"\n", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape")))
def test_what_is_spelled_is_read_back(value: str) -> None:
    """Any value of any bytes survives its spelling, which stays within one line."""
    line = b"x = " + spell_value(value) + b" # c"
    entry = parse(line)
    assert entry == Entry("x", value, 4, len(line) - 4)
    assert b"\r" not in line


PIECES = st.sampled_from(
    [b"a", b".", b"'", b"''", b"\\", b"=", b" ", b"#", b"-", b"1", b"0x", b"e", b"\0", b"\xe9", b"\r"]
)


@given(st.lists(PIECES))
def test_any_line_is_either_read_or_refused(pieces: list[bytes]) -> None:
    """No bytes make the lexer do anything but answer."""
    line = b"".join(pieces)
    try:
        entry = parse(line)
    except LineError:
        return
    if entry is not None:
        assert line[entry.start : entry.end]


@given(st.lists(PIECES | st.just(b"\n")).map(b"".join))
def test_lines_that_say_something(content: bytes) -> None:
    """Of a file, all lines are handed on but those that say nothing, with the numbers that they have in it."""
    assert list(saying(content)) == [(n, line) for n, line in enumerate(content.split(b"\n"), 1) if says(line)]


def says(line: bytes) -> bool:
    """Tell whether a line is anything for the lexer to read, or to refuse."""
    try:
        return parse(line) is not None
    except LineError:
        return True
