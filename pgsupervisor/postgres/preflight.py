"""The pre-flight check: why a server would not start, told in words before it is tried.

A server that cannot start says so in its own log, in its own terms, and ends with status 1 whatever the reason. Most
reasons can be seen beforehand, in a few milliseconds, and each calls for something else from the administrator. What
needs PostgreSQL's own judgement, its configuration, is asked of it (`configuration_problem`).
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

from pgsupervisor.errors import ConfigurationError
from pgsupervisor.postgres import command, pidfile
from pgsupervisor.postgres.addresses import socket_path, split_list, tcp_problems, unix_problems
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.guarded import beginning_of
from pgsupervisor.system.identity import User, acting, as_ourselves, our_uid
from pgsupervisor.system.permission import may
from pgsupervisor.system.process import run
from pgsupervisor.system.safepath import user_name

_REFUSES_ROOT = "PostgreSQL refuses to run as root: name another user, such as the owner of the data directory"

_PATIENCE = 10.0
"""Seconds that PostgreSQL may take to judge a configuration; as a rule it takes ten milliseconds."""

_VERSION = 64
"""Bytes of PG_VERSION that are read: a number, as a rule."""

_PORTS = range(1, 65536)

_SOCKETS = ("port", "unix_socket_directories")
_ADDRESSES = (*_SOCKETS, "listen_addresses", "data_directory")
"""The settings that say where a server's sockets are, and all that name a directory or an address."""

_FORBIDDEN_MODE = 0o027
"""Mode bits that a data directory must not have: 0700 and 0750 pass (PG_MODE_MASK_GROUP in file_perm.h)."""


def problems(
    installation: Installation,
    data_directory: str,
    *,
    run_as: User | None,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> list[str]:
    """Return the reasons why a server could not start on a data directory, each with what to do next; empty if fine.

    The server would run as `run_as` (None: as we do), with the `config_file` and the `settings` that it would be
    started with. Of a cluster whose server runs already, its own port is no problem.
    """
    found = [*_user_problems(run_as), *_program_problems(installation, run_as)]
    directory = _directory_problems(data_directory, run_as)
    if directory:
        return found + directory
    wrong = version_problem(installation, data_directory)
    if wrong is not None:
        return [*found, wrong]
    try:
        chosen = _chosen(installation, data_directory, config_file, settings, _ADDRESSES)
        return found + _configured_problems(data_directory, chosen, run_as)
    except (ConfigurationError, OSError) as error:
        return [*found, f"the configuration cannot be read: {error}"]


def reasons(
    installation: Installation,
    data_directory: str,
    *,
    run_as: User | None,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> list[str]:
    """Return `problems`, and where there are none PostgreSQL's own judgement of its configuration; empty if fine."""
    found = problems(installation, data_directory, run_as=run_as, config_file=config_file, settings=settings)
    if found:
        return found
    refused = configuration_problem(
        installation, data_directory, run_as=run_as, config_file=config_file, settings=settings
    )
    return [] if refused is None else [refused]


def version_problem(installation: Installation, data_directory: str) -> str | None:
    """Return why an installation cannot run a data directory: there is none, or it is another version's."""
    try:
        written = beginning_of(os.path.join(data_directory, "PG_VERSION"), _VERSION)
    except (FileNotFoundError, NotADirectoryError):
        return f"{data_directory} is not a data directory: it has no PG_VERSION; make one with initdb, or mount it"
    version = written.decode("ascii", "replace").strip()
    if version == str(installation.major):
        return None
    return (
        f"{data_directory} belongs to PostgreSQL {version}, and the installation in {installation.bindir} is "
        f"{installation.version}; choose an installation of PostgreSQL {version}, or upgrade the data with pg_upgrade"
    )


def configuration_problem(
    installation: Installation,
    data_directory: str,
    *,
    run_as: User | None,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> str | None:
    """Return what PostgreSQL has against its configuration, in its own words; None if it takes it.

    This is the judgement of `postgres -C`: all settings and their values are checked, pg_hba.conf is not.
    """
    # Whatever the configuration says, the messages come here, in English, whole and bare.
    plain = {"lc_messages": "C", "log_destination": "stderr", "log_line_prefix": "", "log_min_messages": "warning"}
    asked = command.setting_command(
        installation.require("postgres"),
        data_directory,
        "port",
        config_file=config_file,
        settings={**(settings or {}), **plain},
    )
    environment = command.environment(os.environ, run_as=run_as, extra={"LC_ALL": "C"})
    try:
        finished = run(asked, environment=environment, run_as=run_as, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return f"{asked[0]} did not judge the configuration within {_PATIENCE:.0f} s; are its files readable?"
    if finished.returncode == 0:
        return None
    said = [_without_severity(line) for line in finished.stderr.splitlines() if line.strip()]
    return "; ".join(said) or f"{asked[0]} ended with status {finished.returncode}"


def _without_severity(line: str) -> str:
    """Return a line of the server's log without its `LOG:  ` or `FATAL:  `."""
    severity, colon, message = line.partition(":  ")
    return message.strip() if colon and severity.isupper() else line.strip()


def ownership_problem(data_directory: str, run_as: User | None) -> str | None:
    """Return why a server that runs as `run_as` could not have a data directory, by whose that is; None if it could.

    None too if there is no such directory. It is the first thing to ask: nothing else is ours to find out about a
    directory of another user, whose server we can neither start nor stop. Raises OSError.
    """
    who = acting()
    if who is not None and who == run_as:
        # As a rule it is as it should be, and he who has it sees that himself.
        with contextlib.suppress(OSError):
            if os.stat(data_directory).st_uid == who.uid != 0:
                return None
    return _ownership_problem(data_directory, run_as)


@as_ourselves()
def _ownership_problem(data_directory: str, run_as: User | None) -> str | None:
    try:
        facts = os.stat(data_directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        why = f"cannot be looked into by {user_name(os.geteuid())}: {error.strerror}"
        return f"{data_directory} {why}; ask as root or as its owner"
    owner = facts.st_uid
    if not stat.S_ISDIR(facts.st_mode):
        return None
    uid = our_uid() if run_as is None else run_as.uid
    if uid == 0:
        return _REFUSES_ROOT
    if owner == uid:
        return None
    has, name = user_name(owner), user_name(uid) if run_as is None else run_as.name
    whose = f"{data_directory} belongs to {has}, and PostgreSQL would run as {name}"
    chown = f"`chown -R {name} {data_directory}`"
    if our_uid() == 0:
        return f"{whose}: both must be the same; name its owner as the user, or do {chown}"
    if owner == 0:
        return f"{whose}, since it refuses to run as root; have root do {chown}"
    return f"{whose}, since only root can run it as another; do this as {has} or as root, or have root do {chown}"


def _user_problems(run_as: User | None) -> list[str]:
    if (our_uid() if run_as is None else run_as.uid) != 0:
        return []
    return [_REFUSES_ROOT]


def _program_problems(installation: Installation, run_as: User | None) -> list[str]:
    program = installation.postgres
    if program is None:
        return [f"{installation.version} has no program postgres in {installation.bindir} that can be executed"]
    if may(run_as, program, os.X_OK):
        return []
    return [f"{_name(run_as)} may not execute {program}: open its directories to him, or move the installation"]


def _directory_problems(data_directory: str, run_as: User | None) -> list[str]:
    try:
        problem = ownership_problem(data_directory, run_as)
        if problem is not None:
            return [problem]
        facts = os.stat(data_directory)
        if not stat.S_ISDIR(facts.st_mode):
            return [f"{data_directory} is not a directory"]
        Path(data_directory, "PG_VERSION").exists()
    except FileNotFoundError:
        return [f"{data_directory} does not exist: make it with initdb, or mount it"]
    except OSError as error:
        return [f"{data_directory} cannot be looked into: {error.strerror}; ask as root or as its owner"]
    found = []
    if facts.st_mode & _FORBIDDEN_MODE:
        found.append(
            f"{data_directory} has the mode {facts.st_mode & 0o7777:04o}, and PostgreSQL accepts 0700 and 0750 only; "
            f"do `chmod 0700 {data_directory}`"
        )
    return found


def socket_locks(
    installation: Installation,
    data_directory: str,
    *,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> list[str]:
    """Return the paths of the lock files that a server would make beside its Unix sockets.

    Raises ConfigurationError or OSError if its configuration cannot be read.
    """
    chosen = _chosen(installation, data_directory, config_file, settings)
    port = _port(chosen)
    if port is None:
        return []
    directories = _socket_directories(data_directory, chosen)
    return [f"{socket_path(directory, port)}.lock" for directory in directories if not directory.startswith("@")]


def _chosen(
    installation: Installation,
    data_directory: str,
    config_file: str | None,
    settings: Settings | None,
    names: Iterable[str] = _SOCKETS,
) -> dict[str, str]:
    """Return what a server would go by of the settings with these `names`, and of those that are given.

    Files are read only for what is not given.
    """
    chosen = {name.lower().replace("-", "_"): value for name, value in (settings or {}).items()}
    asked = [name for name in names if name not in chosen]
    if asked:
        written = ConfigFile(
            config_file or os.path.join(data_directory, "postgresql.conf"),
            auto_file=os.path.join(data_directory, "postgresql.auto.conf"),
        )
        chosen |= {name: value for name, value in written.getset(asked).items() if value is not None}
    if "unix_socket_directories" not in chosen:
        chosen["unix_socket_directories"] = installation.default_socket_directories
    return chosen


def _port(chosen: Settings) -> int | None:
    """Return the port that a server would use; None if that is no port, which is for PostgreSQL itself to judge."""
    try:
        port = int(chosen.get("port", "5432"), base=0)
    except ValueError:
        return None
    return port if port in _PORTS else None


def _socket_directories(data_directory: str, chosen: Settings) -> list[str]:
    """Return where a server would make its sockets. It works in its data directory, and so do relative paths."""
    return [
        directory if directory.startswith("@") else os.path.join(data_directory, directory)
        for directory in split_list(chosen["unix_socket_directories"])
    ]


def _configured_problems(data_directory: str, chosen: Settings, run_as: User | None) -> list[str]:
    """Return what is wrong with what the configuration names: the data directory, the port and the sockets."""
    found = []
    elsewhere = chosen.get("data_directory")
    if (
        elsewhere is not None
        and Path(elsewhere).is_absolute()
        and Path(elsewhere).resolve() != Path(data_directory).resolve()
    ):
        found.append(
            f"the configuration sets data_directory to {elsewhere}, so the server would run there and not on "
            f"{data_directory}; make both the same"
        )
    return found + _address_problems(data_directory, chosen, run_as)


def _address_problems(data_directory: str, chosen: Settings, run_as: User | None) -> list[str]:
    port = _port(chosen)
    if port is None:
        return []
    server = pidfile.postmaster(data_directory)
    if server is not None:
        with server:
            written = pidfile.read(data_directory)
            if written is not None and written.port == port:
                return []
    addresses = split_list(chosen.get("listen_addresses", "localhost"))
    return tcp_problems(addresses, port) + unix_problems(_socket_directories(data_directory, chosen), port, run_as)


def _name(run_as: User | None) -> str:
    """Name the user that the server would run as."""
    return f"the user with the number {our_uid()}" if run_as is None else f"{run_as.name} ({run_as.uid})"
