"""Which files a configuration consists of, and what they say together.

A configuration is a tree: postgresql.conf includes files and directories, they include others, and after all of
them comes postgresql.auto.conf, which belongs to `ALTER SYSTEM`. The last assignment of a setting counts,
wherever it stands (PostgreSQL manual, "Managing Configuration File Contents"; src/backend/utils/misc/guc-file.l).

The server takes all or nothing: one line that it cannot read, and it refuses to start. Whoever comes to mend
such a file must be able to read it, so here what is wrong is noted and the reading goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres.lexer import INCLUDES, LineError, parse, saying
from pgsupervisor.postgres.recall import remembering
from pgsupervisor.system.guarded import Allowance

_Read = TypeVar("_Read")

MAX_DEPTH = 10
"""How deep includes may be nested: CONF_FILE_MAX_DEPTH in src/include/utils/conffiles.h."""

LIMIT = 4 * 1024**2
"""How many bytes are read for one cluster; what goes beyond (a sparse file, files that include each other a thousand
times) is too large."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A line that gives a setting its value.

    `name` is in lower case, `value` without quotes and escapes, `path` absolute, and `line` counted from 1.
    """

    name: str
    value: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was read, in the order of reading.

    `main` are the assignments of postgresql.conf and all that it includes; `automatic` those of
    postgresql.auto.conf, which win over them. `files` and `directories` are all that had a part in it, also those
    that do not exist yet: the configuration changes when one of them does. `problems` is why PostgreSQL would
    refuse to read it.
    """

    main: tuple[Assignment, ...]
    automatic: tuple[Assignment, ...]
    files: tuple[str, ...]
    directories: tuple[str, ...]
    problems: tuple[ConfigurationError, ...]

    def effective(self) -> dict[str, Assignment]:
        """Return the assignment that counts for each setting, by its name."""
        return {assignment.name: assignment for assignment in (*self.main, *self.automatic)}


def read(
    path: str,
    auto_file: str | None,
    content: bytes | None = None,
    *,
    forgiving: bool = False,
    allowance: Allowance | None = None,
) -> Configuration:
    """Read postgresql.conf at the absolute `path`, all that it includes, and then `auto_file`, which may be missing.

    `content` is what postgresql.conf says, for whoever has read it already; the other files are read within the
    `allowance` (None: up to `LIMIT`).

    Raises FileNotFoundError if there is no `path`, another OSError if it cannot be read, and PermissionError where we
    may not read: to go on without such a file would be to answer wrongly. A `forgiving` reading goes on, and notes that
    among the problems.
    """
    reader = _Reader(forgiving, allowance or Allowance(LIMIT))
    reader.begin(path, content)
    main = tuple(reader.assignments)
    reader.assignments.clear()
    if auto_file is not None:
        reader.begin(auto_file, required=False)
    return Configuration(
        main,
        tuple(reader.assignments),
        tuple(reader.files),
        tuple(reader.directories),
        tuple(reader.problems),
    )


def lines_of(content: bytes) -> list[bytes]:
    r"""Split a file into its lines as the server does, at `\n` alone, and keep the line endings."""
    *lines, last = content.split(b"\n")
    return [line + b"\n" for line in lines] + ([last] if last else [])


def locate(name: str, including: str) -> str:
    """Return the absolute path of what the file `including` calls `name`: relative to its directory.

    As in the server (AbsoluteConfigLocation in conffiles.c), an absolute path stays as it is; else `..` is taken
    away from the path as text, and the symbolic link that the including file may be is not followed.
    """
    return name if os.path.isabs(name) else os.path.normpath(Path(including).parent / name)


def configuration_files(directory: str, allowance: Allowance) -> list[str]:
    """Return the absolute paths of what include_dir takes from a directory, in C order (GetConfFilesInDir, ibid.).

    Raises OSError if the directory cannot be read.
    """
    names = [
        entry.name
        for entry in allowance.entries_of(directory)
        if entry.name.endswith(".conf") and not entry.name.startswith(".") and not entry.is_dir()
    ]
    return [os.path.normpath(Path(directory, name)) for name in sorted(names, key=os.fsencode)]


@dataclass(frozen=True, slots=True)
class _Mistake:
    """A line that the server would refuse, and why."""

    line: int
    why: str


@remembering
def _said(content: bytes, path: str) -> Iterator[Assignment | _Mistake]:
    """Yield what the lines of a file say, where a directive looks like an assignment."""
    for number, line in saying(content):
        try:
            entry = parse(line)
        except LineError as error:
            yield _Mistake(number, str(error))
        else:
            if entry is not None:
                yield Assignment(entry.name, entry.value, path, number)


@dataclass(frozen=True, slots=True)
class _Include:
    """Where a directive stands: in the last file of `chain` (files that include each other), at `line`."""

    chain: tuple[str, ...]
    line: int

    def locate(self, name: str) -> str:
        """Return the absolute path of what is included."""
        return locate(name, self.chain[-1])


@dataclass(slots=True)
class _Reader:
    """Reads files and what they include, and gathers what they say. The dictionaries are ordered sets."""

    forgiving: bool
    allowance: Allowance
    assignments: list[Assignment] = field(default_factory=list)
    files: dict[str, None] = field(default_factory=dict)
    directories: dict[str, None] = field(default_factory=dict)
    problems: list[ConfigurationError] = field(default_factory=list)

    def begin(self, path: str, content: bytes | None = None, *, required: bool = True) -> None:
        """Read a file that no other includes; what is not `required` may be missing."""
        self.files[path] = None
        try:
            content = self.allowance.content_of(path) if content is None else content
        except OSError as error:
            if not required and isinstance(error, FileNotFoundError):
                return
            if not self.forgiving:
                raise
            self.problems.append(ConfigurationError(path, 0, f"could not open it: {error.strerror}"))
        else:
            self.read(path, content, ())

    def read(self, path: str, content: bytes, chain: tuple[str, ...]) -> None:
        """Read one file; `chain` are the files that led here."""
        self.files[path] = None
        chain = (*chain, path)
        for said in _said(content, path):
            if isinstance(said, _Mistake):
                self.problems.append(ConfigurationError(path, said.line, said.why))
            elif said.name in INCLUDES:
                self._include(said, _Include(chain, said.line))
            else:
                self.assignments.append(said)

    def _include(self, entry: Assignment, include: _Include) -> None:
        if not entry.value.strip(" \t\r\n"):
            self._problem(include, f"{entry.name} needs the name of a file or directory")
        elif entry.name == "include_dir":
            self._directory(include.locate(entry.value), include)
        else:
            self._file(include.locate(entry.value), include, required=entry.name == "include")

    def _file(self, path: str, include: _Include, *, required: bool) -> None:
        # The server follows a circle of files until it is too deep, and then refuses the whole configuration.
        if path in include.chain:
            self._problem(include, f'configuration file recursion in "{path}"')
            return
        if len(include.chain) > MAX_DEPTH:
            self._problem(include, f'could not open configuration file "{path}": maximum nesting depth exceeded')
            return
        self.files[path] = None
        content = self._attempt(self.allowance.content_of, path, include, required=required)
        if content is not None:
            self.read(path, content, include.chain)

    def _directory(self, path: str, include: _Include) -> None:
        self.directories[path] = None
        listed = self._attempt(partial(configuration_files, allowance=self.allowance), path, include, required=True)
        for file in listed or ():
            self._file(file, include, required=True)

    def _attempt(self, read: Callable[[str], _Read], path: str, include: _Include, *, required: bool) -> _Read | None:
        """Read what is included, or note that it cannot be read. What is not `required` may be missing."""
        try:
            return read(path)
        except OSError as error:
            if isinstance(error, PermissionError) and not self.forgiving:
                raise
            if required or isinstance(error, IsADirectoryError | PermissionError):
                self._problem(include, f'could not open "{path}": {error.strerror}')
            return None

    def _problem(self, include: _Include, why: str) -> None:
        self.problems.append(ConfigurationError(include.chain[-1], include.line, why))
