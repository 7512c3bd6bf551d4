"""What a server says of its files: what it refuses, and what waits for a restart."""

from __future__ import annotations

import pytest
from asking import add, path, reloaded, restart, start

from pgsupervisor.postgres import Cluster
from pgsupervisor.postgres.probe import Inspection, Mistake, inspect


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """A cluster whose server runs."""
    start(cluster)
    return cluster


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


@pytest.mark.parametrize("relative", [False, True])
def test_another_pg_hba_conf(server: Cluster, relative: bool) -> None:  # noqa: FBT001 - to where the server starts
    """Another pg_hba.conf waits for a restart; taken out again, and where it is in force, nothing does."""
    conf, hba, other = path(server), path(server, "pg_hba.conf"), path(server, "other_hba.conf")
    before = conf.read_text()
    other.write_text(hba.read_text())
    add(server, f"hba_file = '{str(other)[relative:]}'")
    found = reloaded(server)
    assert (found.mistakes, pending(found)) == ((), {"hba_file": str(hba)})
    assert (found.settings["hba_file"].default, found.settings["ident_file"].default) == (
        str(hba),
        str(path(server, "pg_ident.conf")),
    )
    conf.write_text(before)
    assert pending(reloaded(server)) == {}
    add(server, f"hba_file = '{str(other)[relative:]}'")
    restart(server)
    assert pending(reloaded(server)) == {}
