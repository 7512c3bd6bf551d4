"""Servers that end without having been asked to, or do not get up: brought back, given up, or left alone."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from daemons import Site, ends, held
from machine import SERVER_USER
from servers import sql

from pgsupervisor.postgres import Installation


def by_hand(site: Site, name: str, number: signal.Signals) -> int:
    """Signal a postmaster as somebody else would, wait for its end, and return its pid."""
    pid = site.pid(name)
    with held(pid) as process:
        process.signal(number)
        assert ends(process)
    return pid


def test_a_killed_postmaster_comes_back(site: Site, installation: Installation) -> None:
    """After kill -9 the server runs again under another pid, and the restart is counted."""
    site.add("shop", installation)
    site.run()
    former = by_hand(site, "shop", signal.SIGKILL)
    again = site.wait_for("shop", lambda each: each["restarts"] == 1 and each["state"] == "RUNNING")
    assert (again["pid"] != former, again["reason"], sql(site.cluster("shop"), "select 1")) == (True, "", "1")
    site.daemons[0].wait_for_log(event="state changed", cluster="shop", now="BACKOFF")
    (crash,) = site.daemons[0].logged(event="state changed", cluster="shop", now="BACKOFF")
    assert "killed by SIGKILL" in str(crash["reason"])


def test_a_signal_without_a_name(site: Site) -> None:
    """The end of a server is told, whatever signal it died of; a real-time signal has a number only."""
    site.add("shop", restart="never")
    site.run()
    os.kill(site.pid("shop"), 40)
    assert site.wait_for_state("shop", "FATAL")["reason"] == "killed by signal 40 (restart = never)"


def test_restart_never(site: Site) -> None:
    """With restart = never a crashed server stays down; status says what happened to it, not what happened before."""
    site.add("shop", restart="never")
    site.logfile("shop").parent.mkdir()
    site.logfile("shop").write_text("FATAL:  what an earlier server died of\n")
    site.run()
    by_hand(site, "shop", signal.SIGKILL)
    record = site.wait_for_state("shop", "FATAL")
    assert (record["pid"], record["reason"]) == (None, "killed by SIGKILL (restart = never)")
    assert site.pgsupctl("status").returncode == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_someone_else(site: Site, number: signal.Signals) -> None:
    """A server that somebody else shut down in order stays down: that was a wish too."""
    site.add("shop")
    site.run()
    by_hand(site, "shop", number)
    record = site.wait_for_state("shop", "STOPPED")
    assert (record["wanted"], record["restarts"], record["reason"]) == (False, 0, "stopped by someone else")


def test_an_immediate_stop_by_someone_else_is_a_crash(site: Site) -> None:
    """An immediate shutdown exits with 0 too, but left no shutdown checkpoint: the server is started again."""
    site.add("shop")
    site.run()
    by_hand(site, "shop", signal.SIGQUIT)
    again = site.wait_for("shop", lambda each: each["restarts"] == 1 and each["state"] == "RUNNING")
    assert again["wanted"]


def test_restart_always(site: Site) -> None:
    """With restart = always even a server that somebody shut down in order comes back."""
    site.add("shop", restart="always")
    site.run()
    former = by_hand(site, "shop", signal.SIGINT)
    again = site.wait_for("shop", lambda each: each["restarts"] == 1 and each["state"] == "RUNNING")
    assert again["pid"] != former


def test_a_broken_configuration_is_fatal_while_others_run(site: Site, installation: Installation) -> None:
    """PostgreSQL's own word about a postgresql.conf is the reason; it is not tried again, and the others run."""
    broken = site.add("broken", installation)
    site.add("fine", installation)
    with (broken / "postgresql.conf").open("a") as file:
        file.write("no_such_parameter = 1\n")
    daemon = site.start()
    finished = site.pgsupctl("start", "all")
    record = site.wait_for_state("broken", "FATAL")
    assert (finished.returncode, site.states()) == (1, {"broken": "FATAL", "fine": "RUNNING"})
    assert "no_such_parameter" in str(record["reason"])
    assert daemon.logged(cluster="broken", now="BACKOFF") == []
    assert site.pgsupctl("status").returncode == 3


def test_an_exit_before_ready_is_tried_again(site: Site, installation: Installation) -> None:
    """A pg_hba.conf that the server refuses, `postgres -C` accepts: so it is tried, and given up with its words."""
    data_directory = site.add("shop", installation, start_retries=2, restart_delay="10ms")
    with (data_directory / "pg_hba.conf").open("a") as file:
        file.write("nonsense\n")
    daemon = site.start()
    record = site.wait_for_state("shop", "FATAL")
    assert len(daemon.logged(cluster="shop", now="BACKOFF")) == 2
    number = len((data_directory / "pg_hba.conf").read_text().splitlines())
    why = f'{data_directory}/pg_hba.conf:{number}: invalid connection type "nonsense"'
    assert record["reason"] == f"exited with status 1: {why} (gave up after 3 starts)"


def test_a_start_after_the_mistake_is_mended(site: Site) -> None:
    """FATAL is no grave: once the cause is gone, an order starts the server."""
    data_directory = site.add("shop")
    data_directory.chmod(0o755)
    site.start()
    site.wait_for_state("shop", "FATAL")
    data_directory.chmod(0o700)
    assert site.pgsupctl("start", "shop").returncode == 0


def _wrong_mode(data_directory: Path) -> None:
    data_directory.chmod(0o755)


def _another_version(data_directory: Path) -> None:
    (data_directory / "PG_VERSION").write_text("9.6\n")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_wrong_mode, "has the mode 0755"),
        (_another_version, "belongs to PostgreSQL 9.6"),
    ],
)
def test_what_is_wrong_with_a_directory(site: Site, damage: Callable[[Path], None], says: str) -> None:
    """What can be known before a start is told in words, at once, and is not tried again."""
    damage(site.add("shop"))
    assert_fatal_at_once(site, says)


def test_a_data_directory_of_somebody_else(site: Site) -> None:
    """A data directory whose owner the server would not run as is refused."""
    if SERVER_USER is None:
        pytest.skip("only root can give a directory away")
    os.chown(site.add("shop"), 1, 1)
    assert_fatal_at_once(site, "belongs to daemon, and PostgreSQL would run as")


def test_a_port_in_use(site: Site) -> None:
    """A port at which somebody listens already is named, instead of a server that ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.add("shop", port=port, settings={"listen_addresses": "127.0.0.1"})
        assert_fatal_at_once(site, str(port))


def test_a_socket_in_use(site: Site) -> None:
    """A Unix socket at which somebody listens already is named."""
    site.add("shop", port=6123)
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(site.directory / ".s.PGSQL.6123"))
        taken.listen()
        assert_fatal_at_once(site, ".s.PGSQL.6123")


def test_a_socket_path_that_is_too_long(site: Site) -> None:
    """A Unix socket's path has 107 bytes at most."""
    site.add("shop", settings={"unix_socket_directories": f"/tmp/{'x' * 100}"})
    assert_fatal_at_once(site, "107")


def assert_fatal_at_once(site: Site, says: str) -> None:
    """Assert that the cluster `shop` becomes FATAL for that reason without a server having been started."""
    daemon = site.start()
    record = site.wait_for_state("shop", "FATAL")
    assert (says in str(record["reason"]), record["pid"], record["restarts"]) == (True, None, 0), record
    assert daemon.logged(cluster="shop", now="BACKOFF") == []
    assert not site.logfile("shop").exists()


def test_init_makes_the_cluster(site: Site, installation: Installation) -> None:
    """With init = true a directory that does not exist becomes a cluster that runs."""
    site.declare(
        "fresh",
        site.directory / "fresh",
        installation,
        init=True,
        settings={"listen_addresses": "", "unix_socket_directories": str(site.directory)},
    )
    site.run()
    cluster = site.cluster("fresh")
    owner = SERVER_USER.uid if SERVER_USER is not None else os.geteuid()
    assert (os.stat(cluster.data_directory).st_uid, cluster.running()) == (owner, True)


def test_init_does_not_replace_what_was_lost(site: Site) -> None:
    """A data directory that disappears, as with its disk, does not become an empty cluster that takes its place."""
    data_directory = site.add("shop", init=True)
    site.run()
    data_directory.rename(data_directory.with_name("lost"))
    site.order("Stop", "shop", mode="immediate")
    assert site.pgsupctl("start", "shop").returncode == 1
    assert "was there and is gone" in str(site.status("shop")["reason"])
    assert not data_directory.exists()
