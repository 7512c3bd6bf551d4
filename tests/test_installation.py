"""Installations, described by hand and by fake programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fake_programs import write_postgres, write_printer, write_program

from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres.installation import (
    ConfigureOptions,
    Installation,
    default_pg_config,
    parse_configure,
    pg_config_dictionary,
)
from pgsupervisor.postgres.versionstring import VersionInfo

# What pg_config prints


def test_pg_config_dictionary(tmp_path: Path) -> None:
    """Keys are lower-cased and keep their dashes, a value may hold `=`, and lines without one are no entries."""
    program = write_printer(
        tmp_path / "pg_config",
        "BINDIR = /opt/pg/bin\nINCLUDEDIR-SERVER = /opt/pg/include/server\nCFLAGS = -O2 -DX=1\n"
        "LDFLAGS_EX = \nthis is no entry\nVERSION = PostgreSQL 15.18",
    )
    assert pg_config_dictionary(str(program)) == {
        "bindir": "/opt/pg/bin",
        "includedir-server": "/opt/pg/include/server",
        "cflags": "-O2 -DX=1",
        "ldflags_ex": "",
        "version": "PostgreSQL 15.18",
    }


def test_pg_config_dictionary_of_several_words() -> None:
    """The command may have arguments, and its first word is looked for on the PATH."""
    assert pg_config_dictionary(sys.executable, "-c", "print('VERSION = PostgreSQL 16.3')") == {
        "version": "PostgreSQL 16.3"
    }
    assert pg_config_dictionary("echo", "VERSION=x") == {"version": "x"}


def test_pg_config_dictionary_at_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the caller's working directory."""
    write_printer(tmp_path / "bin" / "pg_config", "VERSION = PostgreSQL 16.3")
    monkeypatch.chdir(tmp_path)
    assert pg_config_dictionary("bin/pg_config") == {"version": "PostgreSQL 16.3"}


def test_pg_config_dictionary_in_another_encoding(tmp_path: Path) -> None:
    """Bytes are read in the encoding that was asked for."""
    program = write_program(tmp_path / "pg_config", r"printf 'BINDIR = /opt/caf\351\n'")
    assert pg_config_dictionary(str(program), encoding="latin-1") == {"bindir": "/opt/café"}
    assert os.fsencode(pg_config_dictionary(str(program))["bindir"]) == b"/opt/caf\xe9"


def test_pg_config_runs_in_a_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the caller has set for libpq or as its language does not change the answers."""
    monkeypatch.setenv("PGSYSCONFDIR", "/wrong")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    program = write_program(tmp_path / "pg_config", 'echo "A = [$PGSYSCONFDIR] [$LC_ALL]"')
    assert pg_config_dictionary(str(program)) == {"a": "[] [C]"}


def test_pg_config_that_is_missing(tmp_path: Path) -> None:
    """A program that is not there is a FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        pg_config_dictionary(str(tmp_path / "pg_config"))


def test_pg_config_that_fails(tmp_path: Path) -> None:
    """A program that fails is an error with the command, its exit status and what it said."""
    program = write_program(tmp_path / "pg_config", "echo out; echo install me first >&2; exit 3")
    with pytest.raises(InstallationError) as caught:
        pg_config_dictionary(str(program), "--now")
    assert str(caught.value) == f"{program} --now failed with exit status 3, and said: install me first"


def test_pg_config_that_hangs(tmp_path: Path) -> None:
    """A program that does not end is ended, and is an error."""
    program = write_program(tmp_path / "pg_config", "exec sleep 60")
    with pytest.raises(InstallationError) as caught:
        pg_config_dictionary(str(program), timeout=0.2)
    assert str(caught.value) == f"{program} did not end within 0.2 s; run it by hand to see why"


def test_pg_config_that_cannot_be_executed(tmp_path: Path) -> None:
    """A file that is no program is an error that says what to check."""
    program = write_printer(tmp_path / "pg_config", "VERSION = PostgreSQL 15.18")
    program.chmod(0o644)
    with pytest.raises(InstallationError) as caught:
        pg_config_dictionary(str(program))
    assert str(caught.value) == f"cannot execute {program}: Permission denied; check its path, owner and mode"


def test_default_pg_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's choice wins, then the first on the PATH that can be executed; what cannot is none."""
    chosen = write_printer(tmp_path / "chosen" / "pg_config", "")
    write_printer(tmp_path / "a" / "pg_config", "").chmod(0o644)
    second = write_printer(tmp_path / "b" / "pg_config", "")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b")
    monkeypatch.delenv("PGINSTALLATION", raising=False)
    assert default_pg_config() == str(second)
    assert default_pg_config("no_such_config") is None
    monkeypatch.setenv("PGINSTALLATION", str(chosen))
    assert default_pg_config() == str(chosen)
    chosen.chmod(0o644)
    assert default_pg_config() is None


# Descriptions by hand


def test_an_installation_needs_a_version() -> None:
    """Without a version there is no installation."""
    with pytest.raises(KeyError, match="version"):
        Installation({"bindir": "/opt/pg/bin"})


def test_an_installation_that_has_only_a_version() -> None:
    """A version is enough; then there are no paths, and asking for programs says what is missing."""
    installation = Installation({"version": "PostgreSQL 15.18"})
    assert set(installation.paths.values()) == {None}
    assert (installation.configure_options, installation.ssl) == ({}, False)
    assert repr(installation) == "<Installation 'PostgreSQL 15.18' in None>"
    with pytest.raises(InstallationError, match="was described without its bindir"):
        _ = installation.bindir
    with pytest.raises(InstallationError, match="was described without its bindir"):
        installation.require("psql")


@pytest.mark.parametrize(
    ("version", "kind", "info"),
    [
        ("PostgreSQL 9.0devel", "PostgreSQL", (9, 0, 0, "devel", 0)),
        ("PostgreSQL 9.6.24", "PostgreSQL", (9, 6, 24, "final", 0)),
        ("PostgreSQL 12.22", "PostgreSQL", (12, 22, 0, "final", 0)),
        ("PostgreSQL 13.0", "PostgreSQL", (13, 0, 0, "final", 0)),
        ("PostgreSQL 14.1 (EDB 14.1-2)", "PostgreSQL", (14, 1, 0, "final", 0)),
        ("PostgreSQL 15.18 (Debian 15.18-0+deb12u1)", "PostgreSQL", (15, 18, 0, "final", 0)),
        ("PostgreSQL 16.3 (Ubuntu 16.3-1.pgdg22.04+1)", "PostgreSQL", (16, 3, 0, "final", 0)),
        ("PostgreSQL 16.2 - Percona Server for PostgreSQL 16.2.1", "PostgreSQL", (16, 2, 0, "final", 0)),
        ("PostgreSQL 17rc2", "PostgreSQL", (17, 0, 0, "rc", 2)),
        ("PostgreSQL 18beta1 (Debian 18~beta1-1)", "PostgreSQL", (18, 0, 0, "beta", 1)),
        ("PostgreSQL 19devel-vendor3", "PostgreSQL", (19, 0, 0, "devel", 0)),
        ("EnterpriseDB 15.3.1", "EnterpriseDB", (15, 3, 1, "final", 0)),
        ("Postgres Pro 16.4.1", "Postgres Pro", (16, 4, 1, "final", 0)),
    ],
)
def test_versions(version: str, kind: str, info: VersionInfo) -> None:
    """A version is understood whatever its vendor adds, and the whole of it is kept."""
    installation = Installation({"version": version})
    assert (installation.version, installation.type, installation.version_info) == (version, kind, info)
    assert installation.major == info[0]


@pytest.mark.parametrize("version", ["", "PostgreSQL", "15.18", "PostgreSQL devel", "PostgreSQL " + "9" * 5000])
def test_a_version_that_cannot_be_understood(version: str) -> None:
    """What is no version is an error that shows one."""
    with pytest.raises(InstallationError) as caught:
        Installation({"version": version})
    assert str(caught.value) == f"{version!r} is no version of PostgreSQL; one looks like 'PostgreSQL 15.18'"


def test_paths(tmp_path: Path) -> None:
    """Directories are what pg_config says, programs are those that can be executed; each is an attribute too."""
    program = write_printer(tmp_path / "psql", "")
    write_printer(tmp_path / "initdb", "").chmod(0o644)
    (tmp_path / "createdb").mkdir()
    described = {"version": "PostgreSQL 15.18", "bindir": str(tmp_path), "includedir-server": "/opt/include/server"}
    installation = Installation(described)
    assert installation.paths == dict.fromkeys((*Installation.pg_directories, *Installation.pg_executables)) | {
        "bindir": str(tmp_path),
        "includedir_server": "/opt/include/server",
        "psql": str(program),
    }
    assert {name: getattr(installation, name) for name in installation.paths} == installation.paths
    assert installation.info == described
    with pytest.raises(AttributeError, match="'Installation' object has no attribute 'pg_nonsense'"):
        _ = installation.pg_nonsense


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bindir that is given relative to the working directory is made absolute."""
    write_postgres(tmp_path / "bin")
    monkeypatch.chdir(tmp_path)
    expected = (f"{tmp_path}/bin", f"{tmp_path}/bin/postgres")
    for installation in (
        Installation({"version": "PostgreSQL 15.18", "bindir": "bin"}),
        Installation.from_bindir("bin/"),
    ):
        assert (installation.bindir, installation.postgres) == expected


def test_the_names_of_the_page() -> None:
    """Every name that py-postgresql documents is there."""
    directories = (
        "bindir docdir includedir pkgincludedir includedir_server libdir pkglibdir localedir mandir sharedir sysconfdir"
    )
    executables = (
        "pg_config psql initdb pg_resetxlog pg_controldata clusterdb pg_ctl pg_dump pg_dumpall postgres postmaster "
        "reindexdb vacuumdb ipcclean createdb ecpg createuser createlang droplang dropuser pg_restore"
    )
    assert Installation.pg_directories == tuple(directories.split())
    assert Installation.pg_executables[:21] == tuple(executables.split())


def test_require(tmp_path: Path) -> None:
    """A program that is needed is there, or the error says which one, of which version, and where it was looked for."""
    program = write_printer(tmp_path / "psql", "")
    installation = Installation({"version": "PostgreSQL 15.18", "bindir": str(tmp_path)})
    assert installation.require("psql") == str(program)
    with pytest.raises(InstallationError) as caught:
        installation.require("initdb")
    assert str(caught.value) == (
        f"PostgreSQL 15.18 has no program initdb in {tmp_path}; "
        "install the package that brings it, or choose another installation"
    )


def test_equality() -> None:
    """Installations are the same if their bindir and their version are."""
    one = Installation({"version": "PostgreSQL 15.18", "bindir": "/opt/a/bin", "docdir": "/x"})
    same = Installation({"version": "PostgreSQL 15.18", "bindir": "/opt/a/bin/"})
    elsewhere = Installation({"version": "PostgreSQL 15.18", "bindir": "/opt/b/bin"})
    newer = Installation({"version": "PostgreSQL 15.19", "bindir": "/opt/a/bin"})
    assert [other for other in (same, elsewhere, newer) if other == one] == [same]
    assert len({one, same, elsewhere, newer}) == 3
    assert one != "PostgreSQL 15.18"


# How it was built


@pytest.mark.parametrize(
    ("configure", "options"),
    [
        ("", {}),
        ("not recorded", {}),
        ("'--enable-debug' '--prefix=/src/build/pg90'", {"enable_debug": True, "prefix": "/src/build/pg90"}),
        ("'--with-extra-version= (Debian 15.18-0+deb12u1)'", {"with_extra_version": " (Debian 15.18-0+deb12u1)"}),
        (" '--a=1'  '--a=2' ", {"a": "2"}),
        ("--enable-debug '--b=/a b' \"--c=/c d\" --e=f", {"enable_debug": True, "b": "/a b", "c": "/c d", "e": "f"}),
        ("'--Enable-TAP-tests' 'CFLAGS=-g -O2'", {"enable_tap_tests": True, "cflags": "-g -O2"}),
        ("'--x=-rc-' '--y=' '--z=a=b'", {"x": "-rc-", "y": "", "z": "a=b"}),
        # As a shell would write a quote, and as pg_config prints it after the C compiler had it.
        (r"'--a=it'\''s a' '--b=1'", {"a": "it's a", "b": "1"}),
        ("'--a=it'''s a' '--b='''' '--c=1'", {"a": "it's a", "b": "'", "c": "1"}),
        ("'' '--' '--a'", {"a": True}),
    ],
)
def test_parse_configure(configure: str, options: ConfigureOptions) -> None:
    """The words of CONFIGURE are told apart as they were quoted, and none of their text is lost."""
    assert parse_configure(configure) == options


@pytest.mark.parametrize(
    ("configure", "ssl"),
    [
        ("'--with-openssl'", True),
        ("'--with-ssl=openssl'", True),
        ("'--with-openssl=yes'", True),
        ("'--with-openssl=no'", False),
        ("'--with-ssl=no'", False),
        ("'--with-openssl' '--with-openssl=no'", False),
        ("'--without-openssl'", False),
        ("'--enable-debug'", False),
    ],
)
def test_ssl(configure: str, *, ssl: bool) -> None:
    """Whether there is SSL is what the last word on it says."""
    assert Installation({"version": "PostgreSQL 15.18", "configure": configure}).ssl is ssl


@pytest.mark.parametrize(("library", "ssl"), [("OpenSSL", True), ("", False)])
def test_ssl_where_the_options_are_not_known(tmp_path: Path, library: str, *, ssl: bool) -> None:
    """The server is asked in a way that also root may ask."""
    write_program(tmp_path / "postgres", f'test "$1 $2" = "-C ssl_library" && echo {library}')
    assert Installation({"version": "PostgreSQL 18.6", "bindir": str(tmp_path)}).ssl is ssl


# From the programs


def test_from_pg_config(tmp_path: Path) -> None:
    """A pg_config describes its installation; its path may be given to Installation as well."""
    program = write_printer(tmp_path / "pg_config", f"BINDIR = {tmp_path}\nVERSION = PostgreSQL 15.18")
    info = {"bindir": str(tmp_path), "version": "PostgreSQL 15.18"}
    assert Installation.from_pg_config(program).info == info
    assert Installation(program).info == info
    assert Installation(str(program)).info == info


def test_from_pg_config_that_is_missing(tmp_path: Path) -> None:
    """The error says what to give instead."""
    with pytest.raises(InstallationError) as caught:
        Installation.from_pg_config(tmp_path / "pg_config")
    assert str(caught.value) == (
        f"there is no pg_config at {tmp_path}/pg_config; "
        "give the path of one, or the directory of the installation's programs"
    )


def test_from_pg_config_that_is_something_else(tmp_path: Path) -> None:
    """A program that tells no version is no pg_config."""
    program = write_printer(tmp_path / "pg_config", "hello = world")
    with pytest.raises(InstallationError) as caught:
        Installation.from_pg_config(program)
    assert str(caught.value) == f"{program} does not say its version; give the path of a pg_config"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "PostgreSQL 15.18 (Debian 15.18-0+deb12u1)"),
        ("postgres (PostgreSQL) 19devel", "PostgreSQL 19devel"),
        ("edb-postgres (EnterpriseDB) 15.3.1", "EnterpriseDB 15.3.1"),
    ],
)
def test_from_bindir_alone(tmp_path: Path, said: str, version: str) -> None:
    """The server's program is enough: it tells the version in its own way."""
    write_printer(tmp_path / "postgres", said)
    assert Installation.from_bindir(tmp_path).info == {"version": version, "bindir": str(tmp_path)}


def test_from_bindir_with_a_pg_config(tmp_path: Path) -> None:
    """A pg_config of the same version adds what it knows, but the bindir that was given stays the truth."""
    write_printer(tmp_path / "pg_config", "BINDIR = /elsewhere\nDOCDIR = /doc\nVERSION = PostgreSQL 15.18")
    installation = Installation.from_bindir(write_postgres(tmp_path))
    assert installation.info == {"version": "PostgreSQL 15.18", "bindir": str(tmp_path), "docdir": "/doc"}


@pytest.mark.parametrize(
    "pg_config",
    ["echo VERSION = PostgreSQL 18.6; echo DOCDIR = /doc", "echo DOCDIR = /doc", "exit 1", "kill -9 $$"],
)
def test_from_bindir_with_a_pg_config_that_does_not_fit(tmp_path: Path, pg_config: str) -> None:
    """A pg_config of another version, or one that does not work, is not listened to."""
    write_program(tmp_path / "pg_config", pg_config)
    installation = Installation.from_bindir(write_postgres(tmp_path))
    assert installation.info == {"version": "PostgreSQL 15.18", "bindir": str(tmp_path)}


def test_from_bindir_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    """A link to a bindir, which an administrator moves to the next version, is not followed."""
    write_postgres(tmp_path / "pg15")
    (tmp_path / "current").symlink_to("pg15")
    assert Installation.from_bindir(tmp_path / "current").bindir == f"{tmp_path}/current"


@pytest.mark.parametrize("exists", [True, False])
def test_from_bindir_without_postgres(tmp_path: Path, *, exists: bool) -> None:
    """A directory without the server is an error that says what to give instead."""
    bindir = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(InstallationError) as caught:
        Installation.from_bindir(bindir)
    assert str(caught.value) == (
        f"there is no postgres that runs in {bindir}; "
        "give the directory that has the server's programs, such as /usr/lib/postgresql/15/bin"
    )


def test_from_bindir_that_is_a_file(tmp_path: Path) -> None:
    """The path of the program itself is no bindir."""
    write_postgres(tmp_path)
    with pytest.raises(InstallationError, match=r"cannot execute .*/postgres/postgres -V: Not a directory"):
        Installation.from_bindir(tmp_path / "postgres")


def test_from_bindir_with_something_else(tmp_path: Path) -> None:
    """A program that merely has the name is told by what it says."""
    write_printer(tmp_path / "postgres", "hello")
    with pytest.raises(InstallationError) as caught:
        Installation.from_bindir(tmp_path)
    assert str(caught.value) == f"{tmp_path}/postgres -V says 'hello', which is no version; give another directory"
