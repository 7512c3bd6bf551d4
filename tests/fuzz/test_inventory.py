"""A fuzzer of the inventory: whatever stands in it, it is read, or it is an InventoryError."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import Path

import pytest
from fuzzing import NUMBERS, TEXTS, examples, mangled
from hypothesis import given
from hypothesis import strategies as st
from inventories import SHOP

from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import load
from pgsupervisor.inventory.schema import ClusterTable, DaemonTable, InstallationTable, MainFile
from pgsupervisor.paths import DefaultPaths

HOSTILE_CONF = rb"""
port = 99999999999999999999
unix_socket_directories = '/tmp,@a,"b,\377,../../../c'
include 'postgresql.conf'
include_dir '/proc/self'
include '/dev/zero'
'
"""
"""What a cluster's own configuration may say, which is looked at when clusters are compared."""

WORDS = st.sampled_from(("a", "data", "loop/data", "journal", "10s", "64MB", "0660", "fast", "always", "@a", "*.toml"))

VALUES: st.SearchStrategy[object] = st.recursive(
    st.booleans()
    | NUMBERS
    | TEXTS
    | WORDS
    | st.sampled_from((date(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59), time(0), "\0", "[" * 3000)),  # noqa: DTZ001 - so
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)

NAMES = st.sampled_from(("a", "b")) | TEXTS


def table(kind: type, **given: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """Return tables that have any of the keys of a type of the schema, with any values; and those that are `given`."""
    fields: dict[str, st.SearchStrategy[object]] = dict.fromkeys(kind.__struct_fields__, VALUES)
    return st.fixed_dictionaries(given, optional={key: each for key, each in fields.items() if key not in given})


def nearly(kind: type, **given: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Return tables that are right but for one key, tables of anything, and what is none."""
    fields = [key for key in kind.__struct_fields__ if key not in given]
    one = st.tuples(st.sampled_from(fields), VALUES).map(lambda item: dict([item]))
    right = st.fixed_dictionaries(given)
    return st.builds(lambda most, other: {**most, **other}, right, one) | right | table(kind, **given) | VALUES


SETTINGS = st.dictionaries(st.sampled_from(("work_mem", "port", "a.b", "A.B")) | TEXTS, VALUES, max_size=3)
CLUSTER = nearly(
    ClusterTable,
    installation=st.just("pg"),
    data_directory=st.sampled_from(("data", "loop/data", "~/a", "/proc/self", "data/../data")) | TEXTS,
)
DOCUMENTS = st.fixed_dictionaries(
    {"installations": st.just({"pg": {"bindir": "/pg/bin"}}), "clusters": st.dictionaries(NAMES, CLUSTER, max_size=3)},
    optional={
        "include": st.lists(TEXTS | WORDS, max_size=3) | VALUES,
        "daemon": nearly(DaemonTable),
        "defaults": nearly(ClusterTable, settings=SETTINGS, environment=st.dictionaries(TEXTS, TEXTS, max_size=3)),
    },
) | table(
    MainFile, installations=st.dictionaries(NAMES, nearly(InstallationTable), max_size=2), clusters=SETTINGS
)  # fmt: skip


def toml(value: object) -> str:
    """Return a value as TOML has it, or nearly."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml(key)} = {toml(each)}' for key, each in value.items())}}}"
        case _:
            return str(value)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a cluster that has a hostile configuration, and a link in a circle."""
    made = tmp_path_factory.mktemp("inventories")
    (made / "data").mkdir()
    (made / "data" / "postgresql.conf").write_bytes(HOSTILE_CONF)
    (made / "data" / "postgresql.auto.conf").symlink_to("/dev/zero")
    (made / "loop").symlink_to("loop")
    (made / "a.toml").write_text("clusters = 1\n")
    return made


def is_read_or_refused(directory: Path, content: bytes) -> None:
    """Load an inventory; only an InventoryError may come of it."""
    path = directory / "inventory.toml"
    path.write_bytes(content)
    with contextlib.suppress(InventoryError):
        load(str(path), paths=DefaultPaths("/run/control", "/log"), cpus=3)


@given(document=DOCUMENTS)
@examples(100)
def test_strange_values(directory: Path, document: Mapping[str, object]) -> None:
    """Whatever value a key has."""
    text = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items())
    is_read_or_refused(directory, text.encode("utf-8", "surrogatepass"))


@given(content=mangled(SHOP.encode(), (Path(__file__).parents[2] / "etc" / "inventory.toml").read_bytes()))
@examples(80)
def test_strange_bytes(directory: Path, content: bytes) -> None:
    """Whatever bytes the file has."""
    is_read_or_refused(directory, content)
