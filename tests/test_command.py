"""The argument lists and environments of PostgreSQL's programs, compared word by word."""

from __future__ import annotations

import pytest

from pgsupervisor.postgres import command
from pgsupervisor.system.identity import User


def test_postgres() -> None:
    """A server gets its data directory, its configuration file and its settings, in this order."""
    assert command.postgres_command("/pg/bin/postgres", "/srv/pg") == ("/pg/bin/postgres", "-D", "/srv/pg")
    assert command.postgres_command(
        "/pg/bin/postgres", "/srv/pg", config_file="/etc/pg.conf", settings={"port": "5433", "a.b": "x y"}
    ) == ("/pg/bin/postgres", "-D", "/srv/pg", "--config_file=/etc/pg.conf", "--port=5433", "--a.b=x y")


@pytest.mark.parametrize(
    ("name", "value"),
    [("primary_conninfo", "host=a password=tiger"), ("SSL_passphrase_command", "echo tiger"), ("x.secret", "tiger")],
)
def test_a_password_is_on_no_command_line(name: str, value: str) -> None:
    """A setting that may hold a password is refused, and the error does not tell it."""
    with pytest.raises(ValueError, match=f"\\A{name} may hold a password") as caught:
        command.setting_command("/pg/bin/postgres", "/srv/pg", "port", settings={name: value})
    assert "tiger" not in str(caught.value)


def test_what_is_no_password() -> None:
    """A connection string without a password may be there, and what has a name like it."""
    given = {
        "primary_conninfo": "host=a passfile=/x postgresql://alice@a:5432/db",
        "password_encryption": "scram-sha-256",
        "log_line_prefix": "%m [%p] %u@%d ",
        "restore_command": "cp /archive/%f %p",
    }
    assert command.postgres_command("/pg/bin/postgres", "/srv/pg", settings=given)[3:] == tuple(
        f"--{name}={value}" for name, value in given.items()
    )


def test_a_score_for_the_children_of_a_postmaster() -> None:
    """The manual's two variables: what a child writes, and where."""
    adjusted = {"PG_OOM_ADJUST_FILE": "/proc/self/oom_score_adj", "PG_OOM_ADJUST_VALUE": "300"}
    assert command.oom_environment(300) == adjusted


def test_asking_for_a_setting() -> None:
    """A setting is asked for with everything that the server would be started with."""
    assert command.setting_command("/pg/bin/postgres", "/srv/pg", "port", settings={"port": "5433"}) == (
        "/pg/bin/postgres",
        "-D",
        "/srv/pg",
        "--port=5433",
        "-C",
        "port",
    )


def test_initdb() -> None:
    """What is not chosen is left to initdb; extra arguments come last."""
    assert command.initdb_command("/pg/bin/initdb", "/srv/pg", encoding="UTF8") == (
        "/pg/bin/initdb",
        "-D",
        "/srv/pg",
        "--encoding=UTF8",
    )
    assert command.initdb_command(
        "/pg/bin/initdb",
        "/srv/pg",
        encoding="LATIN1",
        user="alice",
        authentication="scram-sha-256",
        locale="C",
        password_file="/dev/stdin",  # noqa: S106 - a path
        extra_arguments=["--no-sync"],
    ) == (
        "/pg/bin/initdb",
        "-D",
        "/srv/pg",
        "--encoding=LATIN1",
        "--username=alice",
        "--auth=scram-sha-256",
        "--locale=C",
        "--pwfile=/dev/stdin",
        "--no-sync",
    )


def test_pg_controldata() -> None:
    """The control file is asked for by its data directory."""
    assert command.controldata_command("/pg/bin/pg_controldata", "/srv/pg") == (
        "/pg/bin/pg_controldata",
        "-D",
        "/srv/pg",
    )


def test_psql() -> None:
    """A server is asked over its Unix socket; nobody's psqlrc counts, and nobody is asked for a password."""
    assert command.psql_command("/pg/bin/psql", host="/run/pg", port=5433) == (
        "/pg/bin/psql",
        "--no-psqlrc",
        "--no-password",
        "--quiet",
        "--no-align",
        "--tuples-only",
        "--host",
        "/run/pg",
        "--port",
        "5433",
        "postgres",
    )


def test_environment() -> None:
    """What is libpq's or systemd's and meant for us does not reach a server."""
    inherited = {
        "PATH": "/bin",
        "LANG": "de_DE.UTF-8",
        "PGPORT": "1",
        "PGDATA": "/elsewhere",
        "NOTIFY_SOCKET": "/run/notify",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "2",
        "WATCHDOG_USEC": "3",
    }
    assert command.environment(inherited) == {"PATH": "/bin", "LANG": "de_DE.UTF-8"}


def test_environment_of_another_user() -> None:
    """Another user's program has that user's home, and what is added wins over everything."""
    alice = User("alice", 1000, 1000, (1000,), "/home/alice")
    inherited = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "TZ": "UTC"}
    assert command.environment(inherited, run_as=alice, extra={"TZ": "CET", "PGUSER": "bob"}) == {
        "HOME": "/home/alice",
        "USER": "alice",
        "LOGNAME": "alice",
        "TZ": "CET",
        "PGUSER": "bob",
    }
