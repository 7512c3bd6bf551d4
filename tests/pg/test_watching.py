"""A saved file is taken by the server, once, however it was saved; and what became of it is told."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from daemons import Site
from servers import sql

from pgsupervisor.postgres import Cluster, Installation


def owned(path: Path, like: Path) -> Path:
    """Give a file or directory, which must be there, to the owner of another."""
    facts = like.stat()
    os.chown(path, facts.st_uid, facts.st_gid)
    return path


def new_directory(path: Path, like: Path) -> Path:
    """Make a directory that belongs to the owner of another."""
    path.mkdir()
    return owned(path, like)


def write(path: Path, text: str, like: Path) -> Path:
    """Write a new file that belongs to the owner of another."""
    path.write_text(text)
    return owned(path, like)


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
    """Add a cluster with work_mem = 5MB and perhaps more in its postgresql.conf."""
    data = site.add("shop", installation, reload_delay="100ms", **keys)
    with (data / "postgresql.conf").open("a") as file:
        file.write(line(5) + more)
    return data


def reloads(site: Site) -> int:
    """Return how often the server was told to read its files, by its own word."""
    return site.logfile("shop").read_text().count("received SIGHUP")


def nothing_more(site: Site, data: Path, count: int) -> None:
    """See that there were `count` reloads: one more save is answered by one more, after what was on its way."""
    write(data / "pg_ident.conf", f"# {count}\n", data)
    last = site.daemons[0].wait_for_log(count + 1, event="reloaded")
    assert (last["outcome"], last["files"], reloads(site)) == ("applied", [str(data / "pg_ident.conf")], count + 1)


@pytest.mark.parametrize("way", WAYS)
def test_a_saved_file_is_taken_once(site: Site, installation: Installation, way: str) -> None:
    """However a change is saved, it leads to one reload, the server goes by it, and the log says what changed."""
    chosen = WAYS[way]
    data = added(site, installation)
    with (data / "postgresql.conf").open("a") as file:
        file.write(chosen.begin(data))
    daemon = site.run()
    chosen.save(data, site.cluster("shop"))
    told = daemon.wait_for_log(event="reloaded")
    assert (told["outcome"], told["changes"]) == ("applied", [chosen.said])
    assert sql(site.cluster("shop"), "show work_mem") == chosen.said.rpartition(" ")[2]
    assert site.status("shop")["reason"] == ""
    nothing_more(site, data, 1)


def test_a_hundred_saves(site: Site, installation: Installation) -> None:
    """A hundred saves in quick succession lead to one or two reloads, and the last of them counts."""
    data = added(site, installation)
    daemon = site.run()
    for number in range(100):
        (data / "postgresql.conf").write_text(with_work_mem(data, 10 + number))
    daemon.wait_for_log(event="reloaded")
    write(data / "pg_ident.conf", "# last\n", data)
    ident = str(data / "pg_ident.conf")
    while ident not in daemon.wait_for_log(reloads(site), event="reloaded")["files"]:  # type: ignore[operator]
        daemon.wait_for_log(reloads(site) + 1, event="reloaded")
    assert (sql(site.cluster("shop"), "show work_mem"), reloads(site) in {1, 2, 3}) == ("109MB", True)


def test_whoever_never_pauses(site: Site, installation: Installation) -> None:
    """Saves that follow each other without a pause are not waited for: the server takes what there is by then."""
    data = added(site, installation)
    daemon = site.run()
    for number in itertools.count():
        (data / "postgresql.conf").write_text(with_work_mem(data, 10 + number % 100))
        if daemon.logged(event="reloaded"):
            break
        assert number < 1_000_000


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
    assert site.pgsupctl("reload", "shop").stdout == "shop: RUNNING  nothing has changed\n"
    nothing_more(site, data, 1)


def test_watch_false(site: Site, installation: Installation) -> None:
    """A cluster that is not watched is reloaded by order alone, and the order says what it changed."""
    data = added(site, installation, watch=False)
    site.add("other", installation, reload_delay="1ms")
    daemon = site.run()
    in_place(data, site.cluster("shop"))
    # Had it been heard, it would have been applied before what was saved later is.
    write(Path(str(site.clusters["other"]["data_directory"])) / "pg_ident.conf", "# x\n", data)
    daemon.wait_for_log(event="reloaded", cluster="other")
    assert (daemon.logged(event="reloaded", cluster="shop"), reloads(site)) == ([], 0)
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
    told = daemon.wait_for_log(event="reloaded")
    assert (told["changes"], site.pid("shop")) == (["work_mem 5MB → 7MB"], pid)
    nothing_more(site, data, 1)


def moved_outside(site: Site, data: Path) -> Path:
    """Move the configuration of a cluster into a directory of its own, as Debian has it, and return that."""
    directory = new_directory(site.directory / "etc", data)
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (data / name).rename(directory / name)
    with (directory / "postgresql.conf").open("a") as file:
        file.write(f"hba_file = '{directory}/pg_hba.conf'\nident_file = '{directory}/pg_ident.conf'\n")
    site.clusters["shop"]["config_file"] = str(directory / "postgresql.conf")
    return directory


def test_the_directory_goes_and_comes_back(site: Site, installation: Installation) -> None:
    """A configuration directory that is removed disturbs nobody; once it is back, its files are watched as before."""
    data = added(site, installation)
    directory = moved_outside(site, data)
    other = site.add("other", installation, reload_delay="100ms")
    daemon = site.run()
    kept = new_directory(site.directory / "kept", data)
    for path in directory.iterdir():
        path.rename(kept / path.name)
    directory.rmdir()
    gone = site.wait_for("shop", lambda each: each["reason"] != "")
    assert "No such file" in str(gone["reason"])
    write(other / "pg_ident.conf", "# still watched\n", other)
    daemon.wait_for_log(event="reloaded", cluster="other", outcome="applied")
    kept.rename(directory)
    site.wait_for("shop", lambda each: each["reason"] == "")
    in_place(directory, site.cluster("shop"))
    daemon.wait_for_log(event="reloaded", cluster="shop", changes=["work_mem 5MB → 7MB"])
    assert (sql(site.cluster("shop"), "show work_mem"), site.status("shop")["restarts"]) == ("7MB", 0)


def test_the_directory_is_replaced(site: Site, installation: Installation) -> None:
    """A directory that is renamed away and replaced by another counts at once, and the old one no more."""
    data = added(site, installation)
    directory = moved_outside(site, data)
    daemon = site.run()
    new = new_directory(site.directory / "new", data)
    for path in directory.iterdir():
        write(new / path.name, path.read_text(), data)
    (new / "postgresql.conf").write_text(with_work_mem(new, 7))
    directory.rename(site.directory / "old")
    new.rename(directory)
    daemon.wait_for_log(event="reloaded", changes=["work_mem 5MB → 7MB"])
    (directory / "postgresql.conf").write_text(with_work_mem(directory, 8))
    daemon.wait_for_log(event="reloaded", changes=["work_mem 7MB → 8MB"])
    assert sql(site.cluster("shop"), "show work_mem") == "8MB"


def test_an_unreadable_directory(site: Site, installation: Installation) -> None:
    """A directory that may not be read any more ends no other watch, and is watched again once it may."""
    data = added(site, installation, "include_dir 'conf.d'\n")
    new_directory(data / "conf.d", data)
    daemon = site.run()
    (data / "conf.d").chmod(0)
    (data / "postgresql.conf").write_text((data / "postgresql.conf").read_text() + line(7))
    daemon.wait_for_log(event="reloaded", files=[str(data / "postgresql.conf")])
    (data / "conf.d").chmod(0o700)
    write(data / "conf.d" / "x.conf", line(8), data)
    site.wait_for("shop", lambda each: each["reason"] == "")
    daemon.wait_for_log(event="reloaded", outcome="applied", files=[str(data / "conf.d" / "x.conf")])
