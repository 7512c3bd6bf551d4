"""Questions to a running server: what it answers is compared with what it says to others."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from asking import LIMIT, add, path, reloaded, start, who
from servers import psql_arguments, sql

from pgsupervisor.postgres import Cluster, Installation, ProbeError, command
from pgsupervisor.postgres.probe import Running, Written, inspect
from pgsupervisor.postgres.quantity import same
from pgsupervisor.system.process import run

SHOWN_OTHERWISE = {"application_name", "archive_command"}
"""Settings of which a client sees something else than what the server goes by."""


def rename(cluster: Cluster) -> None:
    """Leave the user who runs the server no role of his name, nor one called postgres."""
    sql(cluster, "create role other superuser login")
    for name in {who(cluster), "postgres"}:
        statement = f'alter role "{name}" rename to "former {name}"'
        arguments = psql_arguments(cluster, "-U", "other", "-c", statement)
        assert run(arguments, environment=command.environment(os.environ)).stdout == "ALTER ROLE\n"


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """A cluster whose server runs."""
    start(cluster)
    return cluster


def refused(why: str, cluster: Cluster, patience: float = LIMIT) -> None:
    """See that the server cannot be asked, and why."""
    with pytest.raises(ProbeError) as caught:
        inspect(cluster, patience=patience)
    assert str(caught.value) == why


def test_what_it_goes_by(server: Cluster) -> None:
    """Every setting has the value that SHOW prints, under its name in lower case; the files are told line by line."""
    found = reloaded(server)
    assert found.mistakes == ()
    shown = json.loads(sql(server, "select json_object_agg(lower(name), current_setting(name)) from pg_settings"))
    assert found.settings.keys() == shown.keys()
    differing = {name for name, running in found.settings.items() if running.value != shown[name]}
    assert differing <= SHOWN_OTHERWISE
    rows = json.loads(
        sql(
            server,
            "select json_agg(json_build_array(sourcefile, sourceline, lower(name), setting, applied, error)"
            " order by seqno) from pg_file_settings",
        )
    )
    assert found.written == tuple(Written(*row) for row in rows)
    assert found.settings["shared_buffers"] == Running(
        "shared_buffers", "16MB", "128MB", "2048", "8kB", "integer", "configuration file", pending=False
    )
    assert found.settings["datestyle"].name == "DateStyle"
    assert found.settings["log_file_mode"].default == "0600"


def test_a_value_that_is_no_text(server: Cluster) -> None:
    """Quotes, line ends of all kinds and bytes of no known encoding come through as they are in the file."""
    value = "a''b\"c\\\\d \u2028\x85\udcff{}"
    add(server, f"foo.bar = '{value}'")
    found = reloaded(server)
    assert found.mistakes == ()
    assert found.settings["foo.bar"].value == value.replace("''", "'").replace("\\\\", "\\")
    assert found.written[-1].value == found.settings["foo.bar"].value


def test_what_a_client_says_of_itself(server: Cluster) -> None:
    """Settings that every client changes for itself are told as the files have them."""
    chosen = {
        "application_name": "shop",
        "client_encoding": "LATIN1",
        "client_min_messages": "warning",
        "lc_messages": "C.UTF-8",
        "search_path": "shop, public",
    }
    add(server, "".join(f"{name} = '{value}'\n" for name, value in chosen.items()))
    found = reloaded(server)
    assert {name: found.settings[name].value for name in chosen} == chosen


def test_a_role_of_its_own(server: Cluster) -> None:
    """What an ALTER ROLE hides from us says so."""
    sql(server, "alter role all set work_mem = '3MB'")
    found = inspect(server)
    assert (found.settings["work_mem"].value, found.settings["work_mem"].source) == ("3MB", "global")


def test_no_server(cluster: Cluster) -> None:
    """Where no server runs, nobody is asked."""
    refused("no server runs there, or it has only begun to start", cluster)


def test_shut_out(server: Cluster) -> None:
    """A pg_hba.conf that lets nobody in, or only with a password, is told in the server's words."""
    hba = path(server, "pg_hba.conf")
    name = who(server)
    for rule, why in (
        (
            "reject",
            f'pg_hba.conf rejects connection for host "[local]", user "{name}", database "postgres", no encryption',
        ),
        ("password", "fe_sendauth: no password supplied"),
    ):
        hba.write_text(f"local all all {rule}\n")
        server.reload()
        refused(why, server)


def test_no_role(server: Cluster) -> None:
    """A server that does not know the user who runs it says so."""
    rename(server)
    refused(f'role "{who(server)}" does not exist', server)


def test_no_superuser(server: Cluster) -> None:
    """Who may not see what the files say is told that, and not that they are in order."""
    rename(server)
    arguments = psql_arguments(server, "-U", "other", "-c", f'create role "{who(server)}" login')
    assert run(arguments, environment=command.environment(os.environ)).stdout == "CREATE ROLE\n"
    with pytest.raises(ProbeError, match="permission denied"):
        inspect(server, patience=LIMIT)


def test_no_psql(server: Cluster, short_directory: Path) -> None:
    """An installation without psql cannot ask."""
    bare = Installation({"version": server.installation.version, "bindir": str(short_directory)})
    cluster = Cluster(bare, server.data_directory)
    with pytest.raises(ProbeError, match=f"has no program psql in {short_directory}"):
        inspect(cluster)


def test_no_socket(cluster: Cluster) -> None:
    """A server without a Unix socket is not asked."""
    cluster.settings["unix_socket_directories"] = ""
    cluster.settings["listen_addresses"] = "127.0.0.1"
    cluster.settings["port"] = "57431"
    cluster.start()
    cluster.wait_until_started(LIMIT)
    refused("it has no Unix socket to be asked over (see unix_socket_directories)", cluster)


def test_a_socket_in_the_data_directory(cluster: Cluster) -> None:
    """A socket's directory may be given relative to the data directory."""
    cluster.settings["unix_socket_directories"] = "."
    cluster.start()
    cluster.wait_until_started(LIMIT)
    announced = cluster.announced()
    assert announced is not None
    assert announced.socket_directory == "."
    # Its superuser is called postgres, whoever runs it.
    assert inspect(cluster).settings["unix_socket_directories"].value == "."


def test_a_server_that_hangs(server: Cluster) -> None:
    """A server that does not answer is given up, and not waited for."""
    server.send(signal.SIGSTOP)
    try:
        refused("the server did not answer within 0.5 s", server, patience=0.5)
    finally:
        server.send(signal.SIGCONT)


WORDS = {
    "integer": "0 1 -1 7 010 0x10 1.5 2.5 .5 1e2 64 100 1000 100000 5us 1.5ms 10s 1.5min 1h 1d 30.1GB 1.5kB 4MB 64kB "
    "8192B 1TB 5XB 1mb 1e 08 ten",
    "real": "0 1 -1 0.5 .5 1e-1 1.5 010 0.33333333 1000 5us 1.5ms 10s 1.5min ten 1e",
    "bool": "on off ON true tr t FALSE f yes y no n 1 0 of o 2 maybe",
    "enum": "on off ON true TRUE yes no 1 0 debug archive pglz none 2 maybe",
}
"""Texts to try on settings, by their kind."""

TRY = """
create function pg_temp.made(of text, text) returns text language plpgsql as $$
begin
    perform set_config(of, $2, true);
    return (select setting from pg_settings where name = of);
exception when others then
    return null;
end $$;
select json_agg(json_build_array(name, unit, vartype, tried, pg_temp.made(name, tried)))
from pg_settings, json_array_elements_text('{words}'::json->vartype) tried
where context in ('user', 'superuser')
and name not like 'transaction_%' and name not like '%_timeout' and name not like 'tcp_%'
"""
"""What pg_settings makes of the texts; NULL where the server refuses. Timeouts would come true, and TCP is not ours."""


def test_what_a_text_means(server: Cluster) -> None:
    """A text means the value that the server makes of it, and no other, for every setting that can be tried."""
    words = json.dumps({kind: [*text.split(), f" {text.split()[1]} "] for kind, text in WORDS.items()})
    answer = sql(server, TRY.replace("{words}", words)).removeprefix("CREATE FUNCTION\n")
    tried = json.loads(answer)
    made: dict[str, set[str]] = {}
    for name, _, _, _, value in tried:
        made.setdefault(name, set()).update({value} - {None})
    wrong = [
        (name, text, value, other)
        for name, unit, kind, text, value in tried
        for other in made[name]
        # A word may be another name for a value of some settings only.
        if same(text, other, unit, kind) is not (other == value) and (kind != "enum" or value is not None)
    ]
    assert len(tried) > 1000
    assert wrong == []
