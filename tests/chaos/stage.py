"""Where it happens: eight clusters over every installation, two of them on a small disk, kept by one daemon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from chaos.disk import Disk, mounted
from chaos.plan import INCLUDED
from daemons import Site, end_all_in, installation_number, new_site
from machine import NewDataDirectory
from servers import sql, write

CLUSTERS = 8
ON_SMALL_DISK = 2
SMALL_DISK = 160
"""In megabytes; two clusters take about half of it."""

_LARGE_DISK = 2000

_KEYS: list[dict[str, object]] = [{}, {"restart": "always"}, {"autostart": False}, {"restart_limit": 0}]
"""What the clusters differ in; some of these, in turn."""


@contextlib.contextmanager
def new_stage(new_data_directory: NewDataDirectory) -> Iterator[tuple[Site, Disk]]:
    """Have eight servers that run, each with a table, and nothing of it afterwards; the disk is the small one."""
    with (
        new_site(new_data_directory) as site,
        # All is in memory: to remove what was written to a disk can take as long as the rest.
        mounted(site.directory, _LARGE_DISK) as large,
        mounted(site.directory / "small", SMALL_DISK) as small,
    ):
        try:
            for number in range(CLUSTERS):
                _add(site, new_data_directory, number, small if number < ON_SMALL_DISK else large)
            site.daemon_keys["on_exit"] = "leave"
            site.run()
            for name in site.clusters:
                sql(site.cluster(name), "create table committed (number bigint primary key)")
            yield site, small
        except BaseException:
            _tell(site)
            raise
        finally:
            for daemon in site.daemons:
                daemon.process.kill()
                daemon.wait()
            small.free()
            end_all_in(site.directory)


def _tell(site: Site) -> None:
    """Print what the daemons have logged, and what each server has logged last: all that will be left of this run."""
    for daemon in site.daemons:
        print(f"pgsupervisord {daemon.pid}:", *daemon.lines, sep="\n")  # noqa: T201
    for name in site.clusters:
        print(f"{name}:", *site.logfile(name).read_text().splitlines()[-200:], sep="\n")  # noqa: T201


def _add(site: Site, new_data_directory: NewDataDirectory, number: int, disk: Disk) -> None:
    name = f"c{number}"
    installation = installation_number(number)
    data_directory = new_data_directory(installation, disk.path / name)
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write(f"include_if_exists '{INCLUDED}'\n")
    write(data_directory / INCLUDED, "", data_directory)
    quick = {"restart_delay": "50ms", "restart_max_delay": "1s", "stop_timeout": "2s", "reload_delay": "100ms"}
    # Small enough that they are rotated all the time.
    log = {"logfile_maxbytes": "16kB", "logfile_backups": 20, "logfile_compress": number % 2 == 1}
    site.declare(name, data_directory, installation, **quick, **log, **_KEYS[number // 2])


def psql(site: Site, name: str, *arguments: str) -> list[str]:
    """Return what starts psql on a cluster, whether or not a server runs there."""
    where = Path(str(site.clusters[name]["data_directory"])).parent
    program = site.cluster(name).installation.require("psql")
    address = ["-h", str(where), "-p", str(site.clusters[name]["port"]), "-U", "postgres"]
    return [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address, *arguments, "postgres"]
