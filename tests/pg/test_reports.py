"""What a server made of its files is told, and stays told until it is mended; what would not start is not restarted."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from daemons import Site, held
from machine import SERVER_USER
from servers import append, linked_installation, mended, reason, sql, write

from pgsupervisor.postgres import Cluster, Installation, command
from pgsupervisor.system.process import run

PROMPT = {"reload_delay": "50ms"}


def lines(path: Path) -> int:
    """Return how many lines a file has."""
    return len(path.read_text().splitlines())


def test_a_typo_in_postgresql_conf(site: Site, installation: Installation) -> None:
    """A typo is told with file and line, what was in force stays in force, and nobody restarts into it unknowingly."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    path, pid = data / "postgresql.conf", site.pid("shop")
    good = path.read_text()
    append(path, "work_mem = 6MB\nwrok_mem = 7MB\n")
    said = f'postgresql.conf:{lines(path)} unrecognized configuration parameter "wrok_mem"'
    assert reason(site, "wrok_mem") == said
    ordered = site.pgsupctl("reload", "shop")
    assert (ordered.returncode, said in ordered.stdout) == (1, True), ordered.stdout
    restarted = site.pgsupctl("restart", "shop")
    assert (restarted.returncode, "wrok_mem" in restarted.stdout, "--force" in restarted.stdout) == (1, True, True)
    assert (site.pid("shop"), sql(site.cluster("shop"), "show work_mem")) == (pid, "4MB")
    path.write_text(good + "work_mem = 6MB\n")
    mended(site)
    assert (sql(site.cluster("shop"), "show work_mem"), site.pgsupctl("restart", "shop").returncode) == ("6MB", 0)
    assert site.pid("shop") != pid


def test_a_value_that_is_refused(site: Site, installation: Installation) -> None:
    """A value that cannot be loses only itself; it is told in the server's words, and the rest is applied."""
    data = site.add("shop", installation, **PROMPT)
    daemon = site.run()
    path = data / "postgresql.conf"
    append(path, "work_mem = 4XB\nmaintenance_work_mem = 70MB\n")
    said = reason(site, "work_mem")
    assert said.startswith(f'postgresql.conf:{lines(path) - 1} invalid value for parameter "work_mem": "4XB"'), said
    told = daemon.wait_for_log(event="reloaded", outcome="rejected")
    assert told["changes"] == ["maintenance_work_mem 64MB → 70MB"]
    assert sql(site.cluster("shop"), "show maintenance_work_mem") == "70MB"


def test_a_typo_in_pg_hba_conf(site: Site, installation: Installation) -> None:
    """A typo in pg_hba.conf is told with file and line, the old rules stay, and a restart would lock everybody out."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    path, pid = data / "pg_hba.conf", site.pid("shop")
    good = path.read_text()
    append(path, "host all all 10.0.0.0/8 trsut\n")
    said = f'pg_hba.conf:{lines(path)} invalid authentication method "trsut"'
    assert reason(site, "trsut") == said
    assert said in site.pgsupctl("status").stdout
    refused = site.pgsupctl("restart", "shop")
    assert (refused.returncode, said.partition(" ")[2] in refused.stdout) == (1, True), refused.stdout
    assert (site.pid("shop"), sql(site.cluster("shop"), "select 1")) == (pid, "1")
    path.write_text(good)
    mended(site)


def test_force(site: Site, installation: Installation) -> None:
    """A restart by force goes down with a broken file; the cluster comes up again when the file is mended."""
    data = site.add("shop", installation, start_retries=0, **PROMPT)
    site.run()
    path = data / "pg_hba.conf"
    good = path.read_text()
    append(path, "host all all 10.0.0.0/8 trsut\n")
    forced = site.pgsupctl("restart", "shop", "--force")
    assert (forced.returncode, site.status("shop")["state"]) == (1, "FATAL")
    assert f'{path}:{lines(path)}: invalid authentication method "trsut"' in str(site.status("shop")["reason"])
    path.write_text(good)
    assert site.wait_for_state("shop", "RUNNING")["reason"] == ""


def test_fatal_is_mended_by_the_file(site: Site, installation: Installation) -> None:
    """A cluster that did not start because of its postgresql.conf is tried again when that is saved, and comes up."""
    data = site.add("shop", installation, **PROMPT)
    path = data / "postgresql.conf"
    good = path.read_text()
    append(path, "work_mem = 4XB\n")
    site.start()
    assert "4XB" in str(site.wait_for_state("shop", "FATAL")["reason"])
    path.write_text(good + "work_mem = 5XB\n")
    assert "5XB" in str(site.wait_for("shop", lambda each: each["state"] == "FATAL" and "5XB" in str(each["reason"])))
    path.write_text(good)
    site.wait_for_state("shop", "RUNNING")


def test_pending_restart(site: Site, installation: Installation) -> None:
    """What counts only after a restart is shown with both values until then, also to a daemon that comes later."""
    data = site.add("shop", installation, **PROMPT)
    daemon = site.run()
    before = sql(site.cluster("shop"), "show shared_buffers")
    append(data / "postgresql.conf", "shared_buffers = 24MB\n")
    said = f"pending restart: shared_buffers {before} → 24MB"
    assert reason(site, "pending") == said
    assert site.status("shop")["report"]["pending"] == [{"name": "shared_buffers", "was": before, "now": "24MB"}]  # type: ignore[index]
    assert site.pgsupctl("reload", "shop").stdout == f"shop: RUNNING  {said}\n"
    daemon.end(signal.SIGKILL)
    site.start()
    assert reason(site, "pending") == said
    assert site.pgsupctl("restart", "shop").returncode == 0
    assert (site.status("shop")["reason"], sql(site.cluster("shop"), "show shared_buffers")) == ("", "24MB")


def test_pending_no_more(site: Site, installation: Installation) -> None:
    """What waited for a restart waits no more when the file says again what the server goes by."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    path = data / "postgresql.conf"
    good = path.read_text()
    append(path, "max_connections = 17\n")
    reason(site, "pending")
    path.write_text(good)
    mended(site)


def test_overruled(site: Site, installation: Installation) -> None:
    """What the inventory sets wins over the file, and a change there is told to have no effect."""
    data = site.add("shop", installation, settings={"work_mem": "9MB"}, **PROMPT)
    daemon = site.run()
    append(data / "postgresql.conf", "work_mem = 5MB\nport = 6999\n")
    told = daemon.wait_for_log(event="reloaded")
    assert (told["outcome"], told["overruled"]) == ("applied", ["port", "work_mem"])
    assert (sql(site.cluster("shop"), "show work_mem"), site.status("shop")["reason"]) == ("9MB", "")


def test_who_is_shut_out_is_told_so(site: Site, installation: Installation) -> None:
    """Rules that let nobody in are in force, but unverified: the server cannot be asked, and that is said at once."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    path = data / "pg_hba.conf"
    good = path.read_text()
    path.write_text("local all all reject\n")
    said = reason(site, "unverified")
    assert "pg_hba.conf rejects connection" in said
    ordered = site.pgsupctl("reload", "shop")
    assert (ordered.returncode, "unverified" in ordered.stdout) == (0, True), ordered.stdout
    assert site.pgsupctl("restart", "shop").returncode == 0
    path.write_text(good)
    mended(site)


def test_no_psql(site: Site, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no psql, a server is told to reload and nobody can ask it; that is said, and no failure."""
    data = site.add("shop", installation)
    bare = linked_installation(site, installation, monkeypatch)
    site.declare("shop", data, bare, **PROMPT)
    Path(bare.bindir, "psql").unlink()
    site.run()
    append(data / "postgresql.conf", "work_mem = 7MB\n")
    assert f"has no program psql in {bare.bindir}" in reason(site, "reload unverified")
    ordered = site.pgsupctl("reload", "shop")
    assert (ordered.returncode, ordered.stdout.startswith("shop: RUNNING  unverified:")) == (0, True), ordered.stdout
    assert sql(Cluster(installation, data), "show work_mem") == "7MB"


def start_elsewhere(site: Site, installation: Installation, config_file: Path) -> None:
    """Start the server of the cluster `shop` by hand, with a configuration of its own."""
    options = ["-l", f"{site.directory}/by_hand.log", "-o", f"--port=6000 --config_file={config_file}"]
    finished = run(
        [installation.require("pg_ctl"), "start", "-w", "-D", site.cluster("shop").data_directory, *options],
        environment=command.environment(os.environ, run_as=SERVER_USER),
        run_as=SERVER_USER,
    )
    assert finished.returncode == 0, finished.stdout


def test_a_server_with_another_config_file(site: Site, installation: Installation) -> None:
    """Of a server that goes by another postgresql.conf than the inventory's, nothing is said to be applied."""
    data = site.add("shop", installation, **PROMPT)
    other = write(site.directory / "other.conf", (data / "postgresql.conf").read_text(), data)
    append(other, f"hba_file = '{data}/pg_hba.conf'\nident_file = '{data}/pg_ident.conf'\n")
    start_elsewhere(site, installation, other)
    daemon = site.run()
    said = f"it goes by {other}, and not by {data}/postgresql.conf"
    assert said in reason(site, "reload unverified")
    append(data / "postgresql.conf", "work_mem = 7MB\n")
    told = daemon.wait_for_log(event="reloaded", files=[f"{data}/postgresql.conf"])
    assert (told["outcome"], said in str(told["reason"]), told.get("changes")) == ("unverified", True, None)
    assert daemon.logged(event="reloaded", outcome="applied") == []
    assert site.pgsupctl("restart", "shop").returncode == 0
    assert (site.status("shop")["reason"], sql(site.cluster("shop"), "show work_mem")) == ("", "7MB")


@pytest.mark.parametrize("mistake", ["trsut", "4XB"])
def test_an_update_that_would_not_start(site: Site, installation: Installation, mistake: str) -> None:
    """An update does not restart a server that would not come up again, by its files or by the new inventory."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    pid = site.pid("shop")
    if mistake == "trsut":
        append(data / "pg_hba.conf", "local all all trsut\n")
    site.clusters["shop"]["settings"] = {"work_mem": "5MB" if mistake == "trsut" else mistake}
    site.write()
    updated = site.pgsupctl("update")
    assert (updated.returncode, mistake in updated.stdout, "not restarted" in updated.stdout) == (1, True, True), (
        updated
    )
    assert (site.pid("shop"), site.status("shop")["state"]) == (pid, "RUNNING")
    assert sql(site.cluster("shop"), "show work_mem") == "4MB"


def test_a_crash_is_not_held_back(site: Site, installation: Installation) -> None:
    """A server that crashes is started again whatever its files say; if they keep it down, that is told."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    pid = site.pid("shop")
    append(data / "pg_ident.conf", "one two three four\n")
    append(data / "postgresql.conf", "max_connections = 17\n")
    reason(site, "pending")
    site.cluster("shop").kill()
    again = site.wait_for("shop", lambda each: each["state"] == "RUNNING" and each["pid"] != pid)
    assert (again["restarts"], sql(site.cluster("shop"), "show max_connections")) == (1, "17")


@pytest.mark.parametrize("state", ["STARTING", "STOPPING"])
def test_a_change_on_the_way_is_not_lost(site: Site, installation: Installation, state: str) -> None:
    """What is saved while a server starts or stops counts when it is up."""
    data = site.add("shop", installation, **PROMPT)
    site.run()
    if state == "STOPPING":
        append(data / "postgresql.conf", "work_mem = 5MB\n")
        site.order("Restart", "shop")
    else:
        site.order("Stop", "shop")
        fifo = data.parent / "fifo"
        os.mkfifo(fifo, 0o666)
        fifo.chmod(0o666)
        append(data / "postgresql.conf", f"restore_command = 'test -p {fifo} && cat {fifo} && rm {fifo}; false'\n")
        (data / "recovery.signal").touch()
        assert site.pgsupctl("start", "shop", "--no-wait").returncode == 0
        # Opened as soon as the server asks for the first file of the archive, and waits there.
        with fifo.open("w"):
            assert site.states() == {"shop": "STARTING"}
            append(data / "postgresql.conf", "work_mem = 5MB\n")
        site.daemons[0].wait_for_log(event="reloaded", changes=["work_mem 4MB → 5MB"])
    site.wait_for_state("shop", "RUNNING")
    assert sql(site.cluster("shop"), "show work_mem") == "5MB"


def test_servers_that_hang(site: Site) -> None:
    """Servers that do not answer are unverified in the end, and until then keep no order for another one waiting."""
    hanging = [f"c{number}" for number in range(7)]
    for name in (*hanging, "shop"):
        site.add(name, settings={"shared_buffers": "1MB", "max_connections": "5"})
    daemon = site.run()
    with contextlib.ExitStack() as stopped:
        for name in hanging:
            process = stopped.enter_context(held(site.pid(name)))
            process.signal(signal.SIGSTOP)
            stopped.callback(process.signal, signal.SIGCONT)
        assert site.pgsupctl("reload", "c*", "--no-wait").returncode == 0
        site.order("Stop", "shop")
        site.order("Start", "shop")
        assert daemon.logged(event="reloaded") == []
        for name in hanging:
            told = daemon.wait_for_log(event="reloaded", cluster=name)
            assert (told["outcome"], told["reason"]) == ("unverified", "the server did not answer within 10 s")
