"""Servers whose log is in no file of their own: in the journal, with the daemon's own log, or nowhere."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemons import LIMIT, Site, installation_number
from journald import accepted, beside, need_namespaces, real_journald, standing_in
from servers import reason

from pgsupervisor.system import journal

READY = "database system is ready to accept connections"

SEND = """
import os
import subprocess
import sys
from pgsupervisor.system.journal import Journal, entry
os.setgid(65534)
os.setuid(65534)
Journal().send(entry({"SYSLOG_IDENTIFIER": "large", "MESSAGE": "large\\n" + "x" * 2**22}))
"""
"""A program that sends an entry too large for a datagram, as a user whom journald trusts with no other file."""


def outputs(pid: int) -> set[str]:
    """Return where a process writes to."""
    return {os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)}


def descriptors(pid: int, what: str) -> list[str]:
    """Return by which descriptors a process has something open."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has been closed meanwhile
            if os.readlink(each) == what:
                found.append(each.name)
    return found


def refused(site: Site, name: str) -> tuple[int, str]:
    """Ask for a log, and return what pgsupctl says."""
    finished = site.pgsupctl("logs", name)
    return finished.returncode, finished.stderr


def test_with_the_daemons_own(site: Site) -> None:
    """A server that inherits the daemon's standard error writes into it itself, also after an upgrade."""
    site.add("shop", logfile="inherit")
    daemon = site.run()
    (pipe,) = outputs(site.pid("shop"))
    daemon.wait_for_log(now="RUNNING")
    assert sum(READY in line for line in daemon.lines) == 1
    assert refused(site, "shop") == (
        1,
        "pgsupctl: the log inherit cannot be read: it goes to the daemon's standard error\n",
    )
    assert site.pgsupctl("daemon", "upgrade").returncode == 0
    site.order("Restart", "shop")
    daemon.wait_for_log(2, now="RUNNING")
    assert sum(READY in line for line in daemon.lines) == 2
    assert outputs(site.pid("shop")) == {pipe}
    assert descriptors(daemon.pid, pipe) == ["2"]
    assert not site.logfile("shop").exists()


def test_nowhere(site: Site) -> None:
    """What a server says that has no log is lost, and that is told."""
    site.add("shop", installation_number(1), logfile="none")
    daemon = site.run()
    assert outputs(site.pid("shop")) == {"/dev/null"}
    assert refused(site, "shop") == (
        1,
        "pgsupctl: the log none cannot be read: it is thrown away; choose another `logfile` to have it\n",
    )
    assert not any(READY in line for line in daemon.lines)
    assert not site.logfile("shop").exists()


@pytest.mark.parametrize(
    ("word", "where"),
    [
        ("inherit", "goes to the daemon's standard error"),
        ("none", "is thrown away; choose another `logfile` to have it"),
    ],
)
def test_the_last_words(site: Site, word: str, where: str) -> None:
    """Why a server ended is not known to us then, but it is said where that is to be found."""
    data_directory = site.add("shop", logfile=word, start_retries=0)
    (data_directory / "pg_hba.conf").write_text("nonsense\n")
    site.start()
    found = site.wait_for_state("shop", "FATAL")
    assert str(found["reason"]).startswith(f"exited with status 1; its log {where}")


class TestAJournal:
    """The journal, or somebody in its place."""

    @pytest.fixture(autouse=True)
    def _namespaces(self) -> None:
        """Have what a journal of the test's own is made with."""
        need_namespaces()

    @pytest.fixture
    def sockets(self, site: Site) -> Path:
        """The directory in which the daemon looks for journald."""
        path = site.directory / "journal"
        path.mkdir()
        return path

    def test_into_the_journal(self, site: Site, sockets: Path) -> None:
        """A server writes into a stream of its own, which nobody else holds: it ends with the server."""
        site.add("shop", logfile="journal")
        with standing_in(sockets) as server:
            daemon = site.launch(through=beside(sockets))
            with accepted(server) as lines:
                header = [next(lines) for _ in range(7)]
                assert header == ["pgsupervisor/shop\n", "\n", "6\n", "0\n", "0\n", "0\n", "0\n"]
                assert any(READY in line for line in lines)
                assert site.pgsupctl("daemon", "upgrade").returncode == 0
                daemon.wait_for_log(event="daemon upgraded")
                assert refused(site, "shop") == (
                    1,
                    "pgsupctl: the log journal cannot be read: it is in the journal: journalctl -t pgsupervisor/shop\n",
                )
                site.order("Stop", "shop")
                assert "database system is shut down" in list(lines)[-1]

    def test_no_journald(self, site: Site, sockets: Path) -> None:
        """Without a journald there is no server, and it is said what to do; when it comes, it is started."""
        site.add("shop", logfile="journal", restart_delay="10ms", restart_max_delay="10ms", start_retries=0)
        site.launch(through=beside(sockets)).wait_for_log(event="daemon started")
        why = f"{journal.STREAM}: No such file or directory; start systemd-journald, or choose another `logfile`"
        assert reason(site, "journal").startswith(f"cannot write the log to the journal: {why}")
        with standing_in(sockets) as server, accepted(server) as lines:
            site.wait_for_state("shop", "RUNNING")
            assert any(READY in line for line in lines)

    def test_the_last_words(self, site: Site, sockets: Path) -> None:
        """It is said where in the journal a server's last words are to be found."""
        data_directory = site.add("shop", logfile="journal", start_retries=0)
        (data_directory / "pg_hba.conf").write_text("nonsense\n")
        with standing_in(sockets) as server:
            site.launch(through=beside(sockets))
            with accepted(server) as lines:
                assert "FATAL: " in "".join(lines)
            found = site.wait_for_state("shop", "FATAL")
        said = "exited with status 1; its log is in the journal: journalctl -t pgsupervisor/shop"
        assert str(found["reason"]).startswith(said)

    def test_a_daemon_without_a_standard_error(self, site: Site, sockets: Path) -> None:
        """Where there is no standard error to inherit, no other file of the daemon's is taken for it."""
        site.add("blog", logfile="inherit")
        site.add("shop", logfile="journal")
        with standing_in(sockets) as server:
            daemon = site.launch(through=(*beside(sockets), "sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
            with accepted(server):
                site.order("Start", "all")
                assert outputs(site.pid("blog")) == {"/dev/null"} == outputs(daemon.pid)
                assert site.pgsupctl("daemon", "upgrade").returncode == 0
                site.order("Restart", "blog")
                assert outputs(site.pid("blog")) == {"/dev/null"} == outputs(daemon.pid)

    def test_the_real_one(self, site: Site) -> None:
        """With systemd-journald itself, journalctl finds a server's log, and all that is said of a cluster."""
        site.add("shop", logfile="journal")
        with real_journald(site.directory) as journald:
            daemon = site.launch(through=journald.as_a_unit)
            entry = journald.wait_for("shop: state changed: STARTING -> RUNNING", "PGSUPERVISOR_CLUSTER=shop")
            facts = {"PRIORITY": "6", "SYSLOG_IDENTIFIER": "pgsupervisord", "PGSUPERVISOR_EVENT": "state changed"}
            assert facts.items() <= entry.items()
            assert journald.wait_for(READY, "-t", "pgsupervisor/shop")["_TRANSPORT"] == "stdout"
            subprocess.run([*journald.through, sys.executable, "-c", SEND], check=True, timeout=LIMIT)
            assert journald.wait_for("large", "-t", "large")["MESSAGE"] == "large\n" + "x" * 2**22
            site.call("StopDaemon")
            assert daemon.wait() == (0, "")
            journald.wait_for("database system is shut down", "-t", "pgsupervisor/shop")
            journald.wait_for("daemon stopped", "PGSUPERVISOR_EVENT=daemon stopped")
