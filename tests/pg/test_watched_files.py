"""Files beside postgresql.conf: other rules, lists, certificates, and what so many includes lead to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from daemons import Site
from machine import INSTALLATIONS
from servers import add_clock, append, mended, new_directory, reason, reloads, sql, write

from pgsupervisor.postgres import Installation

PROMPT = {"reload_delay": "100ms"}


def last_reload(site: Site, count: int) -> tuple[object, object]:
    """Return the outcome of the last of so many reloads, and which files it was about; see that there were no more."""
    told = site.daemons[-1].wait_for_log(count, event="reloaded", cluster="shop")
    assert reloads(site) == count
    return told["outcome"], told["files"]


def test_another_hba_file(site: Site, installation: Installation) -> None:
    """Another hba_file waits for a restart, and until then the old one is still in force, and watched."""
    data = site.add("shop", installation, **PROMPT)
    add_clock(site)
    path, old = data / "postgresql.conf", data / "pg_hba.conf"
    new = write(site.directory / "rules", old.read_text(), data)
    good = path.read_text()
    site.run()
    append(path, f"hba_file = '{new}'\n")
    assert reason(site, "pending") == f"pending restart: hba_file {old} → {new}"
    assert last_reload(site, 1)[0] == "pending restart"
    append(old, "# as before\n")
    assert last_reload(site, 2) == ("pending restart", [str(old)])
    number = append(old, "local all all trsut\n")
    assert reason(site, "trsut").startswith(f'pg_hba.conf:{number} invalid authentication method "trsut"')
    old.write_text(new.read_text())
    path.write_text(good)
    mended(site)


@pytest.mark.parametrize(
    "installation",
    [each for each in INSTALLATIONS if each.major >= 16],
    ids=lambda each: each.version.replace(" ", "-"),
)
def test_includes_of_rules(site: Site, installation: Installation) -> None:
    """What pg_hba.conf and pg_ident.conf include, and lists of names, are taken like the files themselves."""
    data = site.add("shop", installation, **PROMPT)
    add_clock(site)
    maps = new_directory(data / "maps.d", data)
    more = write(data / "more.conf", "local all @names trust\n", data)
    names = write(data / "names", "alice\n", data)
    append(data / "pg_hba.conf", "include more.conf\n")
    append(data / "pg_ident.conf", "include_dir maps.d\n")
    site.run()
    append(more, "local all bob trust\n")
    assert last_reload(site, 1) == ("applied", [str(more)])
    append(names, "carol\n")
    assert last_reload(site, 2) == ("applied", [str(names)])
    new = write(maps / "one.conf", "map alice bob\n", data)
    assert last_reload(site, 3) == ("applied", [str(new)])


def test_more_files_than_anybody_has(site: Site, installation: Installation) -> None:
    """However many files come before it, a list that pg_hba.conf names is taken, and so is the last file's setting."""
    data = site.add("shop", installation, **PROMPT)
    directory = new_directory(data / "conf.d", data)
    for number in range(1100):
        write(directory / f"{number:04}.conf", f"# {number}\n", data)
    last = write(directory / "last.conf", "work_mem = 5MB\n", data)
    names = write(data / "names", "alice\n", data)
    append(data / "postgresql.conf", "include_dir 'conf.d'\n")
    append(data / "pg_hba.conf", "local all @names trust\n")
    daemon = site.run()
    append(names, "bob\n")
    assert daemon.wait_for_log(event="reloaded")["files"] == [str(names)]
    append(last, "work_mem = 7MB\n")
    told = daemon.wait_for_log(2, event="reloaded")
    assert (told["files"], told["changes"]) == ([str(last)], ["work_mem 5MB → 7MB"])
    assert sql(site.cluster("shop"), "show work_mem") == "7MB"


def certified(directory: Path, data: Path) -> Path:
    """Make a directory with a certificate and its key for a server, which must own the key."""
    new_directory(directory, data)
    for name in ("certificate", "key"):
        write(directory / name, "", data).chmod(0o600)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop"]
    files = ["-keyout", str(directory / "key"), "-out", str(directory / "certificate")]
    subprocess.run(["/usr/bin/env", *new, *files], check=True, capture_output=True)
    return directory


@pytest.mark.parametrize(
    "installation", [each for each in INSTALLATIONS if each.ssl], ids=lambda each: each.version.replace(" ", "-")
)
def test_certificates(site: Site, installation: Installation) -> None:
    """A renewed certificate is taken; a key that is none is refused, which is told until it is mended."""
    data = site.add("shop", installation, **PROMPT)
    add_clock(site)
    first, second = certified(site.directory / "first", data), certified(site.directory / "second", data)
    live = site.directory / "live"
    live.symlink_to(first)
    append(data / "postgresql.conf", f"ssl = on\nssl_cert_file = '{live}/certificate'\nssl_key_file = '{live}/key'\n")
    site.run()
    pid = site.pid("shop")
    (site.directory / "new").symlink_to(second)
    (site.directory / "new").rename(live)
    assert last_reload(site, 1) == ("applied", [f"{live}/certificate", f"{live}/key"])
    key = (second / "key").read_text()
    (second / "key").write_text("garbage")
    said = f"the certificate {live}/certificate and its key {live}/key cannot be loaded for TLS"
    assert said in reason(site, "TLS")
    assert last_reload(site, 2) == ("rejected", [f"{live}/key"])
    refused = site.pgsupctl("restart", "shop")
    assert (refused.returncode, said in refused.stdout, site.pid("shop")) == (1, True, pid), refused.stdout
    assert said in str(site.status("shop")["reason"])
    (second / "key").write_text(key)
    mended(site)
    assert last_reload(site, 3) == ("applied", [f"{live}/key"])
