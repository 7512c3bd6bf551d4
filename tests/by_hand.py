"""What is done past the daemon: by PostgreSQL's own programs, as the owner of the clusters, or to their files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from daemons import Site, ends
from machine import SERVER_USER
from servers import sql

from pgsupervisor.postgres import Cluster, Installation, command
from pgsupervisor.system.process import Process, children, run


def owner_environment() -> dict[str, str]:
    """Return the environment in which the owner of the clusters runs a program."""
    return command.environment(os.environ, run_as=SERVER_USER)


def by_hand(installation: Installation, program: str, *arguments: str) -> str:
    """Run one of PostgreSQL's programs, see that it succeeds, and return what it printed."""
    finished = run([installation.require(program), *arguments], environment=owner_environment(), run_as=SERVER_USER)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def add_standby(site: Site, name: str, of: str, **keys: object) -> Path:
    """Add a standby of a cluster that runs, and have the daemon know it; it is not started."""
    primary = site.cluster(of)
    data_directory = site.directory / name
    where = ["-h", str(site.directory), "-p", str(site.status(of)["port"]), "-U", "postgres"]
    by_hand(primary.installation, "pg_basebackup", "-D", str(data_directory), "-R", "-c", "fast", "--no-sync", *where)
    site.declare(name, data_directory, primary.installation, autostart=False, **keys)
    site.write()
    assert site.pgsupctl("update").returncode == 0
    return data_directory


def wal_file(cluster: Cluster) -> str:
    """Return the name of the WAL file that a server writes into, after it has begun a new one."""
    sql(cluster, "select pg_switch_wal()")
    sql(cluster, "create table if not exists beyond_the_switch ()")
    return sql(cluster, "select pg_walfile_name(pg_current_wal_insert_lsn())")


@contextlib.contextmanager
def family(site: Site, name: str) -> Iterator[list[Process]]:
    """Hold the server of a cluster with all its processes, the postmaster first."""
    with contextlib.ExitStack() as exits:
        postmaster = exits.enter_context(Process(site.pid(name)))
        yield [postmaster, *map(exits.enter_context, children(postmaster))]


@contextlib.contextmanager
def withheld(path: Path) -> Iterator[None]:
    """Have whoever opens a file wait in there until the end: a lease (fcntl(2)), which the kernel breaks after 45 s.

    Nobody may have it open in the beginning. A server whose WAL file it is recovers as long as the test likes.
    """
    with path.open("rb+") as file:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # that somebody waits is told by it, and does no harm
        ourselves = os.geteuid()
        os.seteuid(path.stat().st_uid)  # a lease is for the owner; root in a container may lack CAP_LEASE
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        finally:
            os.seteuid(ourselves)
        yield


def crashed(site: Site, installation: Installation, **keys: object) -> Path:
    """Have a cluster `shop` whose server was killed, with a row in its last WAL file, whose path is returned."""
    data_directory = site.add("shop", installation, **keys)
    site.run()
    cluster = site.cluster("shop")
    sql(cluster, "create table bought as select 1")
    last = wal_file(cluster)
    sql(cluster, "insert into bought values (2)")
    with family(site, "shop") as processes:
        site.order("Kill", "shop")
        assert all(map(ends, processes))
    return data_directory / "pg_wal" / last
