"""The pre-flight check: each reason in words, and the server itself as the judge that it is one."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from fake_programs import write_postgres

from pgsupervisor.postgres import Cluster, ClusterStartupError, Installation
from pgsupervisor.postgres.addresses import socket_path
from pgsupervisor.postgres.command import Settings
from pgsupervisor.postgres.preflight import configuration_problem, problems
from pgsupervisor.system.identity import User, user
from pgsupervisor.system.permission import may


def check(cluster: Cluster, settings: Settings | None = None) -> list[str]:
    """Return the reasons why the cluster would not start."""
    return problems(cluster.installation, cluster.data_directory, run_as=cluster.run_as, settings=settings)


def refuses(cluster: Cluster) -> None:
    """See that the server, which judges last, does not start."""
    with pytest.raises(ClusterStartupError), cluster:
        pytest.fail("it started")


def test_nothing_wrong(cluster: Cluster) -> None:
    """A healthy cluster has no problem, before it runs and while it runs."""
    assert check(cluster) == []
    with cluster:
        assert check(cluster) == []


def test_no_directory(cluster: Cluster) -> None:
    """A data directory that is not there, or is a file, is told."""
    shutil.rmtree(cluster.data_directory)
    run_as = None if os.geteuid() != 0 else user("nobody")
    asked = (cluster.installation, cluster.data_directory)
    assert problems(*asked, run_as=run_as) == [
        f"{cluster.data_directory} does not exist: make it with initdb, or mount it"
    ]
    Path(cluster.data_directory).touch()
    assert problems(*asked, run_as=run_as) == [f"{cluster.data_directory} is not a directory"]


def test_no_data_directory(cluster: Cluster) -> None:
    """A directory without PG_VERSION is no data directory."""
    Path(cluster.data_directory, "PG_VERSION").unlink()
    assert check(cluster) == [
        f"{cluster.data_directory} is not a data directory: it has no PG_VERSION; make one with initdb, or mount it"
    ]


@pytest.mark.parametrize(
    ("mode", "good"), [(0o700, True), (0o750, True), (0o755, False), (0o770, False), (0o701, False)]
)
def test_mode(cluster: Cluster, mode: int, good: bool) -> None:  # noqa: FBT001 - the verdict
    """Modes are judged as the server judges them."""
    Path(cluster.data_directory).chmod(mode)
    words = f"{cluster.data_directory} has the mode {mode:04o}, and PostgreSQL accepts 0700 and 0750 only; "
    assert check(cluster) == ([] if good else [words + f"do `chmod 0700 {cluster.data_directory}`"])
    if good:
        with cluster:
            pass
    else:
        refuses(cluster)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a server as another user")
def test_owner(cluster: Cluster) -> None:
    """A server runs as the owner of its data directory, or not at all."""
    (problem,) = problems(cluster.installation, cluster.data_directory, run_as=user("nobody"))
    directory = cluster.data_directory
    assert problem == (
        f"{directory} belongs to {Path(directory).owner()}, and PostgreSQL would run as nobody: both must be the same; "
        f"name its owner as the user, or do `chown -R nobody {directory}`"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
def test_root(cluster: Cluster) -> None:
    """Root is refused before anything else is tried."""
    assert problems(cluster.installation, cluster.data_directory, run_as=None)[0].startswith(
        "PostgreSQL refuses to run as root: name another user"
    )
    os.chown(cluster.data_directory, 0, 0)
    assert cluster.run_as is None
    refuses(cluster)


def test_another_version(cluster: Cluster) -> None:
    """A data directory of another version is named with the version, and so is the installation."""
    Path(cluster.data_directory, "PG_VERSION").write_text("9.6\n")
    words = (
        f"{cluster.data_directory} belongs to PostgreSQL 9.6, and the installation in {cluster.installation.bindir} "
    )
    words += f"is {cluster.installation.version}; choose an installation of PostgreSQL 9.6, or upgrade the data with "
    assert check(cluster) == [words + "pg_upgrade"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a server as another user")
def test_programs_out_of_reach(cluster: Cluster, server_user: User, tmp_path: Path) -> None:
    """Programs that the server's user cannot reach are told, and by a start too."""
    hidden = tmp_path / "hidden"
    write_postgres(hidden, str(cluster.installation.major))
    tmp_path.chmod(0o700)
    installation = Installation.from_bindir(hidden)
    (problem,) = problems(installation, cluster.data_directory, run_as=server_user)
    assert problem.startswith(f"{server_user.name} ({server_user.uid}) may not execute {hidden}/postgres")
    with pytest.raises(ClusterStartupError, match=f"as the user {server_user.name}: Permission denied"):
        Cluster(installation, cluster.data_directory).start()


def test_no_program(cluster: Cluster, tmp_path: Path) -> None:
    """An installation without a server says so."""
    bare = Installation({"version": cluster.installation.version, "bindir": str(tmp_path)})
    assert problems(bare, cluster.data_directory, run_as=cluster.run_as) == [
        f"{bare.version} has no program postgres in {tmp_path} that can be executed"
    ]


def test_no_configuration(cluster: Cluster) -> None:
    """A postgresql.conf that is not there is told with its path."""
    Path(cluster.data_directory, "postgresql.conf").unlink()
    (problem,) = check(cluster)
    assert problem.startswith("the configuration cannot be read: ")
    assert f"{cluster.data_directory}/postgresql.conf" in problem


@pytest.mark.parametrize("where", ["file", "command line"])
def test_a_port_in_use(cluster: Cluster, where: str) -> None:
    """A TCP port that is taken is found, wherever it comes from; the server cannot have it either."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        chosen = {"port": str(listener.getsockname()[1]), "listen_addresses": "127.0.0.1"}
        if where == "file":
            cluster.settings.update(chosen)
            (problem,) = check(cluster)
            refuses(cluster)
        else:
            (problem,) = check(cluster, chosen)
        assert problem.startswith(f"port {chosen['port']} at 127.0.0.1 is in use by ")
        assert f"(pid {os.getpid()})" in problem


def test_a_socket_in_use(cluster: Cluster, short_directory: Path) -> None:
    """Two clusters cannot share port and socket directory; the one that has them is named."""
    with cluster:
        second = Cluster(cluster.installation, short_directory / "second")
        shutil.copytree(cluster.data_directory, second.data_directory, ignore=lambda *_: ["postmaster.pid"])
        if cluster.run_as is not None:
            os.chown(second.data_directory, cluster.run_as.uid, cluster.run_as.gid)
        path = socket_path(str(short_directory), 5432)
        words = f"the socket {path} is in use by the server with pid {cluster.pid()} of {cluster.data_directory}; "
        assert check(second) == [words + "stop that server, or choose another port or directory"]
        assert check(second, {"PORT": "5433"}) == []


@pytest.mark.parametrize("fault", ["too long", "missing", "not writable"])
def test_socket_directories(cluster: Cluster, short_directory: Path, fault: str) -> None:
    """A socket directory that is too long, missing or not to be written to is told; the server cannot use it either."""
    if fault == "not writable" and os.geteuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    directory = short_directory / ("x" * (100 if fault == "too long" else 3))
    if fault != "missing":
        directory.mkdir()
    directory.chmod(0o755) if fault == "not writable" else None
    cluster.settings["unix_socket_directories"] = str(directory)
    (problem,) = check(cluster)
    assert str(directory) in problem
    refuses(cluster)


def test_the_default_socket_directory(cluster: Cluster) -> None:
    """Where nothing is said of the socket directory, the server is asked: each packager has his own."""
    del cluster.settings["unix_socket_directories"]
    default = "/var/run/postgresql" if "Debian" in cluster.installation.version else "/tmp"
    found = check(cluster, {"port": "65000"})
    usable = Path(default).is_dir() and may(cluster.run_as, default, os.W_OK)
    assert found == [] if usable else default in found[0]


def test_another_data_directory(cluster: Cluster, short_directory: Path) -> None:
    """A configuration that sends the server to another data directory is not started unseen."""
    cluster.settings["data_directory"] = cluster.data_directory
    assert check(cluster) == []
    cluster.settings["data_directory"] = str(short_directory)
    (problem,) = check(cluster)
    assert problem.startswith(f"the configuration sets data_directory to {short_directory}, so the server would run")


REFUSED = {
    "no_such_setting = 1": 'unrecognized configuration parameter "no_such_setting" in file',
    "work_mem = 'much'": 'invalid value for parameter "work_mem": "much"',
    "work_mem = ": 'syntax error in file "{conf}" line',
    "log_min_messages = panic\nlog_destination = syslog\nno_such_setting = 1": 'parameter "no_such_setting"',
}
"""Lines that PostgreSQL does not take, and what it says of them."""


def test_the_configuration(cluster: Cluster) -> None:
    """What PostgreSQL has against its configuration is told in its own words, whatever that says of messages."""
    conf = Path(cluster.data_directory, "postgresql.conf")
    good = conf.read_text()
    asked = (cluster.installation, cluster.data_directory)
    assert configuration_problem(*asked, run_as=cluster.run_as) is None
    for line, words in REFUSED.items():
        conf.write_text(f"{good}{line}\n")
        told = configuration_problem(*asked, run_as=cluster.run_as)
        assert told is not None
        assert words.format(conf=conf) in told
        assert "LOG:" not in told
        assert "FATAL:" not in told
        refuses(cluster)


def test_a_setting_of_the_command_line(cluster: Cluster) -> None:
    """A setting that the server would be started with is judged too."""
    told = configuration_problem(
        cluster.installation, cluster.data_directory, run_as=cluster.run_as, settings={"work_mem": "much"}
    )
    assert told is not None
    assert told.startswith('invalid value for parameter "work_mem": "much"')
