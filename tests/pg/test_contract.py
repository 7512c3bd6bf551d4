"""The defects of py-postgresql's Cluster: none of them is inherited. Servers are broken on purpose here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import client, new_cluster, python, sleeper, sql, write_pid_file

from pgsupervisor.postgres import Cluster, ClusterLockedError, ClusterStartupError, ClusterTimeoutError
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import children, run


def test_a_reused_pid(cluster: Cluster, server_user: User | None) -> None:
    """A postmaster.pid with the number of a stranger is no server: it is not signalled, and does not stop a start."""
    data = Path(cluster.data_directory)
    with sleeper(server_user) as stranger:
        write_pid_file(data, stranger.pid, data, int(time.time()), 5432, "", "", "1 1", "ready", run_as=server_user)
        assert (cluster.running(), cluster.pid(), cluster.ready_for_connections()) == (False, None, None)
        for order in (cluster.stop, cluster.shutdown, cluster.reload, cluster.kill):
            order()
        cluster.wait_until_stopped(timeout=0)
        cluster.start()
        cluster.wait_until_started()
        assert cluster.pid() != stranger.pid


def test_a_single_user_backend(cluster: Cluster) -> None:
    """The negative number that a single-user backend writes is no server's, and its process group is left alone."""
    program = cluster.daemon_path
    run_as = cluster.run_as
    assert program is not None
    with subprocess.Popen(
        [program, "--single", "-D", cluster.data_directory, "postgres"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=None if run_as is None else run_as.uid,
        start_new_session=True,
        cwd="/",
    ) as backend:
        assert backend.stdin is not None
        assert backend.stdout is not None
        backend.stdout.read(1)  # its prompt: it is up, and has written its file
        assert Path(cluster.data_directory, "postmaster.pid").read_text().startswith(f"-{backend.pid}\n")
        assert cluster.running() is False
        cluster.kill()
        with pytest.raises(ClusterLockedError, match=f"a single-user backend .* with the pid {backend.pid}: let it"):
            cluster.start()
        assert backend.poll() is None
        backend.stdin.close()
        assert backend.wait(timeout=30) == 0


def test_the_pid_is_forgotten(cluster: Cluster) -> None:
    """After a stop there is no number left that could be signalled."""
    cluster.start()
    cluster.wait_until_started()
    cluster.shutdown()
    cluster.wait_until_stopped()
    assert cluster.pid() is None


def test_two_clusters_on_one_port(cluster: Cluster, short_directory: Path) -> None:
    """A server that dies because its port is taken is not taken for the one that has it."""
    with cluster:
        second = short_directory / "second"
        run(["cp", "-a", cluster.data_directory, str(second)], environment=os.environ)
        (second / "postmaster.pid").unlink()
        rival = Cluster(cluster.installation, second)
        rival.start()
        with pytest.raises(ClusterStartupError, match=f"in use by the server with pid {cluster.pid()} of"):
            rival.wait_until_started()
        assert cluster.ready_for_connections()


def test_start_right_after_kill(cluster: Cluster) -> None:
    """Killed with busy backends, a server is gone with all its processes, and the next start finds no leftovers."""
    cluster.start()
    cluster.wait_until_started()
    busy = "do $$ begin loop end loop; end $$;"
    count = "select count(*) from pg_stat_activity where query like 'do $$%' and state = 'active'"
    with client(cluster) as first, client(cluster) as second:
        for connected in (first, second):
            assert connected.stdin is not None
            connected.stdin.write(busy + "\n")
            connected.stdin.flush()
        while sql(cluster, count) != "2":
            pass
        server = cluster.postmaster()
        assert server is not None
        with server, contextlib.ExitStack() as held:
            family = [held.enter_context(process) for process in children(server)]
            cluster.kill()
            cluster.wait_until_stopped()
            assert [process.pid for process in family if process.alive()] == []
        cluster.start()
        cluster.wait_until_started()


def test_kill_by_another_object(cluster: Cluster) -> None:
    """Whoever waits after a kill waits until the postmaster is gone, though it is not to be found while it dies."""
    cluster.start(settings={"shared_buffers": "256MB"})
    cluster.wait_until_started()
    server = cluster.postmaster()
    assert server is not None
    other = Cluster(cluster.installation, cluster.data_directory)
    with server:
        other.kill()
        other.wait_until_stopped()
        assert not server.alive()


def test_the_default_configuration(cluster: Cluster) -> None:
    """A postgresql.conf that says nothing, or has the port in an include, is no obstacle."""
    data = Path(cluster.data_directory)
    (data / "postgresql.conf").write_text("include 'more.conf'\n")
    (data / "more.conf").write_text(f"port 6543\nlisten_addresses ''\nunix_socket_directories '{data.parent}'\n")
    (data / "more.conf").chmod(0o644)
    with cluster:
        assert sql(cluster, "show port") == "6543"


def test_nobody_may_connect(cluster: Cluster) -> None:
    """A server that listens on a Unix socket alone and wants SCRAM is ready when it is ready."""
    Path(cluster.data_directory, "pg_hba.conf").write_text("local all all scram-sha-256\n")
    with cluster:
        assert cluster.ready_for_connections() is True


def test_ready_is_what_the_server_says(cluster: Cluster, server_user: User | None) -> None:
    """While a server refuses connections the answer is False, and no object that reads as true."""
    cluster.start()
    held = cluster.postmaster()
    assert held is not None
    with held:
        held.signal(signal.SIGSTOP)
        data = Path(cluster.data_directory)
        for status in ("starting", "ready", "standby", "stopping"):
            write_pid_file(data, held.pid, data, 1, 5432, "", "", "1 1", status, run_as=server_user)
            assert cluster.ready_for_connections() is (status == "ready")
        cluster.kill()
    cluster.wait_until_stopped()


def test_a_standby_without_hot_standby(cluster: Cluster) -> None:
    """A standby that takes no connections is not ready, and the timeout says why."""
    Path(cluster.data_directory, "standby.signal").touch()
    cluster.settings["hot_standby"] = "off"
    cluster.start()
    while (written := cluster.announced()) is None or written.status != "standby":
        pass
    assert cluster.ready_for_connections() is False
    with pytest.raises(ClusterTimeoutError, match="hot_standby") as caught:
        cluster.wait_until_started(timeout=0.1)
    assert caught.value.details == {"timeout": 0.1, "status": "standby"}
    cluster.shutdown()
    cluster.wait_until_stopped()


def test_half_a_pid_file(cluster: Cluster, server_user: User | None) -> None:
    """An empty, half or foreign postmaster.pid is not an error, and no server."""
    path = write_pid_file(Path(cluster.data_directory), run_as=server_user)
    for content in ("", "47", "no number\n", "0\n", "-1\n", "1\n"):
        path.write_text(content)
        assert (cluster.running(), cluster.pid(), cluster.ready_for_connections()) == (False, None, None), content
        cluster.shutdown()
        cluster.kill()
        cluster.wait_until_stopped(timeout=0)


def test_a_zombie(cluster: Cluster) -> None:
    """A server that has ended is gone for another object too, before its parent has reaped it."""
    cluster.start()
    cluster.wait_until_started()
    other = Cluster(cluster.installation, cluster.data_directory)
    other.kill()
    other.wait_until_stopped()
    assert other.running() is False
    assert cluster.daemon_process is not None
    assert cluster.daemon_process.returncode is None, "nobody has reaped it yet"
    assert cluster.running() is False
    assert cluster.daemon_process.returncode == -signal.SIGKILL


def test_the_pid_file_vanishes(cluster: Cluster) -> None:
    """A child of ours is known without its postmaster.pid."""
    cluster.start()
    cluster.wait_until_started()
    path = Path(cluster.data_directory, "postmaster.pid")
    content = path.read_bytes()
    path.unlink()
    assert cluster.running() is True
    assert cluster.ready_for_connections() is False
    path.write_bytes(content)


def test_a_leftover_with_our_own_pid(cluster: Cluster, server_user: User | None) -> None:
    """What an earlier server left is not believed of a new one with the same number, as it happens in containers."""
    cluster.start()
    held = cluster.postmaster()
    assert held is not None
    with held:
        held.signal(signal.SIGSTOP)
        data = Path(cluster.data_directory)
        write_pid_file(data, held.pid, data, 1, 5432, "", "", "1 1", "ready", run_as=server_user)
        cluster._leftover = cluster.announced()
        assert cluster.ready_for_connections() is False
        held.signal(signal.SIGKILL)
    cluster.wait_until_stopped()


def test_no_logfile(cluster: Cluster) -> None:
    """Without a logfile the output is discarded; the server does not die of it, and not a word reaches the caller."""
    code = """
import sys
from pgsupervisor.postgres import Cluster, Installation
with Cluster(Installation.from_bindir(sys.argv[1]), sys.argv[2]) as cluster:
    cluster.reload()
"""
    finished = python(code, cluster.installation.bindir, cluster.data_directory)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_a_session_of_its_own(cluster: Cluster) -> None:
    """A Ctrl-C at the caller's terminal is not for the server."""
    cluster.start()
    pid = cluster.pid()
    assert pid is not None
    assert os.getsid(pid) == pid != os.getsid(0)
    assert os.getpgid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_waiting_is_silent(cluster: Cluster, tmp_path: Path) -> None:
    """However often it is looked whether a server is ready, nothing of it is in the server's log."""
    with (tmp_path / "log").open("wb") as logfile:
        cluster.start(logfile, {"log_connections": "on", "log_min_messages": "debug1"})
        cluster.wait_until_started(delay=0.001)
        for _ in range(50):
            assert cluster.ready_for_connections()
    log = (tmp_path / "log").read_text()
    assert "connection" not in log.replace("ready to accept connections", "")
    assert "startup packet" not in log


def test_the_wrong_installation(cluster: Cluster) -> None:
    """A data directory of another version is never given to the wrong programs."""
    path = Path(cluster.data_directory, "PG_VERSION")
    version = path.read_text()
    path.write_text("9.6\n")
    with pytest.raises(ClusterStartupError, match=r"belongs to PostgreSQL 9.6, and the installation in"):
        cluster.start()
    assert cluster.daemon_process is None
    path.write_text(version)


def test_no_data_directory(cluster: Cluster, short_directory: Path, server_user: User | None) -> None:
    """A directory that is none is not given to a server."""
    missing = new_cluster(cluster.installation, short_directory / "missing", server_user)
    with pytest.raises(ClusterStartupError, match="is not a data directory"):
        missing.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_server_that_is_not_ours(cluster: Cluster) -> None:
    """Whoever may not look at a data directory is told so, and not that nothing runs there."""
    with cluster:
        nobody = python(
            """
import os, sys
from pgsupervisor.postgres import Cluster, Installation
cluster = Cluster(Installation.from_bindir(sys.argv[1]), sys.argv[2])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
try:
    print(cluster.running())
except PermissionError as error:
    print(error)
""",
            cluster.installation.bindir,
            cluster.data_directory,
        )
    assert "ask as root or as the directory's owner" in nobody.stdout, nobody.stderr


def test_threads_that_start_at_once(cluster: Cluster) -> None:
    """Threads that start one object's server at the same time start one server, and all of them see it ready."""
    with ThreadPoolExecutor(3) as threads:

        def up(_: int) -> int | None:
            cluster.start()
            cluster.wait_until_started()
            return cluster.pid()

        assert len(set(threads.map(up, range(3)))) == 1
    cluster.shutdown()
    cluster.wait_until_stopped()
