"""What a server answers to the questions of `probe`: lines of JSON, checked before anybody goes by them.

It is the owner of a cluster who decides what answers at its socket, and that need be no server of PostgreSQL's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import NoneType
from typing import TypeAlias, TypedDict, cast

from pgsupervisor.postgres.authfile import RULES

SettingRow: TypeAlias = tuple[str, str | None, str | None, str | None, str, str, bool]
"""A row of pg_settings: name, value, default, unit, kind, source, pending."""

FileRow: TypeAlias = tuple[str | None, int | None, str | None, str | None, bool, str | None, str | None]
"""A row of pg_file_settings: file, line, name, value, applied, error; and what the server goes by."""

RuleRow: TypeAlias = tuple[str | None, int, str]
"""A row of pg_hba_file_rules or pg_ident_file_mappings: file, line, error."""


class RulesAnswer(TypedDict, total=False):
    """What there is to say of the rules of one kind: that they could not be read, or how many, and what is wrong."""

    failed: str
    count: int
    mistakes: list[RuleRow] | None


class Answers(TypedDict, total=False):
    """The answers by the name of the question; all but `ident` are there."""

    settings: list[SettingRow]
    written: list[FileRow] | None
    hba: RulesAnswer
    ident: RulesAnswer


Kinds: TypeAlias = tuple[type, ...]

_TEXT: Kinds = (str,)
_MAYBE: Kinds = (str, NoneType)
_NUMBER: Kinds = (int,)
_FLAG: Kinds = (bool,)

_SETTING = (_TEXT, _MAYBE, _MAYBE, _MAYBE, _TEXT, _TEXT, _FLAG)
_FILE = (_MAYBE, (int, NoneType), _MAYBE, _MAYBE, _FLAG, _MAYBE, _MAYBE)
_RULE = (_MAYBE, _NUMBER, _TEXT)

_NEEDED = {"config_file", "data_directory", "hba_file", "ident_file"}
"""Settings that every server has, and whose values are gone by."""


def read(printed: str) -> Answers | None:
    """Return the answers that were printed, one in a line; None if not all of them are there.

    Raises ValueError if there is anything that a server of PostgreSQL's does not answer.
    """
    found: dict[str, object] = {}
    # Not splitlines: JSON leaves more than one kind of line end as it is.
    for line in printed.split("\n"):
        try:
            answer = json.loads(line or "{}")
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if not isinstance(answer, dict):
            raise ValueError("no object")  # noqa: TRY004 - it is what was printed that is wrong
        found |= answer
    if not {"settings", "written", "hba"} <= found.keys():
        return None
    settings = found["settings"]
    if not (
        _are_rows(settings, _SETTING)
        and _NEEDED.issubset(row[0] for row in cast("list[SettingRow]", settings))
        and (found["written"] is None or _are_rows(found["written"], _FILE))
        and all(_is_about_rules(found[part]) for part in RULES if part in found)
    ):
        raise ValueError("another shape")
    return cast("Answers", found)


def _is_about_rules(answer: object) -> bool:
    if not isinstance(answer, Mapping):
        return False
    if "failed" in answer:
        return isinstance(answer["failed"], str)
    mistakes = answer.get("mistakes")
    return _is_one_of(answer.get("count"), _NUMBER) and (mistakes is None or _are_rows(mistakes, _RULE))


def _are_rows(value: object, columns: tuple[Kinds, ...]) -> bool:
    """Tell whether a value is a list of rows with these columns."""
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == len(columns) and all(map(_is_one_of, row, columns)) for row in value
    )


def _is_one_of(cell: object, kinds: Kinds) -> bool:
    return type(cell) in kinds
