"""postgresql.conf as a mapping from names to values, edited without touching what the administrator wrote.

An assignment changes the one line that counts, and of that line only the value; a setting that is taken out is
commented out; everything else, down to the last blank and the line endings, stays as it is. What counts is
decided as the server decides it (`lexer` for a line, `configtree` for all files together), so what was set is what
the server will read, and where that cannot be had by editing postgresql.conf, an error says why.
"""

from __future__ import annotations

import functools
import os
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Protocol, overload

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import configtree
from pgsupervisor.postgres.configtree import Assignment, Configuration, lines_of
from pgsupervisor.postgres.lexer import fold, parse, parse_commented_out, spell_name, spell_value
from pgsupervisor.system.rewrite import rewrite
from pgsupervisor.values import frozen


class _Keyed(Protocol):
    """What `update` takes for a mapping, as dict.update does."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, name: str, /) -> str | None: ...


class ConfigFile(MutableMapping[str, str]):
    """The settings of a cluster, by name, as its configuration files give them.

    Values are always str, as the server's lexer hands them on: '64MB', not a number of bytes. Names have no
    case; iteration yields them in lower case. Every access reads the files again, and nothing is kept; `items`,
    `values`, `getset` and `update` read them once. A file with mistakes in it can be read and mended, see
    `problems`.

    Reading follows include, include_if_exists and include_dir, and `auto_file`. Writing changes postgresql.conf
    alone: atomically, durably, under a lock (see `pgsupervisor.system.rewrite`), and one time however many
    settings an `update` has.

    Everything raises FileNotFoundError if there is no postgresql.conf, and other OSErrors if a file cannot be
    read or written. What changes a setting raises, before anything is touched:

    - ValueError for a name or value that cannot be written in a configuration file (such as one with a newline),
    - TypeError for a value that is no str,
    - ConfigurationError where editing postgresql.conf cannot do it: postgresql.auto.conf wins over it, and what an
      included file sets can be overridden there but not taken out.
    """

    def __init__(self, path: str | os.PathLike[str], *, auto_file: str | os.PathLike[str] | None = None) -> None:
        """Name the files; they are not touched yet.

        `path` is postgresql.conf. `auto_file` is postgresql.auto.conf, which always lies in the data directory;
        None leaves it out.
        """
        self.path = os.path.abspath(path)
        self.auto_file = None if auto_file is None else os.path.abspath(auto_file)

    def __repr__(self) -> str:
        return f"ConfigFile({self.path!r}, auto_file={self.auto_file!r})"

    def __getitem__(self, name: str) -> str:
        assignment = self._read().effective().get(fold(name))
        if assignment is None:
            raise KeyError(name)
        return assignment.value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and fold(name) in self._read().effective()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read().effective())

    def __len__(self) -> int:
        return len(self._read().effective())

    def items(self) -> ItemsView[str, str]:
        """Return names and values, as they are now."""
        return {assignment.name: assignment.value for assignment in self.assignments()}.items()

    def values(self) -> ValuesView[str]:
        """Return the values, as they are now."""
        return dict(self.items()).values()

    def getset(self, names: Iterable[str]) -> dict[str, str | None]:
        """Return the values of all `names`, read in one go; None for a setting that is not there."""
        effective = dict(self.items())
        return {name: effective.get(fold(name)) for name in names}

    def __setitem__(self, name: str, value: str | None) -> None:
        """Set `name`; None, which goes beyond a mapping, takes it out, and is content if it is not there."""
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        """Take the setting out by commenting out its lines. Raises KeyError if it is not there."""
        if name not in self:
            raise KeyError(name)
        self.update({name: None})

    def clear(self) -> None:
        """Take all settings out."""
        self.update(dict.fromkeys(self))

    @overload
    def update(self, changes: _Keyed, /, **more: str | None) -> None: ...
    @overload
    def update(self, changes: Iterable[tuple[str, str | None]] = ..., /, **more: str | None) -> None: ...
    def update(self, changes: _Keyed | Iterable[tuple[str, str | None]] = (), /, **more: str | None) -> None:
        """Set, or with None take out, any number of settings with a single write; nothing to do writes nothing."""
        named: dict[str, str | None] = dict(changes, **more)
        wanted = [_change(name, value) for name, value in named.items()]
        if wanted:
            rewrite(self.path, lambda content: self._edit(content, wanted))

    def edited(self, content: bytes, changes: Mapping[str, str | None]) -> bytes:
        """Return what `update` with these changes would make of postgresql.conf if it had this content."""
        return self._edit(content, [_change(name, value) for name, value in changes.items()])

    def assignments(self) -> tuple[Assignment, ...]:
        """Return, for every setting, the assignment that counts: its value, and where it comes from."""
        return tuple(self._read().effective().values())

    def files(self) -> tuple[str, ...]:
        """Return the absolute paths of all files that the configuration consists of, in the order of reading.

        Among them are files that do not exist (yet) but would be read, such as those of include_if_exists.
        """
        return self._read().files

    def directories(self) -> tuple[str, ...]:
        """Return the absolute paths of all directories that are included with include_dir."""
        return self._read().directories

    def problems(self) -> tuple[ConfigurationError, ...]:
        """Return why PostgreSQL would refuse to read the files: syntax errors, and includes that are not there.

        Whether names are known and values are valid is for the server to say (`postgres -C`).
        """
        return self._read().problems

    def _read(self, content: bytes | None = None) -> Configuration:
        return configtree.read(self.path, self.auto_file, content)

    def _edit(self, content: bytes, changes: Iterable[_Change]) -> bytes:
        editor = _Editor(self.path, content, self._read(content))
        # One change per setting: of two spellings of its name, the later counts.
        for change in {change.name: change for change in changes}.values():
            editor.apply(change)
        return b"".join(editor.lines)


@frozen
class _Change:
    """What shall become of one setting: `spelled` is the value as the file shall have it, or None to take it out."""

    name: str
    spelled_name: bytes
    value: str | None
    spelled: bytes | None


def _change(name: str, value: str | None) -> _Change:
    """Check a change, before any file is touched."""
    spelled_name = spell_name(name)
    return _Change(fold(name), spelled_name, value, None if value is None else spell_value(value))


class _Editor:
    """The lines of postgresql.conf while they are changed, and what the configuration said before."""

    def __init__(self, path: str, content: bytes, configuration: Configuration) -> None:
        self.lines = lines_of(content)
        self._path = path
        self._configuration = configuration
        self._effective = configuration.effective()

    def apply(self, change: _Change) -> None:
        """Make one change; settings do not meet each other, so the order of changes does not matter."""
        winner = self._effective.get(change.name)
        if change.value == (winner and winner.value):
            return
        self._refuse_automatic(change.name)
        if change.spelled is None:
            self._comment_out(change.name)
        elif winner is not None and winner.path == self._path:
            self._replace(winner.line - 1, change.spelled)
        elif winner is not None or not self._uncomment(change.name, change.spelled):
            # Also where an included file sets it: that is read before the end of this one.
            self._append(change.spelled_name, change.spelled)

    def _refuse_automatic(self, name: str) -> None:
        for assignment in self._configuration.automatic:
            if assignment.name == name:
                raise ConfigurationError(
                    assignment.path,
                    assignment.line,
                    f"{name} is set here, by ALTER SYSTEM, which wins over {self._path}; "
                    f"give it up with `ALTER SYSTEM RESET {name}`, or change it with ALTER SYSTEM",
                )

    def _comment_out(self, name: str) -> None:
        active = [assignment for assignment in self._configuration.main if assignment.name == name]
        for assignment in active:
            if assignment.path != self._path:
                raise ConfigurationError(
                    assignment.path,
                    assignment.line,
                    f"{name} is set here, in a file that {self._path} includes; take it out of this file",
                )
        for assignment in active:
            self.lines[assignment.line - 1] = b"#" + self.lines[assignment.line - 1]

    @functools.cached_property
    def _commented_out(self) -> dict[str, int]:
        """Where each setting stands commented out, for the last time. No change moves a line."""
        entries = ((parse_commented_out(line), index) for index, line in enumerate(self.lines))
        return {entry.name: index for entry, index in entries if entry is not None}

    def _uncomment(self, name: str, spelled: bytes) -> bool:
        """Put the setting where the file has it commented out, and tell whether there is such a line."""
        index = self._commented_out.get(name)
        if index is None:
            return False
        self.lines[index] = self.lines[index].replace(b"#", b"", 1)
        self._replace(index, spelled)
        return True

    def _replace(self, index: int, spelled: bytes) -> None:
        line = self.lines[index]
        entry = parse(line)
        if entry is not None:
            self.lines[index] = line[: entry.start] + spelled + line[entry.end :]

    def _append(self, spelled_name: bytes, spelled: bytes) -> None:
        """Add a line at the end of the file, after everything that it includes."""
        ending = b"\r\n" if self.lines and self.lines[0].endswith(b"\r\n") else b"\n"
        if self.lines and not self.lines[-1].endswith(b"\n"):
            self.lines[-1] += ending
        self.lines.append(spelled_name + b" = " + spelled + ending)
