"""The argument list and the environment of every program of PostgreSQL that we run. Pure: nothing is run here.

What a server is started with decides what it is: a stray `PGPORT` or `NOTIFY_SOCKET` from our own environment
would change it behind the administrator's back. So both are built here, from their facts alone, and can be
compared literally in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgsupervisor.postgres.secrets import objection
from pgsupervisor.system.identity import User

Settings = Mapping[str, str]
"""Settings of a server by name, as `postgres --NAME=VALUE` takes them."""

_NOT_PASSED_ON = ("PG", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")
"""Beginnings of the names of environment variables that a server must not inherit.

`PG*` are libpq's, a password among them, and would reach every program that the server runs (libpq, "Environment
Variables");
`NOTIFY_SOCKET` and `WATCHDOG_*` are systemd's for *us*: a server built with systemd support would report its own
readiness as ours (sd_notify(3)); `LISTEN_*` are descriptors that were passed to us alone.
"""


def postgres_command(
    postgres: str,
    data_directory: str,
    *,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> tuple[str, ...]:
    """Return the arguments that start a server on `data_directory` in the foreground.

    `config_file` is given when postgresql.conf lies outside the data directory (as Debian keeps it). `settings`
    become `--name=value`, which win over every configuration file (PostgreSQL manual, "Setting Parameters").

    Raises ValueError for a setting that may hold a password: everybody can read a command line.
    """
    for name, value in (settings or {}).items():
        if why := objection(name, value):
            raise ValueError(f"{name} {why}")
    located = () if config_file is None else (f"--config_file={config_file}",)
    given = tuple(f"--{name}={value}" for name, value in (settings or {}).items())
    return (postgres, "-D", data_directory, *located, *given)


def setting_command(
    postgres: str,
    data_directory: str,
    name: str,
    *,
    config_file: str | None = None,
    settings: Settings | None = None,
) -> tuple[str, ...]:
    """Return the arguments that print what a server started so would take `name` to be (`postgres -C`)."""
    return (
        *postgres_command(postgres, data_directory, config_file=config_file, settings=settings),
        "-C",
        name,
    )


def initdb_command(
    initdb: str,
    data_directory: str,
    *,
    encoding: str,
    user: str | None = None,
    authentication: str | None = None,
    locale: str | None = None,
    password_file: str | None = None,
    extra_arguments: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the arguments that make a cluster in `data_directory`; None leaves a choice to initdb.

    `user` is the name of the database superuser, `authentication` the method for local connections, and
    `password_file` the file whose first line is the superuser's password (PostgreSQL manual, "initdb").
    """
    options = {
        "--encoding": encoding,
        "--username": user,
        "--auth": authentication,
        "--locale": locale,
        "--pwfile": password_file,
    }
    chosen = tuple(f"{option}={value}" for option, value in options.items() if value is not None)
    return (initdb, "-D", data_directory, *chosen, *extra_arguments)


def controldata_command(pg_controldata: str, data_directory: str) -> tuple[str, ...]:
    """Return the arguments that print what the control file of a cluster says (PostgreSQL manual, "pg_controldata")."""
    return (pg_controldata, "-D", data_directory)


def psql_command(psql: str, *, host: str, port: int) -> tuple[str, ...]:
    """Return the arguments that have a server answer what stands on the standard input (PostgreSQL manual, "psql").

    `host` is the directory of its Unix socket. Nobody's psqlrc is read, nobody is prompted for a password, and what
    comes out is bare. An error ends no more than its own statement.
    """
    bare = ("--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only")
    return (psql, *bare, "--host", host, "--port", str(port), "postgres")


def oom_environment(score: int) -> dict[str, str]:
    """Return the environment by which the processes that a postmaster starts get a score of their own.

    `score` is what they write into oom_score_adj (proc_pid_oom_score_adj(5)); they would inherit the postmaster's
    (PostgreSQL manual, "Linux Memory Overcommit"; fork_process.c).
    """
    return {"PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj", "PG_OOM_ADJUST_VALUE": str(score)}


def environment(
    inherited: Mapping[str, str], *, run_as: User | None = None, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment for a program of PostgreSQL: what we `inherited`, cleaned, then `extra`.

    A program that runs as another user gets that user's HOME, USER and LOGNAME.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(_NOT_PASSED_ON)}
    if run_as is not None:
        kept |= {"HOME": run_as.home, "USER": run_as.name, "LOGNAME": run_as.name}
    return kept | dict(extra or {})
