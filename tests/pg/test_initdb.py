"""Making clusters with initdb, and leaving nothing behind where that fails."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_programs import write_program
from servers import new_cluster, owner_name, psql_arguments, sql

from pgsupervisor.postgres import (
    Cluster,
    ClusterInitializationError,
    ClusterTimeoutError,
    InitDBError,
    Installation,
    command,
)
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run

QUICK = ("--no-sync", "--wal-segsize=1")


@pytest.fixture
def fresh(installation: Installation, short_directory: Path, server_user: User | None) -> Iterator[Cluster]:
    """A cluster that is still to be made."""
    made = new_cluster(installation, short_directory / "data", server_user)
    yield made
    made.kill()
    made.wait_until_stopped()


def test_init(fresh: Cluster, tmp_path: Path) -> None:
    """A cluster is made with a superuser, his password and an authentication, and the password is what is asked for."""
    with (tmp_path / "log").open("w") as logfile:
        fresh.init(
            user="alice",
            password="sécret 'quoted'",  # noqa: S106 - the password of a cluster that is gone in a second
            authentication="scram-sha-256",
            locale="C",
            extra_arguments=QUICK,
            logfile=logfile,
        )
    assert fresh.initialized()
    assert "Success. You can now start the database server" in (tmp_path / "log").read_text()
    assert Path(fresh.data_directory).stat().st_mode & 0o777 == 0o700
    fresh.settings.update({"listen_addresses": "", "unix_socket_directories": str(Path(fresh.data_directory).parent)})
    question = (
        "select current_user, rolsuper, getdatabaseencoding(), datcollate from pg_roles, pg_database "
        "where rolname = current_user and datname = current_database()"
    )
    with fresh:
        arguments = [*psql_arguments(fresh, "-U", "alice", "-c", question)]
        environment = command.environment(os.environ, extra={"PGPASSWORD": "sécret 'quoted'"})
        told = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        assert told.stdout == "alice|t|UTF8|C\n"
        environment["PGPASSWORD"] = "wrong"
        refused = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert "password authentication failed" in refused.stderr
    found = run(["grep", "-rlF", "sécret", str(Path(fresh.data_directory).parent)], environment=os.environ)
    assert (found.returncode, found.stdout) == (1, ""), "the password is in a file"


def test_defaults(fresh: Cluster, server_user: User | None) -> None:
    """Nothing given, the superuser has the OS user's name, and the encoding is UTF8; None means the default."""
    fresh.init(encoding=None, user=None, extra_arguments=QUICK)
    fresh.settings.update({"listen_addresses": "", "unix_socket_directories": str(Path(fresh.data_directory).parent)})
    with fresh:
        name = owner_name(server_user) or pwd.getpwuid(os.geteuid()).pw_name
        told = subprocess.check_output(
            psql_arguments(fresh, "-U", name, "-c", "select getdatabaseencoding()"), text=True
        )
        assert told == "UTF8\n"


def test_another_encoding(fresh: Cluster) -> None:
    """An encoding that Python does not know is no matter, with a password or without."""
    fresh.init(
        encoding="SQL_ASCII",
        locale="C",
        user="postgres",
        password="x",  # noqa: S106 - the password of a cluster that is gone in a second
        extra_arguments=QUICK,
    )
    fresh.settings.update({"listen_addresses": "", "unix_socket_directories": str(Path(fresh.data_directory).parent)})
    with fresh:
        assert sql(fresh, "select getdatabaseencoding()") == "SQL_ASCII"


def test_only_keywords(fresh: Cluster) -> None:
    """Nothing of init is given by position: a password in the place of an encoding would be seen by everybody."""
    with pytest.raises(TypeError):
        fresh.init("secret")  # type: ignore[call-arg]  # the mistake that is tested


@pytest.mark.parametrize("password", ["a\nb", "a\rb", "a\0b", "", "x" * 4096])
def test_a_password_that_cannot_be_handed_over(fresh: Cluster, password: str) -> None:
    """A password that initdb would cut is refused, before anything is made."""
    with pytest.raises(ValueError, match="reads a password as one line"):
        fresh.init(password=password)
    assert not Path(fresh.data_directory).exists()


def test_initdb_fails(fresh: Cluster) -> None:
    """When initdb fails, everything that it said is told, and no directory is left."""
    with pytest.raises(InitDBError, match="no-such-encoding") as caught:
        fresh.init(encoding="no-such-encoding")
    details = caught.value.details
    assert details["returncode"] == 1
    assert details["command"] == (
        fresh.installation.require("initdb"),
        "-D",
        fresh.data_directory,
        "--encoding=no-such-encoding",
    )
    assert "no-such-encoding" in str(details["stderr"])
    assert "The files belonging to this database system" in str(details["stdout"])
    assert not Path(fresh.data_directory).exists()


def test_an_empty_directory_stays(fresh: Cluster, server_user: User | None) -> None:
    """A directory that was there before is still there after a failure, and empty."""
    path = Path(fresh.data_directory)
    path.mkdir(mode=0o700)
    if server_user is not None:
        os.chown(path, server_user.uid, server_user.gid)
    with pytest.raises(InitDBError):
        fresh.init(encoding="no-such-encoding")
    assert list(path.iterdir()) == []
    fresh.init(extra_arguments=QUICK)
    assert fresh.initialized()


def test_a_directory_with_something_in_it(fresh: Cluster) -> None:
    """What is not empty is not touched."""
    path = Path(fresh.data_directory)
    path.mkdir()
    (path / "precious").touch()
    with pytest.raises(ClusterInitializationError, match="is not empty"):
        fresh.init()
    assert [entry.name for entry in path.iterdir()] == ["precious"]


def test_two_at_once(installation: Installation, short_directory: Path, server_user: User | None) -> None:
    """Of two who make a cluster in one directory, one is told so, and what the other makes stays."""
    outcomes: list[ClusterInitializationError | None] = []

    def make() -> None:
        try:
            new_cluster(installation, short_directory / "data", server_user).init(extra_arguments=QUICK)
            outcomes.append(None)
        except ClusterInitializationError as error:
            outcomes.append(error)

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [outcome is None for outcome in outcomes].count(True) == 1, outcomes
    cluster = new_cluster(installation, short_directory / "data", server_user)
    assert cluster.initialized()
    assert run([installation.require("pg_controldata"), cluster.data_directory], environment=os.environ).returncode == 0


def test_timeout(fresh: Cluster, short_directory: Path) -> None:
    """An initdb that takes too long is ended with all that it started, and nothing is left, also not elsewhere."""
    wal = short_directory / "wal"
    with pytest.raises(ClusterTimeoutError, match="nothing is left of it"):
        fresh.init(timeout=0.15, extra_arguments=[*QUICK, f"--waldir={wal}"])
    assert list(short_directory.iterdir()) == []
    assert not fresh.initialized()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert fresh.data_directory.encode() not in entry.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_no_initdb(installation: Installation, tmp_path: Path) -> None:
    """An installation without initdb says so."""
    write_program(tmp_path / "bin/postgres", "true")
    bare = Installation({"version": installation.version, "bindir": str(tmp_path / "bin")})
    with pytest.raises(ClusterInitializationError, match="has no initdb"):
        Cluster(bare, tmp_path / "data").init()


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
def test_root(installation: Installation, short_directory: Path, server_user: User | None) -> None:
    """Root must name a user, who need not be able to write where his data directory shall be."""
    with pytest.raises(ClusterInitializationError, match="refuses to run as root"):
        Cluster(installation, short_directory / "data").init()
    os.chown(short_directory, 0, 0)
    short_directory.chmod(0o755)
    assert server_user is not None
    cluster = Cluster(installation, short_directory / "new/data", user=server_user.name)
    cluster.init(extra_arguments=QUICK)
    assert Path(cluster.data_directory).stat().st_uid == server_user.uid
    cluster.drop()
    shutil.rmtree(short_directory / "new")
    with pytest.raises(InitDBError):
        cluster.init(encoding="no-such-encoding")
    assert not Path(cluster.data_directory).exists()
