"""Values of settings as the server reads and prints them. Pure.

The server keeps a setting as a number of its base unit, and tells it so in pg_settings: `raw` is 16384, `unit` is
8kB and `kind` is integer. SHOW prints the same as 128MB, and a file may say '128 MB', 0x20000kB or 0.125GB. Whether a
file's text means what the server goes by can only be told by reading both as the server does
(src/backend/utils/misc/guc.c, src/backend/utils/adt/bool.c; PostgreSQL manual, "Parameter Names and Values").
"""

from __future__ import annotations

import re

_MEMORY = {"TB": 1 << 40, "GB": 1 << 30, "MB": 1 << 20, "kB": 1 << 10, "B": 1}
"""Bytes by unit, the largest first (memory_unit_conversion_table in guc.c)."""

_TIME = {"d": 86_400_000_000, "h": 3_600_000_000, "min": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
"""Microseconds by unit, the largest first (time_unit_conversion_table in guc.c)."""

_BASE = re.compile(r"([0-9]*)([A-Za-z]+)")
"""A base unit as pg_settings names it: kB, or 8kB for a block."""

_WHOLE = re.compile(r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+))(?![0-9.eE])", re.ASCII)
"""A whole number in C's notation (strtol(3)); what goes on as a fraction is none."""

_REAL = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)", re.ASCII)

_TOO_MUCH = 1e30
"""More than any setting is meant to take; beyond it, floating point ends."""

_BOOLEANS = {"true": "on", "false": "off", "yes": "on", "no": "off", "on": "on", "off": "off", "1": "on", "0": "off"}
"""The words for a boolean; all may be cut short as long as one can tell them apart (parse_bool_with_len in bool.c)."""

_SYNONYMS = {
    "on": {"true", "yes", "1"},
    "off": {"false", "no", "0"},
    "debug2": {"debug"},
    "replica": {"archive", "hot_standby"},
    "pglz": {"on", "true", "yes", "1"},
}
"""Other words that enumerated settings take for a value (the tables of config_enum_entry in guc_tables.c)."""

_DATE_STYLE = frozenset({"iso", "sql", "postgres", "german", "mdy", "dmy", "ymd"})
"""The words of the setting DateStyle, whose spelling the server makes its own: initdb writes 'iso, mdy'."""


def show(raw: str, unit: str | None, kind: str) -> str:
    """Return a value of pg_settings as SHOW prints it: in the largest unit that leaves no fraction.

    `raw` is the number in the base unit `unit` (None: it has none), and `kind` what pg_settings calls `vartype`.

    >>> show("16384", "8kB", "integer"), show("-1", "kB", "integer"), show("0.5", "ms", "real")
    ('128MB', '-1', '500us')
    """
    if unit is None or float(raw) <= 0:
        return raw
    units, base = _units(unit)
    if kind == "integer":
        amount = int(raw) * base
        name = next(name for name, size in units.items() if amount % size == 0)
        return f"{amount // units[name]}{name}"
    values = {name: float(raw) * base / size for name, size in units.items()}
    name = next((name for name, value in values.items() if _is_whole(value)), list(units)[-1])
    return f"{values[name]:g}{name}"


def same(written: str, raw: str, unit: str | None, kind: str) -> bool:
    """Tell whether a text of a configuration file means the value `raw` of pg_settings; see `show`.

    >>> same("0.125GB", "16384", "8kB", "integer"), same("TRUE", "off", None, "bool")
    (True, False)
    """
    if kind == "integer":
        value = _integer(written, unit)
        return value is not None and value == _integer(raw, unit)
    if kind == "real":
        amount = _in_base_unit(_REAL.match(written), unit)
        return amount is not None and f"{amount:g}" == f"{float(raw):g}"
    if kind == "bool":
        return _boolean(written) == raw
    if kind == "enum":
        return written.lower() == raw.lower() or written.lower() in _SYNONYMS.get(raw, ())
    return written == raw or _date_style(written) == _date_style(raw) is not None


def _units(unit: str) -> tuple[dict[str, int], int]:
    """Return the table that a base unit belongs to, and the size of the base unit in it. Raises ValueError for none."""
    found = _BASE.fullmatch(unit)
    units = _MEMORY if found is not None and found[2] in _MEMORY else _TIME
    if found is None or found[2] not in units:
        raise ValueError(f"{unit!r} is no unit of a setting")
    return units, int(found[1] or 1) * units[found[2]]


def _is_whole(value: float) -> bool:
    """Tell whether a number counts as whole where a unit is chosen (convert_real_from_base_unit in guc.c)."""
    return abs(round(value) / value - 1) <= 1e-8  # noqa: PLR2004 - the server's own


def _integer(text: str, unit: str | None) -> int | None:
    """Return what a text means as an integer setting; None if nothing (parse_int in guc.c)."""
    amount = _in_base_unit(_WHOLE.match(text) or _REAL.match(text), unit)
    return None if amount is None else round(amount)


def _in_base_unit(found: re.Match[str] | None, unit: str | None) -> float | None:
    """Return a number that was found, and whatever unit follows it, in the base unit; None if that means nothing."""
    value = None if found is None else _number(found)
    if found is None or value is None or abs(value) > _TOO_MUCH:
        return None
    named = found.string[found.end() :].strip()
    if not named:
        return value
    units, base = ({}, 1) if unit is None else _units(unit)
    if named not in units:
        return None
    # What is left over is rounded to the next smaller unit, if there is one (convert_to_base_unit in guc.c).
    smaller = next((size for size in units.values() if size < units[named]), 0)
    amount = value * units[named]
    return (round(amount / smaller) * smaller if smaller else amount) / base


def _number(found: re.Match[str]) -> float | None:
    """Return a number in C's notation: of a whole one, a leading 0x is hexadecimal, and another leading 0 octal."""
    try:
        if found.re is _REAL:
            return float(found[1])
        digits = found[1].lstrip("+-").lower()
        return float(int(found[1], 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10))
    except (ValueError, OverflowError):
        return None


def _boolean(text: str) -> str | None:
    """Return the boolean that a text means, as the server prints it; None if it is none."""
    meant = {value for word, value in _BOOLEANS.items() if text and word.startswith(text.lower())}
    return meant.pop() if len(meant) == 1 else None


def _date_style(text: str) -> frozenset[str] | None:
    """Return the words of a date style, whose order and case do not matter; None if it is something else."""
    words = frozenset(re.split(r"[\s,]+", text.strip().lower()))
    return words if words <= _DATE_STYLE else None
