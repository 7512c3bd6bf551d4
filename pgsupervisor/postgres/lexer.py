r"""One line of postgresql.conf, read as the server reads it, and the spelling of a value that it reads back.

The server's own lexer is src/backend/utils/misc/guc-file.l, the same for PostgreSQL 12 to 18. A line is a name,
an equal sign that may be left out, one value, and perhaps a comment::

    work_mem = 4MB          # a value without quotes: a word, or a number with its unit
    Port 5433               # names have no case, and need no equal sign
    my_app.motto = 'It''s'  # a qualified name, and a value in quotes with escapes

No token goes beyond its line, so lines can be read one by one, and a line that is wrong harms no other. A
file has no encoding for the server; here bytes that are not UTF-8 become surrogates (PEP 383), and so survive.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

_ID = rb"[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*+"
_LONGER = rb"(?![.:/-])"

# The tokens of guc-file.l. There the longest that matches counts, and the first of equals; here they are so put that
# it is the first that matches. Two quotes within a string end a part of it and begin the next, so that no part of it is
# gone over again. A NUL in quotes, where the server's C strings lose their end, is refused instead.
_TOKENS = {
    "END": rb"\Z|(?=[\n#])",
    "ID": _ID + _LONGER,
    "QUALIFIED_ID": _ID + rb"\." + _ID + _LONGER,
    "UNQUOTED_STRING": rb"[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff._:/-]*+",
    "STRING": rb"(?:'(?:[^'\\\n\0]++|\\[^\n\0])*+')++",
    "REAL": rb"[-+]?[0-9]*+\.[0-9]*+(?:[Ee][-+]?[0-9]+)?",
    "INTEGER": rb"[-+]?(?:0x[0-9a-fA-F]+|[0-9]+)[a-zA-Z]*",
    "EQUALS": rb"=",
    "ERROR": rb".",
}
_TOKEN = re.compile(
    rb"[ \t\r]*+(?:" + b"|".join(b"(?P<%s>%s)" % (name.encode(), rule) for name, rule in _TOKENS.items()) + rb")",
    re.DOTALL,
)
_NAMES = {"ID", "QUALIFIED_ID"}
# A qualified name is no value: `x = a.b` is a syntax error, while `x = a.b.c` and `x = a.b-c` are not.
_VALUES = {"ID", "STRING", "UNQUOTED_STRING", "INTEGER", "REAL"}

_SAYING = re.compile(rb"\n[ \t\r]*+[^\n#][^\n]*+")
"""A line, after the end of another, that has more than blanks and a comment."""

_NAME = re.compile(_ID + rb"(?:\." + _ID + rb")?")
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)|''", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_OLD_NAMES = {"sort_mem": "work_mem", "vacuum_mem": "maintenance_work_mem"}

_SHORT, _MOST_KNOWN = 128, 256
"""Up to how many bytes a line is remembered, and how many lines are: most of those of initdb are in each cluster."""

INCLUDES = frozenset({"include", "include_if_exists", "include_dir"})
"""The directives that look like settings, and are none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that gives `name` (as `fold` returns it) its `value`; `line[start:end]` is the value as it is spelled."""

    name: str
    value: str
    start: int
    end: int


class LineError(ValueError):
    """The server would refuse the line; the text says why in the server's words."""


def parse(line: bytes) -> Entry | None:
    """Read one line, with or without its line ending; None for an empty line or a comment.

    Raises LineError where the server reports a syntax error.
    """
    return _known(line) if len(line) <= _SHORT else _parse(line)


def _parse(line: bytes) -> Entry | None:
    tokens = _tokens(line)
    kind, start, end = next(tokens)
    if kind == "END":
        return None
    if kind not in _NAMES:
        raise _error(line, start, end)
    name = line[start:end]
    kind, start, end = next(tokens)
    if kind == "EQUALS":
        kind, start, end = next(tokens)
    if kind not in _VALUES:
        raise _error(line, start, end)
    rest, rest_start, rest_end = next(tokens)
    if rest != "END":
        raise _error(line, rest_start, rest_end)
    spelled = line[start:end]
    value = _unquote(spelled) if kind == "STRING" else spelled
    return Entry(fold(_decode(name)), _decode(value), start, end)


_known = functools.lru_cache(_MOST_KNOWN)(_parse)


def saying(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that have more than blanks and a comment, without their endings; each with its number.

    Nearly all lines of the file that initdb makes are comments, and `parse` would return None for each of them.
    """
    number, position = 0, 0
    content = b"\n" + content
    for found in _SAYING.finditer(content):
        number += content.count(b"\n", position, found.start() + 1)
        position = found.start() + 1
        yield number, content[position : found.end()]


def parse_commented_out(line: bytes) -> Entry | None:
    """Read a line such as `#work_mem = 4MB  # min 64kB`: an assignment that works once its first `#` is taken away.

    The `#` must touch the name and there must be an equal sign, so that prose is not taken for a setting. The
    positions of the result are those after `#` was taken away. None for any other line.
    """
    before, mark, after = line.partition(b"#")
    name = _NAME.match(after)
    if before.strip(b" \t\r") or not mark or name is None or next(_tokens(after, name.end()))[0] != "EQUALS":
        return None
    try:
        return parse(before + after)
    except LineError:
        return None


def fold(name: str) -> str:
    """Return the one name under which the server knows a setting: in lower case, and today's for an old one.

    Only ASCII letters have a case here (guc_name_compare in guc.c), also in qualified names. The old names are
    those that every version from 12 to 18 takes (map_old_guc_names in guc.c).
    """
    lowered = name.translate(_LOWER)
    return _OLD_NAMES.get(lowered, lowered)


def spell_name(name: str) -> bytes:
    """Return a name as a configuration file has it.

    Raises ValueError if no setting can have that name, and TypeError for anything that is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a setting is a str, such as 'work_mem'; got {name!r}")
    spelled = _encode(name)
    if _NAME.fullmatch(spelled) is None:
        raise ValueError(
            f"{name!r} is no name of a setting: it takes letters, digits and underscores, such as work_mem or my_app.x"
        )
    if fold(name) in INCLUDES:
        raise ValueError(f"{name!r} is no setting but a directive; edit the file to include other files")
    return spelled


def spell_value(value: str) -> bytes:
    """Return a value in quotes, such that the server reads back exactly `value`.

    Raises ValueError for what a configuration file cannot say, and TypeError for anything that is not a str.
    """
    if not isinstance(value, str):
        raise TypeError(f"the value of a setting is a str, such as '64MB', 'on' or '5433'; got {value!r}")
    for character, called in (("\n", "newline"), ("\0", "NUL")):
        if character in value:
            raise ValueError(f"a value in a configuration file cannot contain a {called}: {value!r}")
    # A bare carriage return would be a new line in some editors, so it is escaped.
    spelled = _encode(value).replace(b"\\", b"\\\\").replace(b"'", b"''").replace(b"\r", b"\\r")
    return b"'" + spelled + b"'"


def _tokens(line: bytes, position: int = 0) -> Iterator[tuple[str, int, int]]:
    """Yield the tokens at and after `position`, up to END at least: of each its kind, its start and its end."""
    for found in _TOKEN.finditer(line, position):
        kind = str(found.lastgroup)
        yield kind, *found.span(kind)


def _unquote(spelled: bytes) -> bytes:
    """Take quotes and escapes away, as DeescapeQuotedString in guc-file.l does."""

    def unescape(match: re.Match[bytes]) -> bytes:
        escaped = match[1]
        if escaped is None:
            return b"'"
        if escaped.isdigit() and escaped[:1] < b"8":
            return bytes((int(escaped, 8) & 0xFF,))
        return _LETTERS.get(escaped, escaped)

    # For the server, which works with C strings, a value ends at `\0`.
    return _ESCAPE.sub(unescape, spelled[1:-1]).partition(b"\0")[0]


def _error(line: bytes, start: int, end: int) -> LineError:
    near = f'near token "{_decode(line[start:end])}"' if end > start else "near end of line"
    return LineError(f"syntax error {near}")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} cannot be written in a configuration file: {error.reason}") from error
