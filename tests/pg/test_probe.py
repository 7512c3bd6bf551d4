"""Questions to a running server: what it answers is compared with what it says to others."""

from __future__ import annotations

import json
import os
import pwd
import signal
from pathlib import Path

import pytest
from servers import psql_arguments, sql

from pgsupervisor.postgres import Cluster, Installation, ProbeError, command
from pgsupervisor.postgres.probe import Inspection, Mistake, Running, Written, inspect
from pgsupervisor.postgres.quantity import same
from pgsupervisor.system.process import run

LIMIT = 60
"""Seconds after which something hangs."""

SHOWN_OTHERWISE = {"application_name", "archive_command"}
"""Settings of which a client sees something else than what the server goes by."""


def start(cluster: Cluster) -> None:
    """Start a server that lets in the user who runs it."""
    cluster.start()
    cluster.wait_until_started(LIMIT)
    if who(cluster) != "postgres":
        sql(cluster, f'create role "{who(cluster)}" superuser login')


def who(cluster: Cluster) -> str:
    """Return the name of the user who runs a server."""
    return pwd.getpwuid(os.geteuid()).pw_name if cluster.run_as is None else cluster.run_as.name


def rename(cluster: Cluster) -> None:
    """Leave the user who runs the server no role of his name."""
    sql(cluster, "create role other superuser login")
    statement = f'alter role "{who(cluster)}" rename to somebody'
    arguments = psql_arguments(cluster, "-U", "other", "-c", statement)
    assert run(arguments, environment=command.environment(os.environ)).stdout == "ALTER ROLE\n"


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """A cluster whose server runs."""
    start(cluster)
    return cluster


def reloaded(cluster: Cluster) -> Inspection:
    """Have the server read its files again, and ask it."""
    cluster.reload()
    return inspect(cluster, patience=LIMIT)


def path(cluster: Cluster, name: str = "postgresql.conf") -> Path:
    """Return the path of a file in the data directory."""
    return Path(cluster.data_directory, name)


def add(cluster: Cluster, text: str, name: str = "postgresql.conf") -> int:
    """Add text to a file, and return the number of its first line there."""
    file = path(cluster, name)
    before = file.read_bytes() if file.exists() else b""
    file.write_bytes(before + text.encode("utf-8", "surrogateescape") + b"\n")
    return before.count(b"\n") + 1


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


UNITS = 'Valid units for this parameter are "B", "kB", "MB", "GB", and "TB"'

MISTAKES = {
    "work_memory = 1": ('unrecognized configuration parameter "work_memory"', "work_memory"),
    "work_mem = ": ("syntax error near end of line", None),
    "work_mem = '1MB' x": ('syntax error near token "x"', None),
    "work_mem = '4XB'": (
        f'invalid value for parameter "work_mem": "4XB" ({UNITS})',
        "work_mem",
    ),
    "max_connections = 0": (
        '0 is outside the valid range for parameter "max_connections" (1 .. 262143)',
        "max_connections",
    ),
    "log_min_messages = loud": ('invalid value for parameter "log_min_messages": "loud"', "log_min_messages"),
    "max_connections = none": ('invalid value for parameter "max_connections": "none"', "max_connections"),
    "include 'absent.conf'": (
        'could not open configuration file "{directory}/absent.conf": No such file or directory',
        None,
    ),
    "include_dir 'absent.d'": (
        'could not open configuration directory "{directory}/absent.d": No such file or directory',
        None,
    ),
}
"""Lines that a server does not take, what it has against them, and the setting that this is about."""


@pytest.mark.parametrize("included", [False, True])
def test_mistakes_in_the_settings(server: Cluster, included: bool) -> None:  # noqa: FBT001 - where it is
    """A mistake is told with its file, its line, its name and the server's full words, and only while it is there."""
    name = "more.conf" if included else "postgresql.conf"
    if included:
        add(server, f"include '{name}'")
    good = path(server, name).read_bytes() if path(server, name).exists() else b""
    for text, (why, about) in MISTAKES.items():
        line = add(server, text, name)
        (mistake,) = reloaded(server).mistakes
        told = why.format(directory=server.data_directory)
        assert mistake == Mistake("settings", str(path(server, name)), line, told, about)
        path(server, name).write_bytes(good)
    assert reloaded(server).mistakes == ()


def test_a_reason_that_names_no_setting(server: Cluster) -> None:
    """Where the server says why, but not of what, its words still come to the right line."""
    line = add(server, "work_mem = x\nshared_buffers = '17MB'\nbonjour = on\nport = x")
    assert [(mistake.line, mistake.why) for mistake in reloaded(server).mistakes] == [
        (line, 'invalid value for parameter "work_mem": "x"'),
        (line + 2, "Bonjour is not supported by this build"),
        (line + 3, 'invalid value for parameter "port": "x"'),
    ]


def test_no_postgresql_conf(server: Cluster) -> None:
    """A postgresql.conf that is gone is a mistake of the file as a whole."""
    conf = path(server)
    conf.unlink()
    assert reloaded(server).mistakes == (
        Mistake("settings", str(conf), 0, f'could not open configuration file "{conf}": No such file or directory'),
    )


def test_a_mistake_that_does_not_count(server: Cluster) -> None:
    """The last assignment counts: a value before it may be nonsense, as for the server."""
    add(server, "work_mem = '4XB'\nwork_mem = '5MB'")
    found = reloaded(server)
    assert found.mistakes == ()
    assert [(row.value, row.applied) for row in found.written if row.name == "work_mem"] == [
        ("4XB", False),
        ("5MB", True),
    ]
    assert found.settings["work_mem"].value == "5MB"


def pending(found: Inspection) -> dict[str, str]:
    """Return the values in force of the settings that wait for a restart."""
    return {name: running.value for name, running in found.settings.items() if running.pending}


def test_what_waits_for_a_restart(server: Cluster) -> None:
    """A value, or its absence, that waits for a restart is no mistake; one that is nonsense besides is."""
    text = path(server).read_text()
    add(server, "shared_buffers = '17MB'\nshared_preload_libraries = 'nowhere'")
    found = reloaded(server)
    assert (found.mistakes, pending(found)) == ((), {"shared_buffers": "16MB", "shared_preload_libraries": ""})
    assert {row.name: row.value for row in found.written}["shared_buffers"] == "17MB"

    path(server).write_text(text.replace("max_connections = '20'", ""))
    found = reloaded(server)
    assert (found.mistakes, pending(found)) == ((), {"max_connections": "20"})
    assert found.settings["max_connections"].default == "100"

    path(server).write_text(text)
    line = add(server, "shared_buffers = '17MB'\nmax_connections = 'many'") + 1
    found = reloaded(server)
    assert pending(found)["shared_buffers"] == "16MB"
    why = 'invalid value for parameter "max_connections": "many"'
    assert found.mistakes == (Mistake("settings", str(path(server)), line, why, "max_connections"),)

    path(server).write_text(text)
    found = reloaded(server)
    assert (found.mistakes, pending(found)) == ((), {})


def test_a_restart_that_nobody_told_of(server: Cluster) -> None:
    """The server is taken at its word of what it was told to read: a file that it was not waits for nothing."""
    add(server, "shared_buffers = '17MB'")
    assert pending(inspect(server)) == {}


def test_mistakes_in_pg_hba_conf(server: Cluster) -> None:
    """Mistakes in pg_hba.conf are told with file and line; a rule that can never match is none."""
    hba = path(server, "pg_hba.conf")
    line = add(server, "hostssl all all all trust\nlocal all all trsut", "pg_hba.conf") + 1
    assert reloaded(server).mistakes == (Mistake("hba", str(hba), line, 'invalid authentication method "trsut"'),)


def test_mistakes_in_what_pg_hba_conf_includes(server: Cluster) -> None:
    """A mistake in an included file is told with that file (since version 16)."""
    line = add(server, "include more.conf", "pg_hba.conf")
    more = path(server, "more.conf")
    more.write_text("# nobody\nlocal all\n")
    (mistake,) = reloaded(server).mistakes
    if server.installation.major >= 16:
        assert mistake == Mistake("hba", str(more), 2, "end-of-line before role specification")
    else:
        assert mistake == Mistake("hba", str(path(server, "pg_hba.conf")), line, 'invalid connection type "include"')


def test_no_rules(server: Cluster) -> None:
    """A pg_hba.conf that is empty, cannot be read or is gone is a mistake, and hides no other."""
    hba, ident = path(server, "pg_hba.conf"), path(server, "pg_ident.conf")
    add(server, "work_mem = '1'")
    what = "file" if server.installation.major >= 16 else "configuration file"
    for change, why in (
        (lambda: hba.write_text("# nobody\n"), "contains no entries"),
        (lambda: hba.chmod(0), f"could not open {what}: Permission denied"),
        (hba.unlink, f"could not open {what}: No such file or directory"),
    ):
        change()
        settings, whole, *more = reloaded(server).mistakes
        assert settings.name == "work_mem"
        assert (whole, more) == (Mistake("hba", str(hba), 0, why), [])
    ident.unlink()
    assert [str(mistake).rpartition(": could")[0] for mistake in reloaded(server).mistakes[1:]] == [
        str(hba),
        str(ident),
    ]


def test_mistakes_in_pg_ident_conf(server: Cluster) -> None:
    """Mistakes in pg_ident.conf are told with file and line."""
    line = add(server, "map /( alice", "pg_ident.conf")
    assert reloaded(server).mistakes == (
        Mistake(
            "ident",
            str(path(server, "pg_ident.conf")),
            line,
            'invalid regular expression "(": parentheses () not balanced',
        ),
    )


def test_several_mistakes(server: Cluster) -> None:
    """All mistakes of all files are told at once."""
    add(server, "Work_Mem = 1\nport = x")
    add(server, "local all all trsut\nlocal all", "pg_hba.conf")
    add(server, "map", "pg_ident.conf")
    found = reloaded(server).mistakes
    assert [(mistake.part, mistake.name) for mistake in found] == [
        ("settings", "work_mem"),
        ("settings", "port"),
        ("hba", None),
        ("hba", None),
        ("ident", None),
    ]


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
        with pytest.raises(ProbeError) as caught:
            inspect(server, patience=LIMIT)
        assert str(caught.value).endswith(why)
        assert "\n" not in str(caught.value)


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
    if who(cluster) == "postgres":
        assert inspect(cluster).settings["unix_socket_directories"].value == "."
    else:
        refused(f'role "{who(cluster)}" does not exist', cluster)


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
