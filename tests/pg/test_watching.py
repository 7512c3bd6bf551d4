"""A saved file is taken by the server, once, however it was saved; and what became of it is told."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from daemons import LIMIT, Site
from servers import add_clock, append, new_directory, reloads, sql, write

from pgsupervisor.postgres import Cluster, Installation


def line(megabytes: int) -> str:
    """Return the line whose saving is what most of these tests watch."""
    return f"work_mem = {megabytes}MB\n"


def with_work_mem(data: Path, megabytes: int) -> str:
    """Return what postgresql.conf says, with another work_mem."""
    lines = (data / "postgresql.conf").read_text().splitlines(keepends=True)
    return "".join([each for each in lines if not each.startswith("work_mem")] + [line(megabytes)])


def by_rename(data: Path, _cluster: Cluster) -> None:
    """Save as vim does: the old file becomes a backup, the new one is written under its name, the backup is removed."""
    path = data / "postgresql.conf"
    text = with_work_mem(data, 7)
    path.rename(data / "postgresql.conf~")
    write(path, text, data)
    (data / "postgresql.conf~").unlink()


def in_place(data: Path, _cluster: Cluster) -> None:
    """Write over the file."""
    (data / "postgresql.conf").write_text(with_work_mem(data, 7))


def by_sed(data: Path, _cluster: Cluster) -> None:
    """Let sed edit it."""
    subprocess.run(
        ["/usr/bin/env", "sed", "-i", "s/^work_mem = 5MB/work_mem = 7MB/", data / "postgresql.conf"], check=True
    )


def link_swapped(data: Path, _cluster: Cluster) -> None:
    """Swap the link `..data`, through which another link leads to the file, as Kubernetes does."""
    volume = data.parent / "volume"
    write(new_directory(volume / "..2", data) / "mounted.conf", line(7), data)
    (volume / "..new").symlink_to("..2")
    (volume / "..new").rename(volume / "..data")


def dropped_in(data: Path, _cluster: Cluster) -> None:
    """Drop a file into the directory that is included."""
    write(data / "conf.d" / "20-mine.conf", line(7), data)


def include_removed(data: Path, _cluster: Cluster) -> None:
    """Remove a file that was included if it exists."""
    (data / "maybe.conf").unlink()


def by_sql(_data: Path, cluster: Cluster) -> None:
    """Have a client say it."""
    sql(cluster, "alter system set work_mem = '7MB'")


@dataclass(frozen=True)
class Way:
    """A way to change a configuration, and the files that it begins with, beside `work_mem = 5MB`."""

    save: Callable[[Path, Cluster], None]
    said: str
    begin: Callable[[Path], str] = lambda _data: ""


def with_volume(data: Path) -> str:
    """Make a volume as Kubernetes mounts it: two links lead to the file."""
    volume = data.parent / "volume"
    new_directory(volume, data)
    write(new_directory(volume / "..1", data) / "mounted.conf", line(6), data)
    (volume / "..data").symlink_to("..1")
    (volume / "mounted.conf").symlink_to("..data/mounted.conf")
    return f"include '{volume}/mounted.conf'\n"


def with_directory(data: Path) -> str:
    """Include a directory with a file in it."""
    write(new_directory(data / "conf.d", data) / "10-first.conf", line(6), data)
    return "include_dir 'conf.d'\n"


def with_maybe(data: Path) -> str:
    """Include a file if it exists, which it does."""
    write(data / "maybe.conf", line(6), data)
    return "include_if_exists 'maybe.conf'\n"


WAYS = {
    "rename": Way(by_rename, "work_mem 5MB → 7MB"),
    "in place": Way(in_place, "work_mem 5MB → 7MB"),
    "sed": Way(by_sed, "work_mem 5MB → 7MB"),
    "link swap": Way(link_swapped, "work_mem 6MB → 7MB", with_volume),
    "include_dir": Way(dropped_in, "work_mem 6MB → 7MB", with_directory),
    "include removed": Way(include_removed, "work_mem 6MB → 5MB", with_maybe),
    "alter system": Way(by_sql, "work_mem 5MB → 7MB"),
}


def added(site: Site, installation: Installation, more: str = "", **keys: object) -> Path:
    """Add a cluster with work_mem = 5MB and perhaps more in its postgresql.conf, and a clock."""
    data = site.add("shop", installation, **{"reload_delay": "100ms", **keys})
    append(data / "postgresql.conf", line(5) + more)
    add_clock(site)
    return data


@pytest.mark.parametrize("way", WAYS)
def test_a_saved_file_is_taken_once(site: Site, installation: Installation, way: str) -> None:
    """However a change is saved, it leads to one reload, the server goes by it, and the log says what changed."""
    chosen = WAYS[way]
    data = added(site, installation)
    append(data / "postgresql.conf", chosen.begin(data))
    daemon = site.run()
    chosen.save(data, site.cluster("shop"))
    told = daemon.wait_for_log(event="reloaded", cluster="shop")
    assert (told["outcome"], told["changes"]) == ("applied", [chosen.said])
    assert sql(site.cluster("shop"), "show work_mem") == chosen.said.rpartition(" ")[2]
    assert (reloads(site), site.status("shop")["reason"]) == (1, "")


def test_a_hundred_saves(site: Site, installation: Installation) -> None:
    """A hundred saves in quick succession lead to one or two reloads, and the last of them counts."""
    data = added(site, installation, reload_delay="1s")
    site.clusters["clock"]["reload_delay"] = "2s"
    site.run()
    for number in range(100):
        (data / "postgresql.conf").write_text(with_work_mem(data, 10 + number))
    assert reloads(site) in {1, 2}
    assert sql(site.cluster("shop"), "show work_mem") == "109MB"


def test_whoever_never_pauses(site: Site, installation: Installation) -> None:
    """Saves that follow each other without a pause are not waited for: the server takes what there is by then."""
    data = added(site, installation, reload_delay="300ms")
    daemon = site.run()
    enough = time.monotonic() + LIMIT
    for number in itertools.count():
        (data / "postgresql.conf").write_text(with_work_mem(data, 10 + number % 100))
        if daemon.logged(event="reloaded"):
            break
        assert time.monotonic() < enough


def test_the_same_bytes(site: Site, installation: Installation) -> None:
    """`touch`, a rewrite of the same bytes, a new mode and a reload's own reading lead to no reload."""
    data = added(site, installation)
    site.run()
    for name in ("postgresql.conf", "pg_hba.conf"):
        path = data / name
        path.touch()
        path.write_bytes(path.read_bytes())
        write(data / "copy", path.read_text(), data).rename(path)
        path.chmod(0o640)
    assert reloads(site) == 0
    assert site.pgsupctl("reload", "shop").stdout == "shop: RUNNING  nothing has changed\n"
    assert reloads(site) == 1


def test_watch_false(site: Site, installation: Installation) -> None:
    """A cluster that is not watched is reloaded by order alone, and the order says what it changed."""
    data = added(site, installation, watch=False, reload_delay="1ms")
    site.run()
    in_place(data, site.cluster("shop"))
    assert reloads(site) == 0
    ordered = site.pgsupctl("reload", "shop")
    assert (ordered.returncode, ordered.stdout) == (0, "shop: RUNNING  applied: work_mem 5MB → 7MB\n")


def test_watching_begins_with_an_update(site: Site, installation: Installation) -> None:
    """An update of the inventory begins the watching, without a restart; what was saved before is applied then."""
    data = added(site, installation, watch=False)
    daemon = site.run()
    pid = site.pid("shop")
    in_place(data, site.cluster("shop"))
    site.clusters["shop"]["watch"] = True
    site.write()
    assert site.pgsupctl("update").returncode == 0
    told = daemon.wait_for_log(event="reloaded", cluster="shop")
    assert (told["changes"], site.pid("shop"), reloads(site)) == (["work_mem 5MB → 7MB"], pid, 1)
