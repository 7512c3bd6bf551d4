"""Inventories that are refused, in words that say where, what, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventories import PG, SHOP, load_fixed, refusal, write

from pgsupervisor.errors import InventoryError

DURATION = 'it must be a duration: a number of seconds, or a string such as "500ms", "10s" or "2min"'
SIZE = 'it must be a size: a number of bytes, or a string such as "512kB", "64MB" or "1GB"'
NAME = 'it must be a name of at most 63 letters, digits, ".", "_" and "-", not beginning with "." or "-", and not "all"'
LOGFILE = 'it must be the path of a file, "journal", "inherit" or "none"'
VALUE = "it must be a string of one line, a number, true or false"
NOT_THERE = (
    "may hold a password, and would be on the server's command line, which everybody can read; "
    "write it into postgresql.conf instead, or have libpq read a passfile"
)
LONG = "x" * 64
KEYS = (
    "installation, init, user, settings, environment, config_file, logfile, logfile_maxbytes, "
    "logfile_backups, logfile_compress, memory_max, cpu_weight, tasks_max, priority, watch, "
    "reload_delay, autostart, restart, "
    "restart_delay, restart_max_delay, start_retries, restart_limit, stable_after, stop_mode, "
    "stop_timeout, allow, data_directory, port"
)


MISTAKES = {
    "a misspelt key": (
        SHOP + 'data_dir = "x"',
        'clusters.shop.data_dir: unknown key "data_dir"; did you mean "data_directory"?',
    ),
    "no share of the CPU": (
        SHOP + "cpu_weight = 0",
        "clusters.shop.cpu_weight: is 0; it must be a whole number from 1 to 10000",
    ),
    "a forgotten unit": (
        SHOP + "memory_max = 512",
        "clusters.shop.memory_max: must be 0, for no limit, or at least 16MB, which the smallest server needs",
    ),
    "a forgotten unit in the defaults": (
        "[defaults]\nmemory_max = 512\n" + SHOP,
        "defaults.memory_max: must be 0, for no limit, or at least 16MB, which the smallest server needs",
    ),
    "an unknown key": (
        "[installations.pg]\nfoo = 1",
        'installations.pg.foo: unknown key "foo"; known are: pg_config, bindir, embedded',
    ),
    "a misspelt table": (
        "[cluster.shop]",
        'cluster: unknown key "cluster"; did you mean "clusters"?',
    ),
    "an unknown table": (
        "[x]",
        'x: unknown key "x"; known are: installations, clusters, include, daemon, defaults',
    ),
    "no data directory": (
        PG + '[clusters.shop]\ninstallation = "pg"',
        "clusters.shop.data_directory: is missing; it must be the path of a directory",
    ),
    "no installation": (
        '[clusters.shop]\ndata_directory = "shop"',
        "clusters.shop.installation: is missing; it must be the name of an [installations.NAME]",
    ),
    "a misspelt installation": (
        '[installations.pg15]\nembedded = true\n[clusters.shop]\ndata_directory = "shop"\ninstallation = "pg51"',
        'clusters.shop.installation: no installation is named "pg51"; did you mean "pg15"?',
    ),
    "an unknown installation": (
        '[installations.pg15]\nembedded = true\n[clusters.shop]\ndata_directory = "shop"\ninstallation = "debian"',
        'clusters.shop.installation: no installation is named "debian"; known are: pg15',
    ),
    "no installations at all": (
        '[clusters.shop]\ndata_directory = "shop"\ninstallation = "pg"',
        'clusters.shop.installation: no installation is named "pg"; none is defined',
    ),
    "a default installation that is not there": (
        '[defaults]\ninstallation = "x"\n' + PG + '[clusters.shop]\ndata_directory = "shop"',
        'defaults.installation: no installation is named "x"; known are: pg',
    ),
    "two kinds of installation": (
        '[installations.pg]\nbindir = "/x"\nembedded = true',
        "installations.pg: needs exactly one of pg_config, bindir, embedded = true",
    ),
    "an installation of nothing": (
        "[installations.pg]\nembedded = false",
        "installations.pg: needs exactly one of pg_config, bindir, embedded = true",
    ),
    "a string for a number": (
        SHOP + 'port = "5432"',
        'clusters.shop.port: is "5432"; it must be a port number from 1 to 65535',
    ),
    "a port that is none": (
        SHOP + "port = 65536",
        "clusters.shop.port: is 65536; it must be a port number from 1 to 65535",
    ),
    "a port of a fraction": (
        SHOP + "port = 54.32",
        "clusters.shop.port: is 54.32; it must be a port number from 1 to 65535",
    ),
    "a string for a boolean": (
        SHOP + 'autostart = "yes"',
        'clusters.shop.autostart: is "yes"; it must be true or false',
    ),
    "a number for a boolean": (
        SHOP + "watch = 1",
        "clusters.shop.watch: is 1; it must be true or false",
    ),
    "another word for a choice": (
        SHOP + 'restart = "on_failure"',
        'clusters.shop.restart: is "on_failure"; it must be "on-failure", "always" or "never"',
    ),
    "two choices": (
        '[daemon]\non_exit = "kill"',
        'daemon.on_exit: is "kill"; it must be "stop" or "leave"',
    ),
    "a duration without a number": (
        SHOP + 'stop_timeout = "long"',
        f'clusters.shop.stop_timeout: is "long"; {DURATION}',
    ),
    "an unknown unit": (
        SHOP + 'reload_delay = "1m"',
        f'clusters.shop.reload_delay: is "1m"; {DURATION}',
    ),
    "a negative duration": (
        SHOP + "restart_delay = -1",
        f"clusters.shop.restart_delay: is -1; {DURATION}",
    ),
    "no time to stop": (
        SHOP + "stop_timeout = 0",
        "clusters.shop.stop_timeout: must be longer than 0: it is the time that a server has to stop in peace",
    ),
    "delays the wrong way round": (
        SHOP + 'restart_delay = "2min"',
        "clusters.shop.restart_max_delay: must not be shorter than restart_delay, which is 120 seconds",
    ),
    "a default that does not go with a cluster's own": (
        "[defaults]\nrestart_max_delay = 1\n" + SHOP + "restart_delay = 2",
        "defaults.restart_max_delay: must not be shorter than restart_delay, which is 2 seconds",
    ),
    "an unknown size": (
        SHOP + 'logfile_maxbytes = "50 megabytes"',
        f'clusters.shop.logfile_maxbytes: is "50 megabytes"; {SIZE}',
    ),
    "a negative count": (
        SHOP + "start_retries = -1",
        "clusters.shop.start_retries: is -1; it must be a whole number, 0 or more",
    ),
    "a list that is none": (
        SHOP + 'allow = "alice"',
        'clusters.shop.allow: is "alice"; it must be a list',
    ),
    "a user that is none": (
        SHOP + 'allow = ["alice", "@"]',
        'clusters.shop.allow[1]: is "@"; it must be the name of a user, or of a group as @NAME',
    ),
    "root": (
        SHOP + 'user = "root"',
        'clusters.shop.user: is "root"; it must be the name of an OS user other than root, whom PostgreSQL refuses',
    ),
    "a path that is none": (
        SHOP + 'config_file = ""',
        'clusters.shop.config_file: is ""; it must be the path of a file',
    ),
    "a home that nobody has": (
        SHOP + 'logfile = "~nobody-at-all/x"',
        f'clusters.shop.logfile: is "~nobody-at-all/x"; {LOGFILE}',
    ),
    "a log that is no text": (
        SHOP + "logfile = []",
        f"clusters.shop.logfile: is a list; {LOGFILE}",
    ),
    "a mode without quotes": (
        "[daemon]\nsocket_mode = 660",
        'daemon.socket_mode: is 660; it must be a file mode, octal and in quotes, such as "0660"',
    ),
    "a mode that is none": (
        '[daemon]\nsocket_mode = "0999"',
        'daemon.socket_mode: is "0999"; it must be a file mode, octal and in quotes, such as "0660"',
    ),
    "no concurrency": (
        "[daemon]\nstart_concurrency = 0",
        "daemon.start_concurrency: is 0; it must be a whole number, 1 or more",
    ),
    "a table that is none": (
        "daemon = true",
        "daemon: is true; it must be a table",
    ),
    "a cluster that is none": (
        '[clusters]\nshop = "x"',
        'clusters.shop: is "x"; it must be a table',
    ),
    "a cluster called all": (
        '[clusters.all]\ndata_directory = "x"',
        f'clusters.all: is "all"; {NAME}',
    ),
    "a name with a space": (
        PG + '[clusters."my shop"]\ninstallation="pg"\ndata_directory = "x"',
        f'clusters."my shop": is "my shop"; {NAME}',
    ),
    "a name that is too long": (
        PG + f'[clusters.{LONG}]\ninstallation="pg"\ndata_directory = "x"',
        f'clusters.{LONG}: is "{LONG}"; {NAME}',
    ),
    "a dot in a bare name": (
        PG + '[clusters.shop.eu]\ndata_directory = "x"',
        f'clusters.shop.eu: unknown key "eu"; known are: {KEYS}',
    ),
    "an installation with a bad name": (
        '[installations."-x"]\nembedded = true',
        f'installations.-x: is "-x"; {NAME}',
    ),
    "port as a setting": (
        SHOP + "settings = { Port = 5432 }",
        'clusters.shop.settings.Port: is no setting to give; use the key "port" of the cluster',
    ),
    "data_directory as a setting": (
        SHOP + 'settings = { data_directory = "/x" }',
        'clusters.shop.settings.data_directory: is no setting to give; use the key "data_directory" of the cluster',
    ),
    "config_file as a default setting": (
        '[defaults]\nsettings = { config_file = "/x" }',
        'defaults.settings.config_file: is no setting to give; use the key "config_file" of the cluster',
    ),
    "a setting twice": (
        SHOP + 'settings = { work_mem = "1MB", Work_Mem = "2MB" }',
        'clusters.shop.settings.Work_Mem: is the same setting as "work_mem"',
    ),
    "a setting with a bad name": (
        SHOP + 'settings = { "shared buffers" = 1 }',
        'clusters.shop.settings."shared buffers": is "shared buffers"; it must be the name of a setting of PostgreSQL',
    ),
    "a setting of three parts": (
        SHOP + "settings = { a.b.c = 1 }",
        f'clusters.shop.settings."a.b": is a table; {VALUE}',
    ),
    "a setting of two lines": (
        SHOP + 'settings = { a = "1\\n2" }',
        f'clusters.shop.settings.a: is "1\\n2"; {VALUE}',
    ),
    "a setting that is a list": (
        SHOP + 'settings = { search_path = ["a", "b"] }',
        f"clusters.shop.settings.search_path: is a list; {VALUE}",
    ),
    "a setting that is a date": (
        SHOP + "settings = { a = 2020-01-01 }",
        f"clusters.shop.settings.a: is 2020-01-01; {VALUE}",
    ),
    "settings that are none": (
        SHOP + 'settings = "fsync=off"',
        'clusters.shop.settings: is "fsync=off"; it must be a table',
    ),
    "a variable that is no string": (
        SHOP + "environment = { A = 1 }",
        "clusters.shop.environment.A: must be a string without NUL",
    ),
    "a variable that no environment can have": (
        SHOP + 'environment = { A = "x\\u0000y" }',
        "clusters.shop.environment.A: must be a string without NUL",
    ),
    "a password in a connection string": (
        SHOP + "settings = { primary_conninfo = \"host=a Password = 'x'\" }",
        f"clusters.shop.settings.primary_conninfo: {NOT_THERE}",
    ),
    "a password in a URI": (
        SHOP + 'settings = { Primary_conninfo = "postgresql://alice:x@a/db" }',
        f"clusters.shop.settings.Primary_conninfo: {NOT_THERE}",
    ),
    "a password in a default": (
        '[defaults]\nsettings = { restore_command = "PGPASSWORD=x fetch %f %p" }',
        f"defaults.settings.restore_command: {NOT_THERE}",
    ),
    "a command that tells a password": (
        SHOP + 'settings = { ssl_passphrase_command = "cat /x" }',
        f"clusters.shop.settings.ssl_passphrase_command: {NOT_THERE}",
    ),
    "a secret of an extension": (
        SHOP + "settings = { vault.token = 5 }",
        f'clusters.shop.settings."vault.token": {NOT_THERE}',
    ),
    "a password on two lines": (
        SHOP + 'settings = { primary_conninfo = "host=a\\npassword=x" }',
        f"clusters.shop.settings.primary_conninfo: {NOT_THERE}",
    ),
    "a variable with a bad name": (
        SHOP + 'environment = { "A=B" = "1" }',
        'clusters.shop.environment."A=B": is "A=B"; it must be the name of an environment variable',
    ),
    "a data directory as a default": (
        '[defaults]\ndata_directory = "/x"',
        "defaults.data_directory: belongs to one cluster and cannot be a default",
    ),
    "a port as a default": (
        "[defaults]\nport = 5432",
        "defaults.port: belongs to one cluster and cannot be a default",
    ),
    "a misspelt default": (
        "[defaults]\nauto_start = true",
        'defaults.auto_start: unknown key "auto_start"; did you mean "autostart"?',
    ),
    "an include that is none": (
        'include = "x.toml"',
        'include: is "x.toml"; it must be a list',
    ),
    "an include that is not there": (
        'include = ["x.toml"]',
        "include[0]: there is no file x.toml",
    ),
    "broken TOML": (
        "[clusters.shop]\nport = = 1\n",
        "line 2, column 8: Invalid value",
    ),
    "TOML that ends too early": (
        "[clusters.shop]\nport = ",
        "line 2: Invalid value",
    ),
    "a key twice": (
        SHOP + "port = 1\nport = 2\n",
        "line 7, column 9: Cannot overwrite a value",
    ),
}
"""What an administrator may write, and what is said to it, after the name of the file."""


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake is told with its file, its key, and what to write instead."""
    assert refusal(write(tmp_path, text)) == f"inventory.toml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHOP, "installations.pg: is defined in inventory.toml already"),
        ("[clusters.b]\nport = 0\n", "clusters.b.port: is 0; it must be a port number from 1 to 65535"),
        (
            "[clusters.b]\ninstalation = 0\n",
            'clusters.b.instalation: unknown key "instalation"; did you mean "installation"?',
        ),
        ('include = ["y.toml"]\n', "include: belongs in the main file, inventory.toml"),
        ("[daemon]\n", "daemon: belongs in the main file, inventory.toml"),
        ("[defaults]\n", "defaults: belongs in the main file, inventory.toml"),
        ("x\n", "line 1, column 2: Expected '=' after a key in a key/value pair"),
        (
            '[clusters.b]\ninstallation = "pg"\ndata_directory = "../shop"\n',
            'clusters.b.data_directory: the data directory shop is taken by the cluster "shop" already',
        ),
    ],
)
def test_mistakes_in_an_included_file(tmp_path: Path, text: str, message: str) -> None:
    """A mistake in an included file is told with the name of that file; a name defined twice with both."""
    path = write(tmp_path, 'include = ["conf.d/*"]\n' + SHOP, {"conf.d/x.toml": text})
    assert refusal(path) == f"conf.d/x.toml: {message}"


def test_the_error_has_its_parts(tmp_path: Path) -> None:
    """What shows an error in its own way finds file, key and reason apart."""
    path = write(tmp_path, PG + '[clusters."a.b"]\nsettings = { "x y" = 1 }')
    with pytest.raises(InventoryError) as caught:
        load_fixed(path)
    error = caught.value
    assert (error.path, error.key) == (path, 'clusters."a.b".data_directory')
    assert error.why == "is missing; it must be the path of a directory"


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is a mistake like any other."""
    assert refusal(str(tmp_path / "none.toml")) == "none.toml: does not exist; write it, or name another"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """An included file that cannot be read is named."""
    path = write(tmp_path, 'include = ["conf.d/*"]\n')
    (tmp_path / "conf.d" / "x.toml").mkdir(parents=True)
    assert refusal(path) == "conf.d/x.toml: cannot be read: Is a directory"


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Another encoding is told with the line."""
    path = write(tmp_path, "")
    (tmp_path / "inventory.toml").write_bytes(b"# one\n# M\xfcller\n")
    assert refusal(path) == "inventory.toml: line 2: not UTF-8, which TOML asks for"


def test_a_number_beyond_all_measure(tmp_path: Path) -> None:
    """A number that Python refuses to read is a mistake in the file, not a traceback."""
    assert refusal(write(tmp_path, "a = " + "9" * 5000)).startswith("inventory.toml: line 1: ")


def test_a_value_nested_without_end(tmp_path: Path) -> None:
    """What is nested deeper than Python reads is a mistake of the file's, too."""
    assert refusal(write(tmp_path, f"include = {'[' * 5000}")) == "inventory.toml: nested too deeply"
