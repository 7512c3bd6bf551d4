"""Values of settings, read and printed as the server does it. What real servers say is compared in tests/pg."""

from __future__ import annotations

import pytest

from pgsupervisor.postgres.quantity import same, show

SHOWN = [
    ("16384", "8kB", "integer", "128MB"),
    ("5", "8kB", "integer", "40kB"),
    ("5", "16kB", "integer", "80kB"),
    ("1073741824", "kB", "integer", "1TB"),
    ("1536", "MB", "integer", "1536MB"),
    ("1025", "B", "integer", "1025B"),
    ("0", "kB", "integer", "0"),
    ("-1", "ms", "integer", "-1"),
    ("90", "s", "integer", "90s"),
    ("86400", "s", "integer", "1d"),
    ("90", "min", "integer", "90min"),
    ("1440", "min", "integer", "1d"),
    ("0.5", "ms", "real", "500us"),
    ("2.5", "ms", "real", "2500us"),
    ("0.0001", "ms", "real", "0.1us"),
    ("2", "ms", "real", "2ms"),
    ("0.1", None, "real", "0.1"),
    ("100", None, "integer", "100"),
    ("0777", None, "integer", "0777"),
    ("on", None, "bool", "on"),
    ("ISO, MDY", None, "string", "ISO, MDY"),
]
"""Raw value, unit and kind of settings, and how SHOW prints them."""


@pytest.mark.parametrize(("raw", "unit", "kind", "shown"), SHOWN)
def test_show(raw: str, unit: str | None, kind: str, shown: str) -> None:
    """A quantity is shown in the largest unit that leaves no fraction; what is switched off by -1 or 0 has no unit."""
    assert show(raw, unit, kind) == shown


@pytest.mark.parametrize(("raw", "unit", "kind", "shown"), SHOWN)
def test_what_is_shown_means_the_same(raw: str, unit: str | None, kind: str, shown: str) -> None:
    """What SHOW prints can be written into a file."""
    assert same(shown, raw, unit, kind)


MEANT = [
    # integers: C's notation, any unit, blanks, rounding
    ("128MB", "16384", "8kB", "integer", True),
    (" 128 MB ", "16384", "8kB", "integer", True),
    ("0x20000kB", "16384", "8kB", "integer", True),
    ("0.125GB", "16384", "8kB", "integer", True),
    ("12.5e-2 GB", "16384", "8kB", "integer", True),
    ("16384", "16384", "8kB", "integer", True),
    ("128mb", "16384", "8kB", "integer", False),
    ("128 M B", "16384", "8kB", "integer", False),
    ("128MB", "16385", "8kB", "integer", False),
    ("0777", "511", None, "integer", True),
    ("0777", "0777", None, "integer", True),
    ("777", "0777", None, "integer", False),
    ("08", "8", None, "integer", False),
    ("2.5", "2", None, "integer", True),
    ("3.5", "4", None, "integer", True),
    (".5e1", "5", None, "integer", True),
    ("1.5kB", "1536", "B", "integer", True),
    ("30.1GB", "31561728", "kB", "integer", True),
    ("5 kB", "5", None, "integer", False),
    ("", "0", None, "integer", False),
    ("x", "0", None, "integer", False),
    ("9" * 400, "0", None, "integer", False),
    ("1e400", "0", None, "integer", False),
    ("+5", "5", None, "integer", True),
    ("-1", "-1", "kB", "integer", True),
    ("1h", "3600", "s", "integer", True),
    # reals: as far as %g goes
    ("0.1", "0.1", None, "real", True),
    ("1e-1", "0.1", None, "real", True),
    ("010", "10", None, "real", True),
    ("500us", "0.5", "ms", "real", True),
    ("0.33333333", "0.333333", None, "real", True),
    ("0.33", "0.333333", None, "real", False),
    ("much", "1", None, "real", False),
    # booleans: any beginning that is no other's
    ("ON", "on", None, "bool", True),
    ("tr", "on", None, "bool", True),
    ("1", "on", None, "bool", True),
    ("of", "off", None, "bool", True),
    ("o", "off", None, "bool", False),
    (" on", "on", None, "bool", False),
    ("", "off", None, "bool", False),
    ("no", "on", None, "bool", False),
    # words: in any case, and those that are not listed
    ("Logical", "logical", None, "enum", True),
    ("hot_standby", "replica", None, "enum", True),
    ("yes", "on", None, "enum", True),
    ("ye", "on", None, "enum", False),
    ("off", "on", None, "enum", False),
    # strings: as they are, but for the style of dates
    ("a", "a", None, "string", True),
    ("a", "A", None, "string", False),
    ("", "", None, "string", True),
    ("iso, mdy", "ISO, MDY", None, "string", True),
    ("mdy iso", "ISO, MDY", None, "string", True),
    ("iso, dmy", "ISO, MDY", None, "string", False),
]
"""A text, a setting's raw value, unit and kind, and whether the text means that value."""


@pytest.mark.parametrize(("written", "raw", "unit", "kind", "meant"), MEANT)
def test_same(written: str, raw: str, unit: str | None, kind: str, meant: bool) -> None:  # noqa: FBT001 - the verdict
    """A text means a value if the server would make that value of it."""
    assert same(written, raw, unit, kind) is meant
