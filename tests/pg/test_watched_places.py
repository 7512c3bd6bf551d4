"""Directories and links on the way to a file are moved, replaced, closed and opened; what is there counts at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from daemons import Site
from machine import SERVER_USER
from servers import add_clock, append, new_directory, reason, reloads, sql, write

from pgsupervisor.postgres import Installation


def added(site: Site, installation: Installation, more: str = "") -> Path:
    """Add a cluster with work_mem = 5MB and perhaps more in its postgresql.conf."""
    data = site.add("shop", installation, reload_delay="100ms")
    append(data / "postgresql.conf", f"work_mem = 5MB\n{more}")
    return data


def moved_outside(site: Site, data: Path, directory: Path) -> Path:
    """Move the configuration of a cluster into a new directory of its own, as Debian has it, and return that."""
    new_directory(directory, data)
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (data / name).rename(directory / name)
    files = f"hba_file = '{directory}/pg_hba.conf'\nident_file = '{directory}/pg_ident.conf'\n"
    append(directory / "postgresql.conf", files)
    site.clusters["shop"]["config_file"] = str(directory / "postgresql.conf")
    return directory


def test_the_directory_goes_and_comes_back(site: Site, installation: Installation) -> None:
    """A configuration directory that is removed disturbs nobody; once it is back, its files are watched as before."""
    data = added(site, installation)
    directory = moved_outside(site, data, site.directory / "etc")
    other = site.add("other", installation, reload_delay="100ms")
    daemon = site.run()
    kept = new_directory(site.directory / "kept", data)
    for path in directory.iterdir():
        path.rename(kept / path.name)
    directory.rmdir()
    gone = site.wait_for("shop", lambda each: each["reason"] != "")
    assert "No such file" in str(gone["reason"])
    append(other / "pg_ident.conf", "# still watched\n")
    daemon.wait_for_log(event="reloaded", cluster="other", outcome="applied")
    kept.rename(directory)
    site.wait_for("shop", lambda each: each["reason"] == "")
    append(directory / "postgresql.conf", "work_mem = 7MB\n")
    daemon.wait_for_log(event="reloaded", cluster="shop", changes=["work_mem 5MB → 7MB"])
    assert (sql(site.cluster("shop"), "show work_mem"), site.status("shop")["restarts"]) == ("7MB", 0)


def test_the_directory_is_replaced(site: Site, installation: Installation) -> None:
    """A directory that is renamed away and replaced by another counts at once, and the old one no more."""
    data = added(site, installation)
    directory = moved_outside(site, data, site.directory / "etc")
    daemon = site.run()
    new = new_directory(site.directory / "new", data)
    for path in directory.iterdir():
        write(new / path.name, path.read_text(), data)
    append(new / "postgresql.conf", "work_mem = 7MB\n")
    directory.rename(site.directory / "old")
    new.rename(directory)
    daemon.wait_for_log(event="reloaded", changes=["work_mem 5MB → 7MB"])
    append(directory / "postgresql.conf", "work_mem = 8MB\n")
    daemon.wait_for_log(event="reloaded", changes=["work_mem 7MB → 8MB"])
    assert sql(site.cluster("shop"), "show work_mem") == "8MB"


def test_an_unreadable_directory(site: Site, installation: Installation) -> None:
    """A directory that may not be read any more ends no other watch, and is watched again once it may."""
    data = added(site, installation, "include_dir 'conf.d'\n")
    new_directory(data / "conf.d", data)
    daemon = site.run()
    (data / "conf.d").chmod(0)
    append(data / "postgresql.conf", "work_mem = 7MB\n")
    daemon.wait_for_log(event="reloaded", files=[str(data / "postgresql.conf")])
    (data / "conf.d").chmod(0o700)
    write(data / "conf.d" / "x.conf", "work_mem = 8MB\n", data)
    site.wait_for("shop", lambda each: each["reason"] == "")
    daemon.wait_for_log(event="reloaded", outcome="applied", files=[str(data / "conf.d" / "x.conf")])


def test_a_directory_far_above_is_replaced(site: Site, installation: Installation) -> None:
    """A directory two levels above the files is replaced by another: what is there now counts, and later saves."""
    data = added(site, installation)
    top = new_directory(site.directory / "etc", data)
    directory = moved_outside(site, data, new_directory(top / "pg", data) / "shop")
    daemon = site.run()
    subprocess.run(["/usr/bin/env", "cp", "-a", top, site.directory / "new"], check=True)
    append(site.directory / "new" / "pg" / "shop" / "postgresql.conf", "work_mem = 7MB\n")
    top.rename(site.directory / "old")
    (site.directory / "new").rename(top)
    daemon.wait_for_log(event="reloaded", changes=["work_mem 5MB → 7MB"])
    append(directory / "postgresql.conf", "work_mem = 8MB\n")
    daemon.wait_for_log(event="reloaded", changes=["work_mem 7MB → 8MB"])
    assert sql(site.cluster("shop"), "show work_mem") == "8MB"


def test_a_linked_postgresql_conf(site: Site, installation: Installation) -> None:
    """Where postgresql.conf is a link, what it leads to is watched, and where it leads: each change is one reload."""
    data = added(site, installation)
    add_clock(site)
    link, far = data / "postgresql.conf", new_directory(site.directory / "far", data)
    text = link.read_text()
    write(far / "one", text, data)
    write(far / "two", f"{text}work_mem = 8MB\n", data)
    link.unlink()
    link.symlink_to("../far/one")
    daemon = site.run()
    append(far / "one", "work_mem = 7MB\n")
    told = daemon.wait_for_log(event="reloaded", cluster="shop")
    assert (told["files"], told["changes"], reloads(site)) == ([str(link)], ["work_mem 5MB → 7MB"], 1)
    (data / "link").symlink_to("../far/two")
    (data / "link").rename(link)
    daemon.wait_for_log(event="reloaded", cluster="shop", changes=["work_mem 7MB → 8MB"])
    append(far / "two", "work_mem = 9MB\n")
    daemon.wait_for_log(event="reloaded", cluster="shop", changes=["work_mem 8MB → 9MB"])
    assert (sql(site.cluster("shop"), "show work_mem"), reloads(site)) == ("9MB", 3)


@pytest.mark.skipif(SERVER_USER is not None, reason="root may list every directory")
def test_a_directory_that_may_not_be_listed(site: Site, installation: Installation) -> None:
    """An ordinary user's daemon cannot watch a directory that he may only pass through, and says so."""
    data = site.add("shop", installation, reload_delay="10ms")
    private = site.directory / "private"
    private.mkdir()
    (private / "more.conf").write_text("work_mem = 6MB\n")
    private.chmod(0o311)
    append(data / "postgresql.conf", f"include '{private}/more.conf'\n")
    daemon = site.run()
    assert reason(site, "unnoticed") == f"changes in {private} go unnoticed: it may not be read"
    (private / "more.conf").write_text("work_mem = 7MB\n")
    ordered = site.pgsupctl("reload", "shop")
    assert ordered.stdout == "shop: RUNNING  applied: work_mem 6MB → 7MB\n"
    append(data / "postgresql.conf", "work_mem = 8MB\n")
    daemon.wait_for_log(event="reloaded", changes=["work_mem 7MB → 8MB"])
    private.chmod(0o755)
    assert (site.pgsupctl("reload", "shop").returncode, site.status("shop")["reason"]) == (0, "")
    append(private / "more.conf", "maintenance_work_mem = 70MB\n")
    daemon.wait_for_log(event="reloaded", changes=["maintenance_work_mem 64MB → 70MB"])
