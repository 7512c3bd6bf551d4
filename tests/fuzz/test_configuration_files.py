"""Fuzzers of the files that configure a server: whatever they say, it is read as PostgreSQL would, or told as wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from fuzzing import TEXTS, examples, mangled
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import authfile, sources
from pgsupervisor.postgres.addresses import split_list
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.lexer import parse_commented_out

CONF = rb"""# a comment
work_mem = 4MB
#max_connections = 100  # (change requires restart)
shared_preload_libraries = 'a,"b c",\'d\''
include 'more.conf'
include 'loop.conf'
include_if_exists 'more.conf'
include_dir 'd'
hba_file = '/pg_hba.conf'
ssl = on
ssl_crl_dir = 'd'
ssl_cert_file = 'more.conf'
unix_socket_directories = '/tmp, "a b",@c'
"""

RULES = rb"""# TYPE  DATABASE  USER  ADDRESS  METHOD
local all all trust
host "a,b",c @admins,"@d" ::1/128 scram-sha-256 \
  more
include more_hba.conf
include_if_exists pg_hba.conf
include_dir d
@pg_hba.conf @d @/dev/zero
map /^(.*)@x$ \1
"""

FILES = ("postgresql.conf", "postgresql.auto.conf", "more.conf", "d/a.conf", "pg_hba.conf", "more_hba.conf", "admins")

NAMES = st.sampled_from(("work_mem", "max_connections", "Port", "a.b", "hba_file", "include")) | TEXTS
CHANGES = st.dictionaries(NAMES, st.none() | TEXTS | st.sampled_from(("1", "it's", "\\", "\r")), max_size=3)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory."""
    made = tmp_path_factory.mktemp("data")
    (made / "d").mkdir()
    (made / "d" / "b.conf").symlink_to("/dev/zero")
    (made / "loop.conf").symlink_to("loop.conf")
    os.mkfifo(made / "d" / "d.conf")
    return made


def write(directory: Path, contents: Mapping[str, bytes]) -> str:
    """Write files, and none of the others that there may be; return the path of postgresql.conf."""
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    for name, content in {"postgresql.conf": b"", **contents}.items():
        (directory / name).write_bytes(content)
    return str(directory / "postgresql.conf")


CONTENTS = st.dictionaries(st.sampled_from(FILES), mangled(CONF, RULES), max_size=4)


@given(contents=CONTENTS)
@examples(80)
def test_all_that_configures_a_server(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Whatever is in a server's files, all of them are found, and nothing is waited for."""
    write(directory, contents)
    for major in (12, 18):
        given = {"hba_file": f"{directory}/pg_hba.conf"}
        found = sources.read(str(directory), major=major, config_file=None, given=given)
        assert found.digests.keys() >= {f"{directory}/{name}" for name in ("postgresql.conf", "pg_hba.conf")}
        assert all(isinstance(word, str) for word in (*found.digests.values(), *found.settings.values()))
    for setting in found.settings.values():
        assert "\0" not in setting
        assert len(split_list(setting)) <= 64


@given(contents=CONTENTS, changes=CHANGES)
@examples(100)
def test_editing(directory: Path, contents: Mapping[str, bytes], changes: Mapping[str, str | None]) -> None:
    """Whatever postgresql.conf says, what is set there is what is read then, or an error of ours says why not."""
    settings = ConfigFile(write(directory, contents), auto_file=directory / "postgresql.auto.conf")
    before = dict(settings)
    known = settings.problems()
    try:
        settings.update(changes)
    except (ConfigurationError, ValueError):
        assert dict(settings) == before
        return
    for name, value in changes.items():
        assert settings.get(name) == value
    # No edit makes another mistake, nor moves a line.
    assert [each.line for each in settings.problems()] == [each.line for each in known]


@given(line=mangled(b"#work_mem = 4MB  # min 64kB\n", b"#a.b='\\x'#\n"))
@examples(150)
def test_a_setting_that_is_commented_out(line: bytes) -> None:
    """Whatever a comment says, it is a setting, or it is none."""
    found = parse_commented_out(line)
    assert found is None or found.name


@given(content=mangled(RULES, b'"' * 50, b"\\\n" * 50, b"a," * 50 + b"@"))
@examples(100)
def test_rules(directory: Path, content: bytes) -> None:
    """Whatever pg_hba.conf says, it is followed by every version; it comes first."""
    write(directory, {"pg_hba.conf": content})
    path = str(directory / "pg_hba.conf")
    for major in (12, 14, 16):
        found = authfile.read(path, major)
        assert found.files[0] == path
        assert len(set(found.files)) == len(found.files)


def test_files_that_include_each_other_without_end(directory: Path) -> None:
    """What would be read for years ends soon, and what is beyond all measure is told as too large."""
    bomb = b"include_dir 'd'\n" * 1000
    settings = ConfigFile(write(directory, {"postgresql.conf": bomb, "d/a.conf": b"a = 1\n" * 1000}))
    assert settings["a"] == "1"
    last = settings.problems()[-1]
    assert (last.line, last.why) == (1000, f'could not open "{directory}/d": File too large')
