r"""Which files pg_hba.conf and pg_ident.conf consist of.

Who may log in, and as whom, can be spread over many files too, though by other rules than postgresql.conf
(PostgreSQL manual, "The pg_hba.conf File"; src/backend/libpq/hba.c)::

    host  all  alice,@admins  ::1/128  scram-sha-256    # the names in the file `admins`
    host  all  @"the others"  ::1/128  scram-sha-256
    host  all  "@bob"         ::1/128  scram-sha-256    # a user of that name, and no file
    include            more_hba.conf                    # PostgreSQL 16 and newer
    include_if_exists  later_hba.conf
    include_dir        hba.d

A line is a list of fields, a field is a list of tokens with commas between them, and a `\` at its end goes on with
the next line (PostgreSQL 14 and newer). What the lines mean is for the server to say: here only files are followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pgsupervisor.postgres import configtree
from pgsupervisor.postgres.configtree import configuration_files, lines_of, locate
from pgsupervisor.postgres.lexer import INCLUDES
from pgsupervisor.postgres.recall import remembering
from pgsupervisor.system.guarded import Allowance

Rules: TypeAlias = Literal["hba", "ident"]
"""The rules of pg_hba.conf, or those of pg_ident.conf."""

RULES: tuple[Rules, ...] = ("hba", "ident")
"""Both of them."""

_CONTINUED_SINCE = 14
_INCLUDES_SINCE = 16

# A line, after the end of another, that has more than blanks and a comment. If it has a backslash, it may go on with
# the next one, so that belongs to it; and not only at its end, for of a NUL and what is behind it nothing is read.
_SAYING = re.compile(rb"\n(?![ \t\r]*+(?:#[^\n\\]*+)?(?:\n|\Z))[^\n\\]*+(?:\\[^\n]*+\n?[^\n\\]*+)*+")

# A comment, or a token and whether a comma follows at once. Quotes may begin anywhere in a token, need not end, and
# have `""` for a quote (next_token in hba.c).
_QUOTED = rb'"((?:[^"]|"")*+)(?:"|\Z)'
_TOKEN = re.compile(rb'#.*|((?:[^ \t\r,"#]+|"(?:[^"]|"")*+(?:"|\Z))++)(,?)', re.DOTALL)
_UNQUOTED = re.compile(_QUOTED, re.DOTALL)


def rules_file(part: Rules, data_directory: str, value: str | None) -> str:
    """Return the absolute path that the setting hba_file or ident_file means for a server that we start.

    Without a `value` it is in the data directory. A relative one is relative to where the server starts, which is "/"
    (see `pgsupervisor.system.process`), and not to where it moves later (SelectConfigFiles in guc.c).
    """
    if value is None:
        return os.path.join(data_directory, f"pg_{part}.conf")
    return os.path.normpath(os.path.join("/", value))


@dataclass(frozen=True, slots=True)
class AuthFiles:
    """The absolute paths of the files, in the order of reading and also those that do not exist, and of include_dir."""

    files: tuple[str, ...]
    directories: tuple[str, ...]


def read(path: str, major: int, allowance: Allowance | None = None) -> AuthFiles:
    """Follow pg_hba.conf or pg_ident.conf at the absolute `path` as PostgreSQL `major` does.

    A file that cannot be read, or for which there is no `allowance` left (None: up to `configtree.LIMIT`), is named,
    and the reading goes on.
    """
    reader = _Reader(major, allowance or Allowance(configtree.LIMIT))
    reader.read(path, 0)
    return AuthFiles(tuple(reader.files), tuple(reader.directories))


@dataclass(slots=True)
class _Reader:
    """Follows files and gathers their names. The dictionaries are ordered sets."""

    major: int
    allowance: Allowance
    files: dict[str, None] = field(default_factory=dict)
    directories: dict[str, None] = field(default_factory=dict)

    def read(self, path: str, depth: int) -> None:
        """Read a file, at most once: only its names are wanted, and the files may lead in a circle."""
        if path in self.files or depth > configtree.MAX_DEPTH:
            return
        self.files[path] = None
        try:
            content = self.allowance.content_of(path)
        except OSError:
            return
        for directive, name in _leads_to(content, self.major):
            self._include(directive, locate(name, path), depth + 1)

    def _include(self, directive: str, path: str, depth: int) -> None:
        if directive != "include_dir":
            self.read(path, depth)
            return
        self.directories[path] = None
        try:
            files = configuration_files(path, self.allowance)
        except OSError:
            return
        for file in files:
            self.read(file, depth)


@remembering
def _leads_to(content: bytes, major: int) -> Iterator[tuple[str, str]]:
    """Yield what a file leads to, in its order: the directive, which may be "@", and the name as it is written."""
    for line in _lines(b"".join(_SAYING.findall(b"\n" + content)), continued=major >= _CONTINUED_SINCE):
        fields: list[bytes] = []
        within = False
        for spelled, comma in _tokens(line):
            token = _unquote(spelled)
            if spelled.startswith(b"@") and len(token) > 1:
                yield "@", os.fsdecode(token[1:])
                token = b""
            if not within:
                fields.append(token)
            within = comma
        if major >= _INCLUDES_SINCE and len(fields) == 2 and fields[1].strip(b" \t\r"):  # noqa: PLR2004
            directive = os.fsdecode(fields[0])
            if directive in INCLUDES:
                yield directive, os.fsdecode(fields[1])


def _lines(content: bytes, *, continued: bool) -> Iterator[bytes]:
    """Yield the lines of a file, without their endings; for the server, with its C strings, a line ends at a NUL."""
    begun: list[bytes] = []
    for line in lines_of(content):
        ended = line.partition(b"\0")[0].rstrip(b"\r\n")
        if continued and ended.endswith(b"\\"):
            begun.append(ended[:-1])
        else:
            yield b"".join([*begun, ended])
            begun.clear()
    yield b"".join(begun)


def _tokens(line: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the tokens of a line as they are spelled, and whether the field goes on behind each."""
    for match in _TOKEN.finditer(line):
        if match[1] is None:
            return
        yield match[1], bool(match[2])


def _unquote(spelled: bytes) -> bytes:
    return _UNQUOTED.sub(lambda match: match[1].replace(b'""', b'"'), spelled)
