"""What is known of a cluster's configuration: what a server made of its files, and where each setting stands.

A server that is told to read its files again says nothing of what it made of them: not that a typo kept every change
out, nor that a value counts only after a restart. Who asks it gets a `Report`, and its four verdicts are all that
can come of a reload. Values only; whoever asks the server makes them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from pgsupervisor.values import frozen

Verdict: TypeAlias = Literal["applied", "pending restart", "rejected", "unverified"]
"""What came of a reload: all is in force; some waits for a restart; the server refuses some; nobody knows."""


@frozen
class Change:
    """A setting's value before and after, as the server prints it or as a file has it."""

    name: str
    was: str
    now: str

    @property
    def text(self) -> str:
        """The change in words."""
        return f"{self.name} {self.was or repr(self.was)} → {self.now or repr(self.now)}"


@frozen
class Mistake:
    """What the server refuses: the file, the line (0: the file as a whole), and why, in the server's words.

    Without a `path`, `why` says it all. `name` is that of the setting, if it is about one.
    """

    path: str
    line: int
    why: str
    name: str | None = None

    @property
    def text(self) -> str:
        """The mistake in words, with the file's name alone."""
        if not self.path:
            return self.why
        name = self.path.rpartition("/")[2]
        return f"{name}:{self.line} {self.why}" if self.line else f"{name} {self.why}"


@frozen
class Report:
    """What a server made of its configuration files.

    `changes` are in force since this reload. `pending` waits for a restart: `was` is what the server goes by, `now`
    what the files say. Of what the `mistakes` are about, the old configuration stays in force. `overruled` are
    settings that were changed in a file to no effect, because the server's command line sets them. `files` (absolute
    paths) are those that say something else than before. `unverified` is why the server could not be asked; empty
    if it was.
    """

    files: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    pending: tuple[Change, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    overruled: tuple[str, ...] = ()
    unverified: str = ""

    def following(self, earlier: Report | None) -> Report:
        """Return what came of this reload and the one right before it: who waited for both hears of all changes."""
        if earlier is None:
            return self
        was = {change.name: change.was for change in earlier.changes}
        changes = {change.name: change for change in earlier.changes}
        changes |= {change.name: replace(change, was=was.get(change.name, change.was)) for change in self.changes}
        return replace(
            self,
            files=tuple(dict.fromkeys((*earlier.files, *self.files))),
            changes=tuple(change for change in changes.values() if change.was != change.now),
            overruled=tuple(dict.fromkeys((*earlier.overruled, *self.overruled))),
        )

    @property
    def verdict(self) -> Verdict:
        """What came of it in one word."""
        if self.unverified:
            return "unverified"
        if self.mistakes:
            return "rejected"
        return "pending restart" if self.pending else "applied"

    @property
    def standing(self) -> str:
        """What an administrator has still to see to, in words; empty if nothing."""
        parts = [mistake.text for mistake in self.mistakes]
        if self.pending:
            parts.append(f"pending restart: {_listed(self.pending)}")
        if self.unverified:
            parts.append(f"reload unverified: {self.unverified}")
        return "; ".join(parts)

    @property
    def text(self) -> str:
        """All of it, in words."""
        if self.unverified:
            return f"unverified: the server was told to reload, but {self.unverified}"
        parts = []
        if self.mistakes:
            refused = "; ".join(mistake.text for mistake in self.mistakes)
            parts.append(f"rejected: {refused}; what was in force before stays in force")
        if self.changes:
            parts.append(f"applied: {_listed(self.changes)}")
        elif not self.mistakes and not self.pending:
            names = ", ".join(path.rpartition("/")[2] for path in self.files)
            parts.append(f"applied: {names}" if names else "nothing has changed")
        if self.pending:
            parts.append(f"pending restart: {_listed(self.pending)}")
        if self.overruled:
            parts.append(f"no effect, as the inventory sets it: {', '.join(self.overruled)}")
        return "; ".join(parts)


@frozen
class Setting:
    """Where one setting stands.

    `written` is its value in the files, at `path` and `line` (None: no file sets it), and `running` the value that the
    server goes by, as SHOW prints it (None: no server could be asked, or it does not know the name). `source` is
    where that comes from, in PostgreSQL's words (pg_settings.source). `pending` if it waits for a restart;
    `differs` if the server does not go by what the files say, for whatever reason.
    """

    name: str
    written: str | None
    running: str | None
    path: str | None
    line: int | None
    source: str | None
    pending: bool
    differs: bool


@frozen
class Prospects:
    """What the next start of a server would meet, as far as that can be told beforehand.

    For the `fatal` reasons it would fail; the `others` it would survive. `unchecked` is what could not be looked at,
    and why; empty if everything was.
    """

    fatal: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unchecked: str = ""


def _listed(changes: tuple[Change, ...]) -> str:
    return ", ".join(change.text for change in changes)
