"""The daemon's own log, as whoever reads its standard error gets it."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LIMIT = 30.0
"""Seconds until a wait is given up."""

TELL = """
import sys
from pgsupervisor.daemon.reporting import Reporter, logger
from pgsupervisor.supervision.events import Events
log = logger(sys.argv[1], Events(), sys.argv[2])
log.warning("state changed", cluster="shop", was="RUNNING", now="BACKOFF")
try:
    1 / 0
except ZeroDivisionError as error:
    Reporter(log).mistake("shop", error)
"""
"""A program that logs a change of state and a mistake; its arguments are the format and where the journal is."""


def tell(error: int, log_format: str, journal: str, stream: str | None) -> None:
    """Have it told to a standard error, which systemd says is the journal if it is the `stream`."""
    variables = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    if stream is not None:
        variables["JOURNAL_STREAM"] = stream
    arguments = [sys.executable, "-c", TELL, log_format, journal]
    subprocess.run(arguments, cwd=ROOT, env=variables, stderr=error, check=True, timeout=LIMIT)


def named(descriptor: int) -> str:
    """Return what systemd calls a stream."""
    facts = os.fstat(descriptor)
    return f"{facts.st_dev}:{facts.st_ino}"


def text(descriptor: int, size: int = 65536) -> str:
    """Read what is there."""
    return os.read(descriptor, size).decode()


def test_entries_of_the_journal(short_directory: Path) -> None:
    """Where our standard error is the journal's, events come as entries, a mistake with its traceback; nothing else."""
    path = str(short_directory / "journal")
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server, open(read, "rb") as stream:
        server.settimeout(LIMIT)
        server.bind(path)
        tell(write, "auto", path, named(write))
        os.close(write)
        changed, mistake = server.recv(65536).decode(), server.recv(65536)
        assert stream.read() == b""
    assert changed.splitlines() == [
        "MESSAGE=shop: state changed: RUNNING -> BACKOFF",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=pgsupervisord",
        "PGSUPERVISOR_CLUSTER=shop",
        "PGSUPERVISOR_WAS=RUNNING",
        "PGSUPERVISOR_NOW=BACKOFF",
        "PGSUPERVISOR_EVENT=state changed",
    ]
    assert b"mistake in pgsupervisor (where shop)\nTraceback (most recent call last):\n" in mistake
    assert b"\nPRIORITY=3\n" in mistake
    assert b"\nPGSUPERVISOR_EXCEPTION\n" in mistake
    assert mistake.count(b"ZeroDivisionError: division by zero\n") == 2


def test_nobody_takes_the_entries(short_directory: Path) -> None:
    """A journald that is gone does not keep the daemon from anything."""
    read, write = os.pipe()
    tell(write, "auto", str(short_directory / "nobody"), named(write))
    os.close(write)
    with open(read, "rb") as stream:
        assert stream.read() == b""


@pytest.mark.parametrize(("log_format", "ours"), [("auto", False), ("json", False), ("json", True)])
def test_lines_of_json(short_directory: Path, log_format: str, *, ours: bool) -> None:
    """Elsewhere, also if the journal is only that of who started us, or where we are told to, it is JSON."""
    read, write = os.pipe()
    tell(write, log_format, str(short_directory / "nobody"), named(write) if ours else "1:1")
    os.close(write)
    with open(read, "rb") as stream:
        changed, mistake = map(json.loads, stream)
    del changed["timestamp"]
    assert changed == {
        "level": "warning",
        "event": "state changed",
        "cluster": "shop",
        "was": "RUNNING",
        "now": "BACKOFF",
    }
    assert mistake["exception"][0]["exc_type"] == "ZeroDivisionError"


@pytest.mark.parametrize("log_format", ["auto", "console"])
def test_lines_for_people(short_directory: Path, log_format: str) -> None:
    """On a terminal, and where we are told to, there are lines to read."""
    ours, its = pty.openpty() if log_format == "auto" else os.pipe()
    try:
        tell(its, log_format, str(short_directory / "nobody"), named(its) if log_format == "console" else None)
        said = text(ours)
    finally:
        os.close(its)
        os.close(ours)
    assert "state changed" in said.splitlines()[0]
    assert not said.startswith("{")
    assert "ZeroDivisionError: division by zero" in said
