"""`pgsupctl config`: settings are looked at, changed and put back, and the server has the last word."""

from __future__ import annotations

import pytest
from daemons import Site
from servers import sql

from pgsupervisor.postgres import Installation


def config(site: Site, *arguments: str) -> tuple[int, str]:
    """Run `pgsupctl config shop`, and return its exit status and all that it says."""
    finished = site.pgsupctl("config", "shop", *arguments)
    return finished.returncode, finished.stdout + finished.stderr


def test_set_and_unset(site: Site, installation: Installation) -> None:
    """A setting that is set is in the file, in force and reported; unset, the default is in force again."""
    data = site.add("shop", installation)
    daemon = site.run()
    path = data / "postgresql.conf"
    assert config(site, "set", "work_mem=7MB") == (0, "shop: RUNNING  applied: work_mem 4MB → 7MB\n")
    lines = path.read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.startswith("work_mem")]
    assert config(site, "get", "work_mem") == (0, f"work_mem\t7MB\t7MB\t{path}:{number}\t\n")
    assert config(site, "unset", "work_mem") == (0, "shop: RUNNING  applied: work_mem 7MB → 4MB\n")
    assert sql(site.cluster("shop"), "show work_mem") == "4MB"
    assert len(daemon.logged(event="reloaded")) == 2


@pytest.mark.parametrize(
    ("assignment", "why"),
    [
        ("work_mem=4XB", 'invalid value for parameter "work_mem": "4XB"'),
        ("wrok_mem=4MB", 'unrecognized configuration parameter "wrok_mem"'),
        ("shared_buffers=1kB", "shared_buffers"),
    ],
)
def test_what_is_refused_is_put_back(site: Site, installation: Installation, assignment: str, why: str) -> None:
    """A value that PostgreSQL refuses is put back byte for byte, with its message, and no server sees it."""
    data = site.add("shop", installation)
    daemon = site.run()
    before = (data / "postgresql.conf").read_bytes()
    status, said = config(site, "set", assignment, "maintenance_work_mem=70MB")
    assert (status, why in said, (data / "postgresql.conf").read_bytes()) == (1, True, before), said
    assert (daemon.logged(event="reloaded"), site.status("shop")["reason"]) == ([], "")


def test_what_is_refused_while_it_does_not_run(site: Site, installation: Installation) -> None:
    """A stopped cluster's settings are judged too, and count when it is started."""
    data = site.add("shop", installation)
    site.run()
    site.order("Stop", "shop")
    before = (data / "postgresql.conf").read_bytes()
    assert (config(site, "set", "work_mem=4XB")[0], (data / "postgresql.conf").read_bytes()) == (1, before)
    assert config(site, "set", "work_mem=7MB") == (0, "shop: STOPPED  written; a server that starts reads it\n")
    site.order("Start", "shop")
    assert sql(site.cluster("shop"), "show work_mem") == "7MB"


def test_mending(site: Site, installation: Installation) -> None:
    """A file with a mistake in it can be mended by `set`, which is refused nothing for what was wrong before."""
    data = site.add("shop", installation, watch=False)
    site.run()
    with (data / "postgresql.conf").open("a") as file:
        file.write("work_mem = 4XB\n")
    assert site.pgsupctl("reload", "shop").returncode == 1
    assert config(site, "set", "work_mem=5MB") == (0, "shop: RUNNING  applied: work_mem 4MB → 5MB\n")
    assert site.status("shop")["reason"] == ""


def test_alter_system_wins(site: Site, installation: Installation) -> None:
    """What ALTER SYSTEM has set cannot be set in postgresql.conf, and that is said, with the way out."""
    site.add("shop", installation)
    site.run()
    sql(site.cluster("shop"), "alter system set work_mem = '9MB'")
    status, said = config(site, "set", "work_mem=5MB")
    assert (status, "ALTER SYSTEM RESET work_mem" in said) == (1, True), said


def test_diff(site: Site, installation: Installation) -> None:
    """What waits for a restart, what was not reloaded, what the inventory overrules: that differs, and nothing else."""
    data = site.add("shop", installation, watch=False, settings={"maintenance_work_mem": "32MB"})
    site.run()
    assert config(site, "diff")[0] == 0
    with (data / "postgresql.conf").open("a") as file:
        file.write("work_mem = 8192kB\nmaintenance_work_mem = 64MB\nmax_connections = 17\n")
    site.pgsupctl("reload", "shop")
    with (data / "postgresql.conf").open("a") as file:
        file.write("log_min_duration_statement = 1s\n")
    status, said = config(site, "diff")
    names = [line.split()[0] for line in said.splitlines()]
    assert (status, names) == (
        1,
        ["log_min_duration_statement", "maintenance_work_mem", "max_connections"],
    ), said


def test_check(site: Site, installation: Installation) -> None:
    """`check` says what would keep the next start from succeeding, with the server still running."""
    data = site.add("shop", installation, watch=False)
    site.run()
    assert config(site, "check") == (0, "ok\n")
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all 10.0.0.0/8 trsut\n")
    status, said = config(site, "check")
    number = len((data / "pg_hba.conf").read_text().splitlines())
    assert (status, said) == (1, f'{data}/pg_hba.conf:{number}: invalid authentication method "trsut"\n')
