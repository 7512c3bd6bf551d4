"""Fuzzers of what is read out of single texts: lines of a log, versions, pg_config's words, and a server's answers."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from datetime import tzinfo
from zoneinfo import ZoneInfo

from fuzzing import NUMBERS, TEXTS, examples, mangled
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.daemon.last_words import last_words
from pgsupervisor.errors import InstallationError, ProbeError
from pgsupervisor.postgres import quantity, versionstring
from pgsupervisor.postgres.installation import Installation, parse_configure
from pgsupervisor.postgres.logline import moment, says_when, zone_named
from pgsupervisor.postgres.probe import Inspection, inspection

LINES = (
    b"2024-03-05 12:00:00.000 UTC [7] LOG:  x\n",
    b"9999-12-31 23:59:59.999 -15:59 [7] LOG:  x\n",
    b"0001-01-01 00:00:00 +15:59 [7] LOG:  x\n",
    b"2024-10-27 02:30:00.000 CEST,,,7\n",
    b"99999999999.999 [7] x\n",
    b"2024-02-30 25:61:61 +99:99 x\n",
)

ZONES: tuple[tzinfo | None, ...] = (
    None,
    *map(ZoneInfo, ("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Asia/Kolkata")),
)


@given(line=mangled(*LINES), zone=st.sampled_from(ZONES), csv=st.booleans())
@examples(300)
def test_lines_of_a_log(line: bytes, zone: tzinfo | None, csv: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever a line says, it was written at a moment that can be compared, or it does not say when."""
    found = moment(line, zone, csv=csv)
    assert found is None or math.isfinite(found)


@given(name=st.sampled_from(("Europe", "europe/berlin", "../UTC", "/etc/passwd", "zone.tab", "a/b.c", ".")) | TEXTS)
@examples(30)
def test_names_of_zones(name: str) -> None:
    """Whatever log_timezone is called, it is a zone that this machine knows, or none."""
    found = zone_named(name)
    assert found is None or isinstance(found, ZoneInfo)


@given(text=st.sampled_from(("%m [%p] ", "%%m", "%-10m")) | TEXTS)
@examples(50)
def test_prefixes(text: str) -> None:
    """Whatever log_line_prefix is, it has a time in it or not."""
    assert says_when(text) in {True, False}


@given(log=mangled(*LINES, b"FATAL:  could not load pg_hba.conf\nLOG:  a\nCONTEXT:  line 1 of configuration file\n"))
@examples(100)
def test_last_words(log: bytes) -> None:
    """Whatever a server wrote, its last words are one line of it."""
    words = last_words(log.decode("utf-8", "replace"))
    assert len(words.splitlines()) <= 1


NUMBER = st.sampled_from(("15", "0", "9" * 5000, "1_0", "\u0661"))
VERSIONS = (
    st.lists(NUMBER, max_size=4).map(".".join) | st.builds("{}{}{}".format, NUMBER, st.just("rc"), NUMBER) | TEXTS
)


@given(text=VERSIONS)
@examples(100)
def test_versions(text: str) -> None:
    """Whatever is said to be a version, it is one, or a ValueError, and with an installation an InstallationError."""
    with contextlib.suppress(ValueError):
        assert versionstring.unsplit(versionstring.split(text))
    with contextlib.suppress(InstallationError):
        assert Installation({"version": f"PostgreSQL {text}"}).major >= 0
    with contextlib.suppress(InstallationError):
        assert Installation({"version": text}).major >= 0


@given(text=mangled(b"'--prefix=/x' 'CFLAGS=-g '''O2' \"--a=b\" --with-ssl", b"'" * 300, b"'\\''" * 80, b"\"' " * 99))
@examples(200)
def test_options_of_configure(text: bytes) -> None:
    """Whatever pg_config prints, the options that can be read in it are told."""
    for name, value in parse_configure(text.decode("utf-8", "surrogateescape")).items():
        assert name
        assert value is True or isinstance(value, str)


SAID = b"""DEBUG:  parameter "work_mem" cannot be changed
DETAIL:  Because.
DEBUG:  invalid value for parameter "port": "x"
HINT:  Another.
"""
KINDS = st.sampled_from(("integer", "real", "bool", "enum", "string"))
UNITS = st.sampled_from((None, "kB", "8kB", "B", "ms", "min", "s"))
AMOUNTS = (
    st.sampled_from(("8MB", "0x1F", "017", "1.5e-3", "1e400 kB", "-1", "on", "iso, mdy")) | TEXTS | NUMBERS.map(str)
)


@given(written=AMOUNTS, raw=st.sampled_from(("1", "-1", "16384")), unit=UNITS, kind=KINDS)
@examples(300)
def test_values_in_files(written: str, raw: str, unit: str | None, kind: str) -> None:
    """Whatever a file says, it means what the server goes by, or it does not."""
    assert quantity.same(written, raw, unit, kind) in {True, False}


TEXT = st.sampled_from(("work_mem", "port", "/data", "hba", 'could not open file "/x"')) | AMOUNTS
CELLS = st.none() | st.booleans() | NUMBERS | TEXT
SETTING = st.tuples(TEXT, AMOUNTS, AMOUNTS, UNITS | TEXT, KINDS | TEXT, TEXT, st.booleans())
FILE = st.tuples(
    st.none() | TEXT, st.none() | st.integers(-1, 9), TEXT, TEXT, st.booleans(), st.none() | TEXT, st.none() | TEXT
)
RULES = st.fixed_dictionaries(
    {"count": st.integers(0, 2), "mistakes": st.none() | st.lists(st.tuples(TEXT, st.integers(0, 9), TEXT), max_size=2)}
) | st.fixed_dictionaries({"failed": TEXT})
NEEDED = [
    [name, f"/{name}", None, None, "string", "default", False]
    for name in ("config_file", "data_directory", "hba_file", "ident_file")
]
ANSWERS = st.fixed_dictionaries(
    {
        "settings": st.lists(SETTING, max_size=3).map(lambda rows: [*NEEDED, *rows]),
        "written": st.none() | st.lists(FILE, max_size=3),
        "hba": RULES,
    },
    optional={"ident": RULES},
)
NONSENSE = st.dictionaries(
    st.sampled_from(("settings", "written", "hba", "ident")),
    st.recursive(CELLS, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXT, inner, max_size=2)),
)


@given(answers=ANSWERS | st.builds(lambda one, other: {**one, **other}, ANSWERS, NONSENSE), said=mangled(SAID))
@examples(100)
def test_answers_of_a_server(answers: Mapping[str, object], said: bytes) -> None:
    """Whatever answers at a server's socket, it is what a server says, or a ProbeError."""
    with contextlib.suppress(ProbeError):
        found = inspection(json.dumps(answers), said.decode("utf-8", "surrogateescape"))
        assert isinstance(found, Inspection)
        for mistake in found.mistakes:
            assert str(mistake)


@given(printed=mangled(b'{"settings" : []}\n{"written" : null}\n', b"[" * 5000, b'{"a":' * 5000))
@examples(100)
def test_what_is_no_answer(printed: bytes) -> None:
    """Whatever psql prints, there are answers, or a ProbeError."""
    with contextlib.suppress(ProbeError):
        assert inspection(printed.decode("utf-8", "surrogateescape"), "") is None
