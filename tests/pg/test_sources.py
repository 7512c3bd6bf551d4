"""The files of a configuration, with the server as the judge: what it names is known, and what counts for it counts.

The views pg_file_settings, pg_hba_file_rules and pg_ident_file_mappings read the files anew for each query.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machine import SERVER_USER
from servers import sql
from test_authfile import DIRECTIVES, LISTS

from pgsupervisor.postgres import Cluster, authfile, sources
from pgsupervisor.postgres.lexer import fold
from pgsupervisor.postgres.sources import Sources

FILES = {
    "data/more.conf": "work_mem = 1MB\ninclude '{etc}/../etc/own.conf'\ninclude_if_exists 'later.conf'\n",
    "etc/own.conf": "work_mem = 2MB\ninclude_dir 'sub/../conf.d'\n",
    "etc/conf.d/b.conf": "Work_Mem = 3MB\n",
    "etc/conf.d/a.conf": "maintenance_work_mem = 4MB\nx.y = 'a'\n",
    "etc/conf.d/ignored": "port = 1\n",
    "etc/pg_hba.conf": "local all @admins trust\nlocal all postgres,@lists/more trust\n",
    "etc/admins": "alice\n",
    "etc/lists/more": "@inner\n",
    "etc/lists/inner": "bob",
    "etc/pg_ident.conf": "map @etc_names postgres\n",
    "etc/etc_names": "root\n",
}
"""What is there in every version."""

SINCE_16 = {
    "etc/pg_hba.conf": FILES["etc/pg_hba.conf"] + 'include more.hba\ninclude_if_exists later\ninclude_dir "hba.d"\n',
    "etc/more.hba": "local all carol trust\ninclude {etc}/../etc/hba.d/../absolute\n",
    "etc/absolute": "local all dave trust\n",
    "etc/hba.d/a.conf": "local all @../admins trust\n",
    "etc/hba.d/b.txt": "nonsense\n",
    "etc/pg_ident.conf": FILES["etc/pg_ident.conf"] + "include more.ident\ninclude_dir ident.d\n",
    "etc/more.ident": "map2 root postgres\n",
    "etc/ident.d/x.conf": "map3 root postgres\n",
}
"""What is there besides where the files for authentication have includes."""


def read(cluster: Cluster) -> Sources:
    """Return the sources of a cluster."""
    return sources.read(cluster.data_directory, major=cluster.installation.major, config_file=None, given={})


def lay_out(base: Path, files: dict[str, str]) -> None:
    """Write files, readable for the server."""
    for name, content in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(content.format(etc=base / "etc"))


def rows(cluster: Cluster, query: str) -> list[str]:
    """Return the rows that a query has for an answer."""
    return sql(cluster, query).splitlines()


def test_what_the_server_names_is_known(cluster: Cluster) -> None:
    """Every file that the server read is found, and so are those that its views cannot name, and no others."""
    base, major = Path(cluster.data_directory).parent, cluster.installation.major
    lay_out(base, FILES | (SINCE_16 if major >= 16 else {}))
    with Path(cluster.data_directory, "postgresql.conf").open("a") as file:
        file.write(
            f"hba_file = '{base}/etc/pg_hba.conf'\nident_file = '{base}/etc/pg_ident.conf'\ninclude 'more.conf'\n"
        )
    cluster.start()
    cluster.wait_until_started()
    sql(cluster, "ALTER SYSTEM SET temp_buffers = '2MB'")
    found = read(cluster)

    named = set(rows(cluster, "SELECT sourcefile FROM pg_file_settings"))
    silent = {"data/later.conf", "etc/admins", "etc/lists/more", "etc/lists/inner", "etc/etc_names"}
    if major >= 16:
        named |= set(rows(cluster, "SELECT file_name FROM pg_hba_file_rules"))
        named |= set(rows(cluster, "SELECT file_name FROM pg_ident_file_mappings"))
        silent |= {"etc/later"}
    else:
        silent |= {"etc/pg_hba.conf", "etc/pg_ident.conf"}
    assert set(found.digests) == named | {f"{base}/{name}" for name in silent}
    assert rows(cluster, "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL") == []
    directories = ["conf.d", "hba.d", "ident.d"] if major >= 16 else ["conf.d"]
    assert found.directories == tuple(f"{base}/etc/{name}" for name in directories)

    # An earlier assignment under another spelling of the name is applied, too, so the order decides.
    counts = rows(cluster, "SELECT name, setting FROM pg_file_settings WHERE applied ORDER BY seqno")
    assert {fold(name): value for name, _, value in (row.partition("|") for row in counts)} == found.settings
    assert rows(cluster, "SHOW work_mem") == [found.settings["work_mem"]] == ["3MB"]


def test_relative_paths_begin_where_servers_start(cluster: Cluster) -> None:
    """A relative hba_file is the same file for the server and for us."""
    base = Path(cluster.data_directory).parent
    lay_out(base, {"etc/hba": "local all all trust\n", "etc/ident": ""})
    relative = str(base / "etc").removeprefix("/")
    with Path(cluster.data_directory, "postgresql.conf").open("a") as file:
        file.write(f"hba_file = '{relative}/x/../hba'\nident_file = '{relative}//ident'\n")
    cluster.start()
    cluster.wait_until_started()
    own = [sql(cluster, "SHOW config_file"), f"{cluster.data_directory}/postgresql.auto.conf"]
    assert list(read(cluster).digests) == [*own, sql(cluster, "SHOW hba_file"), sql(cluster, "SHOW ident_file")]


@pytest.mark.parametrize("table", [LISTS, DIRECTIVES], ids=["lists", "directives"])
def test_the_tables_are_the_servers(cluster: Cluster, table: list[tuple[bytes, str | None]]) -> None:
    """The server looks for the very files that the tables of the unit tests say."""
    hba = Path(cluster.data_directory, "pg_hba.conf")
    cluster.start()
    cluster.wait_until_started()
    for content, _ in table:
        hba.write_bytes(content)
        told = sql(cluster, "SELECT coalesce(string_agg(error, ' '), '') FROM pg_hba_file_rules")
        followed = authfile.read(str(hba), cluster.installation.major)
        looked_for = (*followed.files[1:], *followed.directories)
        assert [f'"{path}"' in told for path in looked_for] == [True] * len(looked_for), content
        assert ("could not open" in told) == bool(looked_for), content


def test_a_file_dropped_into_a_directory(cluster: Cluster) -> None:
    """A new file in an included directory, and one that is removed, change what the server and we see alike."""
    conf_d = Path(cluster.data_directory, "conf.d")
    conf_d.mkdir()
    if SERVER_USER is not None:
        os.chown(conf_d, SERVER_USER.uid, SERVER_USER.gid)
    with Path(cluster.data_directory, "postgresql.conf").open("a") as file:
        file.write("include_dir 'conf.d'\n")
    cluster.start()
    cluster.wait_until_started()
    before = read(cluster)
    query = "SELECT sourcefile FROM pg_file_settings WHERE name = 'x.y'"
    (conf_d / "new.conf").write_text("x.y = 1\n")
    assert (
        [str(conf_d / "new.conf")] == rows(cluster, query) == list(read(cluster).digests.keys() - before.digests.keys())
    )
    (conf_d / "new.conf").unlink()
    assert rows(cluster, query) == []
    assert read(cluster) == before
