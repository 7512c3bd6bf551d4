"""Where it happens: eight clusters over every installation, two of them on a small disk, kept by one daemon."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from chaos.plan import INCLUDED
from daemons import Site, end_all_in, installation_number, new_site
from machine import NewDataDirectory, give_back_memory
from servers import sql, write

from pgsupervisor.system.process import run

CLUSTERS = 8
ON_SMALL_DISK = 2
SMALL_DISK = 160
"""Its size, in megabytes; two clusters take about half of it."""

_KEYS: list[dict[str, object]] = [{}, {"restart": "always"}, {"autostart": False}, {"restart_limit": 0}]
"""What the clusters differ in; some of these, in turn."""


class SmallDisk:
    """A tmpfs that can be filled; for who may not mount one, a directory with which nothing happens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        mounting = run(
            ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", str(path)], environment=os.environ
        )
        self.mounted = mounting.returncode == 0
        if not self.mounted:
            print(f"no disk will be full: {mounting.stderr.strip()}")  # noqa: T201  # what this run does not show
        path.chmod(0o777)  # for the sockets of its servers
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        if self.mounted:
            with self._ballast.open("ab") as file:
                size = SMALL_DISK * 1024 * 1024
                while size:
                    try:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                    except OSError:  # so much is not free
                        size //= 2

    def free(self) -> None:
        """Have room again."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Be gone. Nobody may be at work in it."""
        give_back_memory(self.path)
        if self.mounted:
            run(["umount", "--lazy", str(self.path)], environment=os.environ)


@contextlib.contextmanager
def new_stage(new_data_directory: NewDataDirectory) -> Iterator[tuple[Site, SmallDisk]]:
    """Have eight servers that run, each with a table, and nothing of it afterwards."""
    with new_site(new_data_directory) as site:
        site.daemon_keys["on_exit"] = "leave"
        disk = SmallDisk(site.directory / "small")
        try:
            for number in range(CLUSTERS):
                directory = disk.path if number < ON_SMALL_DISK else site.directory
                _add(site, new_data_directory, number, directory)
            site.run()
            for name in site.clusters:
                sql(site.cluster(name), "create table committed (number bigint primary key)")
            yield site, disk
        except BaseException:
            _tell(site)
            raise
        finally:
            for daemon in site.daemons:
                daemon.process.kill()
                daemon.wait()
            disk.free()
            end_all_in(site.directory)
            disk.close()


def _tell(site: Site) -> None:
    """Print what the daemons have logged, and what each server has logged last: all that will be left of this run."""
    for daemon in site.daemons:
        print(f"pgsupervisord {daemon.pid}:", *daemon.lines, sep="\n")  # noqa: T201
    for name in site.clusters:
        print(f"{name}:", *site.logfile(name).read_text().splitlines()[-2000:], sep="\n")  # noqa: T201


def _add(site: Site, new_data_directory: NewDataDirectory, number: int, directory: Path) -> None:
    name = f"c{number}"
    installation = installation_number(number)
    data_directory = new_data_directory(installation, directory / name)
    with (data_directory / "postgresql.conf").open("a") as file:
        file.write(f"include_if_exists '{INCLUDED}'\n")
    write(data_directory / INCLUDED, "", data_directory)
    quick = {"restart_delay": "50ms", "restart_max_delay": "1s", "stop_timeout": "2s", "reload_delay": "100ms"}
    site.declare(name, data_directory, installation, **quick, **_KEYS[number // 2])


def psql(site: Site, name: str, *arguments: str) -> list[str]:
    """Return what starts psql on a cluster, whether or not a server runs there."""
    where = Path(str(site.clusters[name]["data_directory"])).parent
    program = site.cluster(name).installation.require("psql")
    address = ["-h", str(where), "-p", str(site.clusters[name]["port"]), "-U", "postgres"]
    return [program, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address, *arguments, "postgres"]
