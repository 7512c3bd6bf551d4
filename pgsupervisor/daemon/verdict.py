"""What a server made of its configuration files: its answers, weighed against what the files say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from pgsupervisor.postgres.configtree import Assignment
from pgsupervisor.postgres.probe import Inspection, Running
from pgsupervisor.postgres.quantity import same
from pgsupervisor.postgres.secrets import may_be_secret
from pgsupervisor.supervision.configuration import Change, Mistake, Report, Setting

Values: TypeAlias = Mapping[str, str]
"""Settings by name (in lower case) as the files have them."""

_OVERRULING = "command line"
"""The source (pg_settings.source) of what the inventory sets: no file has a say in it."""

_ELSEWHERE = {"database", "user", "database user", "global", "client", "session", "override"}
"""Sources of a value that hides what the server makes of its files: our session's own, or the server's choice."""

_UNKNOWN = "(unset)"
"""What stands for the value of a setting that no file sets, and that has no default which could be told."""


def judge(files: tuple[str, ...], in_force: Values, written: Values, found: Inspection) -> tuple[Report, Values]:
    """Return what a server made of its files, and what of them is in force now.

    `files` say something else than at the last reload. Of what they set, `in_force` is what the server took until
    now, and `written` is what they say now.
    """
    mistaken = {mistake.name for mistake in found.mistakes}
    # One line that it cannot parse, and the server takes nothing (ProcessConfigFileInternal in guc.c).
    nothing_taken = bool(found.written) and not any(row.applied for row in found.written)
    taken = dict(in_force)
    changes = []
    overruled = []
    for name in sorted(in_force.keys() | written.keys()):
        if in_force.get(name) == written.get(name) or name in mistaken or nothing_taken:
            continue
        running = found.settings.get(name)
        if running is not None and _waits(running):
            continue
        if running is not None and running.source == _OVERRULING:
            overruled += [name] if name in written else []
        else:
            changes += _changes(name, in_force.get(name), written.get(name), running)
        if name in written:
            taken[name] = written[name]
        else:
            del taken[name]
    pending = tuple(
        _change(name, running.value, written.get(name, running.default or _UNKNOWN))
        for name, running in sorted(found.settings.items())
        if _waits(running) and name not in mistaken
    )
    mistakes = tuple(Mistake(each.path, each.line, each.why, each.name) for each in found.mistakes)
    return Report(files, tuple(changes), pending, mistakes, tuple(overruled)), taken


def _waits(running: Running) -> bool:
    """Tell whether a restart would change a setting. What the command line sets is marked as pending, but stays."""
    return running.pending and running.source != _OVERRULING


def _changes(name: str, was: str | None, now: str | None, running: Running | None) -> list[Change]:
    """Return the change of a setting; none if the server takes both values for the same."""
    default = (running and running.default) or _UNKNOWN
    was = default if was is None else was
    if running is not None and same(was, running.raw, running.unit, running.kind):
        return []
    # What the server goes by where no file says anything is for the server to say.
    now = now if now is not None else default if running is None or running.source in _ELSEWHERE else running.value
    return [_change(name, was, now)]


def _change(name: str, was: str, now: str) -> Change:
    # A password has no business in a log or a status.
    return Change(name, *("(not shown)", "(not shown)") if may_be_secret(name, was, now) else (was, now))


def settings(assignments: Mapping[str, Assignment], found: Inspection | None) -> tuple[Setting, ...]:
    """Return where each setting stands that a file assigns or, if it could be asked, the server knows; by name."""
    known: Mapping[str, Running] = {} if found is None else found.settings
    return tuple(
        _setting(name, assignments.get(name), known.get(name), asked=found is not None)
        for name in sorted(assignments.keys() | known.keys())
    )


def _setting(name: str, written: Assignment | None, running: Running | None, *, asked: bool) -> Setting:
    if running is None:
        differs = asked
    elif written is None:
        differs = _waits(running) or running.source == "configuration file"
    elif running.source in _ELSEWHERE:
        differs = _waits(running)
    else:
        differs = _waits(running) or not same(written.value, running.raw, running.unit, running.kind)
    return Setting(
        name=name,
        written=None if written is None else written.value,
        running=None if running is None else running.value,
        path=None if written is None else written.path,
        line=None if written is None else written.line,
        source=None if running is None else running.source,
        pending=running is not None and _waits(running),
        differs=differs,
    )
