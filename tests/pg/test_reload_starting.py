"""A server that is not ready yet goes by its files too: what it waits for may be in them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from daemons import Site
from machine import SERVER_USER
from servers import append, sql, write

from pgsupervisor.postgres import Installation, command
from pgsupervisor.system.process import run


def add_standby(site: Site, installation: Installation) -> Path:
    """Add a standby of the cluster `shop`, which must run; it has not enough WAL yet to let anybody in."""
    data = site.directory / "standby"
    primary = ["-h", str(site.directory), "-p", str(site.status("shop")["port"]), "-U", "postgres"]
    finished = run(
        [installation.require("pg_basebackup"), "-D", str(data), *primary, "-X", "none", "-c", "fast", "--no-sync"],
        environment=command.environment(os.environ, run_as=SERVER_USER),
        run_as=SERVER_USER,
    )
    assert finished.returncode == 0, finished.stderr
    write(data / "standby.signal", "", data)
    append(data / "postgresql.conf", "wal_retrieve_retry_interval = 100ms\n")
    site.declare("standby", data, installation, reload_delay="50ms", autostart=False)
    return data


def test_a_standby_that_looks_for_its_primary(site: Site, installation: Installation) -> None:
    """A standby that starts and cannot find its primary is told at once where it is, once the file says that."""
    site.add("shop", installation)
    site.run()
    data = add_standby(site, installation)
    conninfo = f"primary_conninfo = 'host={site.directory} user=postgres port="
    append(data / "postgresql.conf", f"{conninfo}6999'\n")
    site.write()
    assert site.pgsupctl("update").returncode == 0
    assert site.pgsupctl("start", "standby", "--no-wait").returncode == 0
    site.wait_for("standby", lambda each: each["pid"] is not None)
    site.wait_for_line("standby", ".s.PGSQL.6999")
    ordered = site.pgsupctl("reload", "standby")
    assert (ordered.returncode, ordered.stdout.startswith("standby: STARTING  told to reload")) == (0, True), ordered
    append(data / "postgresql.conf", f"{conninfo}{site.status('shop')['port']}'\n")
    site.wait_for_state("standby", "RUNNING")
    assert sql(site.cluster("standby"), "select pg_is_in_recovery()") == "t"


@contextlib.contextmanager
def kept_starting(site: Site, data: Path) -> Iterator[None]:
    """Have the server of the cluster `shop` start, and wait for its first file from the archive."""
    fifo = site.directory / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    write(data / "recovery.signal", "", data)
    append(data / "postgresql.conf", f"restore_command = 'test -p {fifo} && cat {fifo} && rm {fifo}; false'\n")
    assert site.pgsupctl("start", "shop", "--no-wait").returncode == 0
    # Opened as soon as the server asks.
    with fifo.open("w"):
        assert site.status("shop")["state"] == "STARTING"
        yield


def test_the_data_directory_is_away_for_a_moment(site: Site, installation: Installation) -> None:
    """A data directory that is moved away and back while its server starts: that it is ready then is seen."""
    data = site.add("shop", installation, reload_delay="10ms")
    daemon = site.run()
    site.order("Stop", "shop")
    with kept_starting(site, data):
        data.rename(site.directory / "away")
        site.wait_for_line("shop", "received SIGHUP")
        (site.directory / "away").rename(data)
    site.wait_for_state("shop", "RUNNING")
    append(data / "postgresql.conf", "work_mem = 7MB\n")
    daemon.wait_for_log(event="reloaded", changes=["work_mem 4MB → 7MB"])
