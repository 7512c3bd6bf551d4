"""Installations: one version of PostgreSQL's programs on this machine, and what it says of itself.

What makes an installation is its directory of programs, the *bindir*, and the version of the `postgres` in it.
`pg_config` tells more (where the libraries are, how it was built), but it is a developer's tool: it may be missing,
or another version's, or a wrapper that answers for the newest one (Debian's /usr/bin/pg_config). So a bindir
is enough to have an installation, and what a `pg_config` beside it says is believed when it speaks of the same version.

Everything is kept as a dictionary, in the shape of pg_config's output, so that an installation can also be
described by hand:

>>> Installation({"version": "PostgreSQL 15.18", "bindir": "/opt/pg15/bin"}).version_info
(15, 18, 0, 'final', 0)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

from pgsupervisor.errors import InstallationError
from pgsupervisor.postgres import versionstring
from pgsupervisor.postgres.command import environment
from pgsupervisor.postgres.versionstring import VersionInfo
from pgsupervisor.system.identity import NOBODY, User, as_ourselves, user
from pgsupervisor.system.process import run
from pgsupervisor.system.safepath import weakness

StrPath = str | os.PathLike[str]

ConfigureOptions = dict[str, str | Literal[True]]
"""Options of PostgreSQL's configure script by name, without dashes; True for an option that has no argument."""

_TIMEOUT = 8.0  # seconds; a program that prints its version needs milliseconds, a cold disk more


def pg_config_dictionary(*command: str, encoding: str = "utf-8", timeout: float = _TIMEOUT) -> dict[str, str]:
    """Run pg_config, given by the words of a `command` that needs no more arguments, and return what it prints.

    Keys are lower-cased and otherwise as pg_config has them: `version`, `bindir`, `includedir-server`, ... `timeout`
    is in seconds. The command runs in the directory `/`.

    Raises FileNotFoundError if there is no such program, and InstallationError if it does not do its work.
    """
    said = _output(*command, timeout=timeout).encode("utf-8", "surrogateescape")
    output = said.decode(encoding, "surrogateescape")
    pairs = (line.split("=", 1) for line in output.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def default_pg_config(execname: str = "pg_config", envkey: str = "PGINSTALLATION") -> str | None:
    """Return the path of the pg_config to use when none is given: the environment's `envkey`, else the PATH's first.

    None if there is none that can be executed.
    """
    return shutil.which(os.environ.get(envkey) or execname)


def _output(*command: str, timeout: float = _TIMEOUT) -> str:
    """Run a program of PostgreSQL that prints a few lines, and return them.

    Raises FileNotFoundError if there is no such program, and InstallationError if it does not do its work.
    """
    program, *arguments = command
    if os.sep in program:
        program = str(Path(program).absolute())
    shown = " ".join(command)
    try:
        # In the C locale, so that what is parsed is English, whatever the administrator speaks.
        run_as = _asked_as(program)
        spoken = environment(os.environ, run_as=run_as, extra={"LC_ALL": "C"})
        finished = run([program, *arguments], environment=spoken, run_as=run_as, timeout=timeout)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InstallationError(f"cannot execute {shown}: {error.strerror}; check its path, owner and mode") from error
    except subprocess.TimeoutExpired as error:
        raise InstallationError(f"{shown} did not end within {timeout:g} s; run it by hand to see why") from error
    if finished.returncode != 0:
        said = finished.stderr.strip() or finished.stdout.strip() or "nothing"
        raise InstallationError(f"{shown} failed with exit status {finished.returncode}, and said: {said}")
    return finished.stdout


def _asked_as(program: str) -> User | None:
    """Return the user as whom root asks a program something; None for ourselves.

    Whoever can put a program of his own in its place would have that run by root otherwise. So it is asked as him, as
    a developer's own build is, or where that can be several, as nobody.
    """
    found = shutil.which(program)
    if os.geteuid() != 0 or found is None:
        return None
    try:
        weak = weakness(found)
        if weak is None:
            return None
        return NOBODY if weak.whose is None else user(weak.whose)
    except (OSError, KeyError):
        return NOBODY


_WORD = re.compile(r"""'((?:[^']|'\\?'')*)'|"([^"]*)"|(\S+)""")
"""A word of CONFIGURE: in single quotes, in double quotes, or bare.

The configure script quotes each of its arguments as a shell would, and a quote inside as `'\\''`. This text becomes
a string of a C program, whose compiler takes the backslash away: pg_config prints `'''`.
"""


def parse_configure(configure: str) -> ConfigureOptions:
    """Return the options in pg_config's CONFIGURE line; of an option that is given twice, the last counts.

    Names are lower-cased, lose their leading dashes, and have `_` for `-`. Variables that were given to configure
    (`CFLAGS=-g`) are in it too.
    """
    options: ConfigureOptions = {}
    for single, double, bare in _WORD.findall(configure):
        word = bare or double or re.sub(r"'\\?''", "'", single)
        name, equals, value = word.partition("=")
        if equals or name.startswith("-"):
            options[name.lstrip("-").lower().replace("-", "_")] = value if equals else True
    options.pop("", None)
    return options


class Installation:
    """One installation of PostgreSQL, described by `info`: a dictionary in the shape of pg_config's output.

    Only the key `version` is required (KeyError); with `bindir` it has programs. Instead of a dictionary, the path
    of a pg_config can be given. Two installations are equal if their bindir and their version are.

    Every name in `pg_directories` and `pg_executables` is an attribute too: an absolute path, or None if this
    installation has no such thing.

    Raises InstallationError if the version cannot be understood.
    """

    pg_directories: ClassVar[tuple[str, ...]] = (
        "bindir",
        "docdir",
        "includedir",
        "pkgincludedir",
        "includedir_server",
        "libdir",
        "pkglibdir",
        "localedir",
        "mandir",
        "sharedir",
        "sysconfdir",
    )
    """The names of the directories that an installation may have."""

    pg_executables: ClassVar[tuple[str, ...]] = (
        "pg_config",
        "psql",
        "initdb",
        "pg_resetxlog",
        "pg_controldata",
        "clusterdb",
        "pg_ctl",
        "pg_dump",
        "pg_dumpall",
        "postgres",
        "postmaster",
        "reindexdb",
        "vacuumdb",
        "ipcclean",
        "createdb",
        "ecpg",
        "createuser",
        "createlang",
        "droplang",
        "dropuser",
        "pg_restore",
        # What PostgreSQL 12 to 18 has beside them.
        "dropdb",
        "oid2name",
        "pg_amcheck",
        "pg_archivecleanup",
        "pg_basebackup",
        "pg_checksums",
        "pg_combinebackup",
        "pg_createsubscriber",
        "pg_isready",
        "pg_receivewal",
        "pg_recvlogical",
        "pg_resetwal",
        "pg_rewind",
        "pg_standby",
        "pg_test_fsync",
        "pg_test_timing",
        "pg_upgrade",
        "pg_verifybackup",
        "pg_waldump",
        "pg_walsummary",
        "pgbench",
        "vacuumlo",
    )
    """The names of the programs that an installation may have."""

    def __init__(self, info: Mapping[str, str] | StrPath) -> None:
        self.info: dict[str, str] = dict(info) if isinstance(info, Mapping) else _ask_pg_config(info)
        self.version: str = self.info["version"]
        self.type, self.version_info = _parse_version(self.version)

    @classmethod
    def from_pg_config(cls, path: StrPath) -> Self:
        """Return the installation that the pg_config at `path` speaks of.

        Raises InstallationError if there is none, or it does not do its work.
        """
        return cls(_ask_pg_config(path))

    @classmethod
    def from_bindir(cls, path: StrPath) -> Self:
        """Return the installation whose programs are in the directory `path`; only `postgres` must be there.

        Raises InstallationError if it is not, or does not run.
        """
        bindir = Path(path).absolute()
        version = _ask_postgres(bindir)
        try:
            told = pg_config_dictionary(str(bindir / "pg_config"))
        except (FileNotFoundError, InstallationError):
            told = {}
        # In a directory such as /usr/bin, pg_config may well be a wrapper that speaks of another version.
        if told.get("version") != version:
            told = {}
        return cls({**told, "version": version, "bindir": str(bindir)})

    @property
    def major(self) -> int:
        """The major version, which decides what data directories it can run: 15 for 15.18."""
        return self.version_info[0]

    @property
    def bindir(self) -> str:
        """The directory of the programs.

        Raises InstallationError if the installation was described without one.
        """
        bindir = self._path("bindir")
        if bindir is None:
            raise InstallationError(f"{self.version} was described without its bindir; add that key to its dictionary")
        return bindir

    @property
    def configure_options(self) -> ConfigureOptions:
        """The options that the installation was built with (`parse_configure`); empty if nobody tells."""
        return parse_configure(self.info.get("configure", ""))

    @property
    def ssl(self) -> bool:
        """Whether it has SSL support.

        The options it was built with tell. Where they are not known (no pg_config, or built with meson, which records
        none), the server is asked for its setting `ssl_library`.

        Raises InstallationError if the server does not answer.
        """
        options = self.configure_options
        if options or self.postgres is None:
            return any(options.get(name, "no") != "no" for name in ("with_openssl", "with_ssl"))
        return _default(self.postgres, self.bindir, "ssl_library") != ""

    @cached_property
    def default_socket_directories(self) -> str:
        """What `unix_socket_directories` is when nobody sets it: /tmp, or the packager's choice. Asked once.

        Raises InstallationError if the server does not answer.
        """
        return _default(self.require("postgres"), self.bindir, "unix_socket_directories")

    @property
    def paths(self) -> dict[str, str | None]:
        """The paths of everything in `pg_directories` and `pg_executables`; None for what is not there."""
        return {name: self._path(name) for name in (*self.pg_directories, *self.pg_executables)}

    def require(self, name: str) -> str:
        """Return the path of the program `name`.

        Raises InstallationError if this installation has none that can be executed.
        """
        path = self._executable(name)
        if path is None:
            raise InstallationError(
                f"{self.version} has no program {name} in {self.bindir}; "
                "install the package that brings it, or choose another installation"
            )
        return path

    def _path(self, name: str) -> str | None:
        """Return the path of a directory or a program."""
        if name in self.pg_directories:
            # pg_config prints the key of one directory with a dash, INCLUDEDIR-SERVER.
            directory = self.info.get(name.replace("_", "-"), self.info.get(name))
            return str(Path(directory).absolute()) if directory else None
        return self._executable(name)

    def _executable(self, name: str) -> str | None:
        """Return the path of a program, or None if there is none that we may execute."""
        bindir = self._path("bindir")
        if bindir is None:
            return None
        path = os.path.join(bindir, name)
        if _may_be_executed(path):  # as a rule by any user, so also by him as whom this thread may be acting
            return path
        with as_ourselves():
            return path if _may_be_executed(path) else None

    def __getattr__(self, name: str) -> str | None:
        if name in self.pg_directories or name in self.pg_executables:
            return self._path(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version!r} in {self._path('bindir')!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Installation):
            return NotImplemented
        return (self._path("bindir"), self.version) == (other._path("bindir"), other.version)

    def __hash__(self) -> int:
        return hash((self._path("bindir"), self.version))


def _may_be_executed(path: str) -> bool:
    return os.access(path, os.X_OK, effective_ids=True) and os.path.isfile(path)


def _default(postgres: str, bindir: str, setting: str) -> str:
    """Ask a server program for a setting's default.

    -C must come first, or root may not ask (main.c). An empty configuration needs no data directory.
    """
    return _output(postgres, "-C", setting, "-D", bindir, "--config_file=/dev/null").strip()


def _ask_pg_config(path: StrPath) -> dict[str, str]:
    """Return what the pg_config at `path` prints.

    Raises InstallationError if there is none, or it does not do its work.
    """
    place = Path(path).absolute()
    try:
        told = pg_config_dictionary(str(place))
    except FileNotFoundError as error:
        raise InstallationError(
            f"there is no pg_config at {place}; give the path of one, or the directory of the installation's programs"
        ) from error
    if "version" not in told:
        raise InstallationError(f"{place} does not say its version; give the path of a pg_config")
    return told


def _ask_postgres(bindir: Path) -> str:
    """Return the version that the `postgres` of a bindir says it is, in pg_config's words.

    Raises InstallationError if there is none, or it does not do its work.
    """
    program = bindir / "postgres"
    try:
        said = _output(str(program), "-V").strip()
    except FileNotFoundError as error:
        raise InstallationError(
            f"there is no postgres that runs in {bindir}; "
            "give the directory that has the server's programs, such as /usr/lib/postgresql/15/bin"
        ) from error
    found = re.fullmatch(r"\S+ \((.+?)\) (\d.*)", said)
    if found is None:
        raise InstallationError(f"{program} -V says {said!r}, which is no version; give another directory")
    return f"{found[1]} {found[2]}"


def _parse_version(version: str) -> tuple[str, VersionInfo]:
    """Return the type and the fields of a version string such as `PostgreSQL 15.18 (Debian 15.18-0+deb12u1)`."""
    kind, *rest = re.split(r"\s+(?=\d)", version, maxsplit=1)
    found = versionstring.PATTERN.match("".join(rest))
    if found is None:
        raise InstallationError(f"{version!r} is no version of PostgreSQL; one looks like 'PostgreSQL 15.18'")
    return kind, versionstring.normalize(versionstring.fields(found))
