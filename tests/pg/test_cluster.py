"""Cluster, point by point as py-postgresql's documentation has it, with real servers."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from servers import client, python, sql

from pgsupervisor.postgres import (
    Cluster,
    ClusterNotRunningError,
    ClusterStartupError,
    ClusterTimeoutError,
    Installation,
)
from pgsupervisor.postgres.controldata import clean_shutdown, controldata
from pgsupervisor.system.process import Process, facts


def test_what_it_is_made_of(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster can be named before it exists, by a relative path too, and nothing is touched."""
    monkeypatch.chdir(tmp_path)
    cluster = Cluster(installation, "data")
    assert cluster.installation is installation
    assert cluster.data_directory == str(tmp_path / "data")
    assert cluster.daemon_path == f"{installation.bindir}/postgres"
    assert cluster.daemon_process is None
    assert cluster.settings is cluster.settings
    assert repr(cluster) == f"<Cluster {str(tmp_path / 'data')!r} of {installation!r}>"
    assert cluster.initialized() is False
    assert cluster.running() is False
    assert cluster.pid() is None
    assert cluster.ready_for_connections() is None
    assert list(tmp_path.iterdir()) == []


def test_initialized(cluster: Cluster) -> None:
    """A data directory has a postgresql.conf and a directory base."""
    assert cluster.initialized()
    Path(cluster.data_directory, "postgresql.conf").unlink()
    assert not cluster.initialized()


def test_initialized_without_base(cluster: Cluster) -> None:
    """A configuration file alone is no cluster."""
    Path(cluster.data_directory, "base").rename(Path(cluster.data_directory, "elsewhere"))
    assert not cluster.initialized()


def test_a_life(cluster: Cluster) -> None:
    """A server is started, is ready, is shut down and is gone, and each is told as it is."""
    cluster.start()
    assert cluster.running()
    cluster.wait_until_started()
    assert cluster.ready_for_connections() is True
    assert sql(cluster, "select 1") == "1"
    assert cluster.daemon_process is not None
    pid = cluster.pid()
    assert pid == cluster.daemon_process.pid
    assert Path(cluster.data_directory, "postmaster.pid").read_text().splitlines()[0] == str(pid)
    cluster.shutdown()
    cluster.wait_until_stopped()
    assert (cluster.running(), cluster.pid(), cluster.ready_for_connections()) == (False, None, None)
    assert cluster.daemon_process.returncode == 0


def test_start_of_a_running_server(cluster: Cluster) -> None:
    """A server that runs already is not started again, by whichever object, and stays the one it was."""
    cluster.start()
    pid = cluster.pid()
    cluster.start()
    assert cluster.pid() == pid
    cluster.wait_until_started()
    other = Cluster(cluster.installation, cluster.data_directory)
    other.start()
    assert (other.pid(), other.daemon_process) == (pid, None)


def test_settings_of_a_start(cluster: Cluster) -> None:
    """Settings, as a mapping or as pairs, win over the configuration file; values need not be str."""
    cluster.start(settings={"work_mem": "7MB", "port": 6543})
    cluster.wait_until_started()
    assert (sql(cluster, "show work_mem"), sql(cluster, "show port")) == ("7MB", "6543")
    cluster.restart(settings=[("work_mem", "9MB")])
    assert sql(cluster, "show work_mem") == "9MB"


def test_the_logfile(cluster: Cluster, tmp_path: Path) -> None:
    """Standard output and standard error of the server go to the file that was given."""
    with (tmp_path / "log").open("w") as logfile:
        cluster.start(logfile)
        cluster.wait_until_started()
    assert "database system is ready to accept connections" in (tmp_path / "log").read_text()


def test_environment(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server inherits our environment without what would disturb it, and with what was given."""
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    monkeypatch.setenv("INHERITED", "yes")
    cluster.start(environment={"GIVEN": "yes"})
    cluster.wait_until_started()
    has = Path(f"/proc/{cluster.pid()}/environ").read_bytes().split(b"\0")
    names = {word.partition(b"=")[0] for word in has}
    assert {b"INHERITED", b"GIVEN"} <= names
    assert not {b"PGDATA", b"NOTIFY_SOCKET"} & names


def test_stop_waits_for_clients(cluster: Cluster) -> None:
    """A smart shutdown lets the clients finish; what waits for it in vain says so, and what ends it."""
    cluster.start()
    cluster.wait_until_started()
    with client(cluster):
        cluster.stop()
        with pytest.raises(
            ClusterTimeoutError, match=r"waits until the old ones have left; shutdown\(\) ends"
        ) as caught:
            cluster.wait_until_stopped(timeout=0.2)
        assert caught.value.details == {"timeout": 0.2, "status": "stopping"}
        assert cluster.ready_for_connections() is False
    cluster.wait_until_stopped()
    assert not cluster.running()


def test_shutdown_ends_connections(cluster: Cluster) -> None:
    """A fast shutdown ends the connections, and the server is shut down cleanly."""
    cluster.start()
    cluster.wait_until_started()
    with client(cluster):
        cluster.shutdown()
        cluster.wait_until_stopped()
    assert clean_shutdown(cluster.installation, cluster.data_directory, cluster.run_as)


def test_kill(cluster: Cluster) -> None:
    """A killed server leaves a recovery to the next start, which succeeds at once."""
    cluster.start()
    cluster.wait_until_started()
    sql(cluster, "create table survives as select 42 as answer")
    cluster.kill()
    cluster.wait_until_stopped()
    assert cluster.daemon_process is not None
    assert cluster.daemon_process.returncode == -signal.SIGKILL
    assert not clean_shutdown(cluster.installation, cluster.data_directory, cluster.run_as)
    cluster.start()
    cluster.wait_until_started()
    assert sql(cluster, "select answer from survives") == "42"


def test_an_immediate_shutdown_is_no_clean_one(cluster: Cluster) -> None:
    """A server that was told to end at once exits with status 0, and the control file tells the truth."""
    cluster.start()
    cluster.wait_until_started()
    cluster.send(signal.SIGQUIT)
    cluster.wait_until_stopped()
    assert cluster.daemon_process is not None
    assert cluster.daemon_process.returncode == 0
    told = controldata(cluster.installation, cluster.data_directory, cluster.run_as)
    assert told["Database cluster state"] == "in production"
    assert not clean_shutdown(cluster.installation, cluster.data_directory, cluster.run_as)


def test_reload(cluster: Cluster) -> None:
    """A reload makes the server read its files, and signals nobody else."""
    cluster.start()
    cluster.wait_until_started()
    cluster.settings["work_mem"] = "9MB"
    with client(cluster) as connected:
        assert connected.stdin is not None
        assert connected.stdout is not None
        cluster.reload()
        answer = ""
        while answer != "9MB\n":
            connected.stdin.write("show work_mem;\n")
            connected.stdin.flush()
            answer = connected.stdout.readline()
            assert answer in ("4MB\n", "9MB\n")


def test_a_very_early_reload(cluster: Cluster) -> None:
    """A reload that comes before the server can take it does not end the server."""
    cluster.start()
    for _ in range(200):
        cluster.reload()
    cluster.wait_until_started()


def test_restart(cluster: Cluster) -> None:
    """A restart is a stop and a start, and of a server that does not run just a start."""
    cluster.restart()
    first = cluster.pid()
    cluster.restart()
    assert cluster.ready_for_connections()
    assert cluster.pid() != first


def test_restart_with_a_client(cluster: Cluster) -> None:
    """A restart waits for clients; when they do not leave in time, it is not left half done: they are disconnected."""
    cluster.start()
    cluster.wait_until_started()
    pid = cluster.pid()
    with client(cluster):
        cluster.restart(timeout=2)
        assert (cluster.ready_for_connections(), cluster.pid() == pid) == (True, False)
    cluster.shutdown()
    cluster.wait_until_stopped()


def test_a_stop_with_a_client(cluster: Cluster) -> None:
    """A stop waits for clients; when they do not leave in time, the error says what to do."""
    cluster.start()
    cluster.wait_until_started()
    with client(cluster):
        cluster.stop()
        with pytest.raises(ClusterTimeoutError, match=r"shutdown\(\) ends their connections"):
            cluster.wait_until_stopped(timeout=0.2)
        cluster.shutdown()
        cluster.wait_until_stopped()


def test_nothing_to_stop(cluster: Cluster) -> None:
    """Without a server, nothing is signalled and nothing is waited for."""
    cluster.stop()
    cluster.shutdown()
    cluster.kill()
    cluster.reload()
    cluster.wait_until_stopped(timeout=0)
    with pytest.raises(ClusterNotRunningError, match="no server runs on"):
        cluster.wait_until_started()


def test_not_running_after_a_stop(cluster: Cluster) -> None:
    """A server that was stopped is not running; it did not fail to start."""
    cluster.start()
    cluster.shutdown()
    cluster.wait_until_stopped()
    with pytest.raises(ClusterNotRunningError):
        cluster.wait_until_started()


def test_a_server_that_ends_while_it_starts(cluster: Cluster) -> None:
    """A server that ends before it is ready is told with its status, its command and the reason."""
    cluster.settings["port"] = "none"
    cluster.start()
    with pytest.raises(ClusterStartupError, match='invalid value for parameter "port": "none"') as caught:
        cluster.wait_until_started()
    assert caught.value.details["returncode"] == 1
    assert caught.value.details["command"] == [cluster.daemon_path, "-D", cluster.data_directory]
    assert not cluster.running()
    with pytest.raises(ClusterStartupError):
        cluster.wait_until_started()


def test_a_server_that_takes_long(cluster: Cluster) -> None:
    """A server that is not ready in time is left as it is, and can be waited for again."""
    cluster.start()
    held = cluster.postmaster()
    assert held is not None
    with held:
        held.signal(signal.SIGSTOP)
        with pytest.raises(ClusterTimeoutError):
            cluster.wait_until_started(timeout=0.1)
        held.signal(signal.SIGCONT)
    cluster.wait_until_started()


def test_the_files_of_the_configuration(cluster: Cluster) -> None:
    """Settings are the server's; hba_file is its default, or what the setting says."""
    assert cluster.settings["listen_addresses"] == ""
    assert cluster.hba_file == f"{cluster.data_directory}/pg_hba.conf"
    cluster.settings["hba_file"] = "/etc/hba"
    assert cluster.hba_file == "/etc/hba"


def test_a_configuration_elsewhere(cluster: Cluster, short_directory: Path) -> None:
    """postgresql.conf may lie outside the data directory, as Debian has it."""
    conf = short_directory / "main.conf"
    Path(cluster.data_directory, "postgresql.conf").rename(conf)
    with conf.open("a") as file:
        file.write(f"hba_file = '{cluster.data_directory}/pg_hba.conf'\n")
        file.write(f"ident_file = '{cluster.data_directory}/pg_ident.conf'\n")
    outside = Cluster(cluster.installation, cluster.data_directory, config_file=conf)
    assert outside.initialized()
    with outside:
        assert sql(outside, "show config_file") == str(conf)


def test_the_context_manager(cluster: Cluster) -> None:
    """It starts a server and shuts it down, also when clients are connected."""
    with cluster as entered:
        assert entered is cluster
        assert cluster.ready_for_connections()
        with client(cluster):
            cluster.__exit__(None, None, None)
            assert not cluster.running()
        cluster.__enter__()
    assert not cluster.running()


def test_the_context_manager_and_a_server_that_ran(cluster: Cluster) -> None:
    """A server that was found running is left running."""
    cluster.start()
    with cluster, Cluster(cluster.installation, cluster.data_directory):
        pass
    assert cluster.running()


def test_the_context_manager_and_a_server_that_fails(cluster: Cluster) -> None:
    """A server that is not ready in time is not left behind."""
    cluster.settings["port"] = "none"
    with pytest.raises(ClusterStartupError), cluster:
        pytest.fail("there is no server")
    assert not cluster.running()


def test_the_server_of_another_process(cluster: Cluster) -> None:
    """A server that somebody else started is controlled as if it were ours."""
    code = """
import sys
from pgsupervisor.postgres import Cluster, Installation
cluster = Cluster(Installation.from_bindir(sys.argv[1]), sys.argv[2])
cluster.start(detach=True)
cluster.wait_until_started()
print(cluster.pid())
"""
    finished = python(code, cluster.installation.bindir, cluster.data_directory)
    assert finished.returncode == 0, finished.stderr
    assert cluster.pid() == int(finished.stdout)
    assert cluster.daemon_process is None
    assert cluster.ready_for_connections()
    cluster.shutdown()
    cluster.wait_until_stopped()
    assert not cluster.running()


def test_a_server_ends_with_its_parent(cluster: Cluster) -> None:
    """A server that is not detached is shut down when the process that started it exits."""
    code = """
import sys
from pgsupervisor.postgres import Cluster, Installation
cluster = Cluster(Installation.from_bindir(sys.argv[1]), sys.argv[2])
cluster.start()
cluster.wait_until_started()
sys.exit("by an error")
"""
    finished = python(code, cluster.installation.bindir, cluster.data_directory)
    assert (finished.returncode, finished.stderr) == (1, "by an error\n")
    assert not cluster.running()
    assert clean_shutdown(cluster.installation, cluster.data_directory, cluster.run_as)


def test_a_forked_child_does_not_end_the_server(cluster: Cluster) -> None:
    """A server ends with the process that started it, and not with that one's children."""
    code = """
import os, sys
from pgsupervisor.postgres import Cluster, Installation
cluster = Cluster(Installation.from_bindir(sys.argv[1]), sys.argv[2])
cluster.start()
cluster.wait_until_started()
if os.fork() == 0:
    sys.exit()
os.wait()
print(cluster.ready_for_connections())
"""
    finished = python(code, cluster.installation.bindir, cluster.data_directory)
    assert finished.stdout == "True\n", finished.stderr


def caught_starting(cluster: Cluster) -> Process:
    """Start a server, and have it stand still before it is ready."""
    while True:
        cluster.start()
        held = cluster.postmaster()
        assert held is not None
        held.signal(signal.SIGSTOP)
        if not cluster.ready_for_connections():
            return held
        held.close()
        cluster.kill()
        cluster.wait_until_stopped()


def test_waiting_notices_the_end_at_once(cluster: Cluster) -> None:
    """That a server ends is noticed by whoever waits for its start, whatever the delay."""
    with caught_starting(cluster) as held:
        ending = threading.Timer(0.1, held.signal, [signal.SIGKILL])
        ending.start()
        with pytest.raises(ClusterStartupError) as caught:
            cluster.wait_until_started(timeout=600, delay=600)
        ending.join()
    assert caught.value.details["returncode"] == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")
def test_root_lends_the_owner(cluster: Cluster) -> None:
    """Started by root, a server runs as the owner of its data directory, with that user's groups."""
    cluster.start()
    run_as = cluster.run_as
    assert run_as is not None
    assert run_as.uid == Path(cluster.data_directory).stat().st_uid != 0
    pid = cluster.pid()
    assert pid is not None
    known = facts(pid)
    assert known is not None
    assert known.uid == run_as.uid
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{run_as.uid}\t{run_as.uid}\t{run_as.uid}\t{run_as.uid}\n" in status
    (groups,) = [line for line in status.splitlines() if line.startswith("Groups:")]
    assert {int(gid) for gid in groups.split()[1:]} == set(run_as.groups)
