"""A server that logs as fast as it can, while its log is rotated, followed, and the daemon is killed."""

from __future__ import annotations

import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asking import sql
from daemons import Site
from logs import put_together
from pgsupctl import started
from watching import appears

from pgsupervisor.postgres import Installation

LINES = 1_000_000

FLOOD = f"do $$ begin for i in 1..{LINES} loop raise log 'line %', i; end loop; raise log 'last line'; end $$"

TERSE = {"log_error_verbosity": "terse", "log_min_error_statement": "panic", "log_line_prefix": "%m [flood] "}
"""Settings with which a message is one line, of a length that is known."""

NUMBERED = re.compile(rb"LOG:  line (\d+)$", re.MULTILINE)


def test_a_flood(site: Site, installation: Installation) -> None:
    """A million lines through rotations of 10 MB: none is lost or there twice, nor with who follows them.

    The daemon is killed in the middle, and another one goes on.
    """
    site.add("shop", installation, settings=TERSE, logfile_maxbytes="10MB", logfile_backups=100)
    killed = site.run()
    site.wait_for_state("shop", "RUNNING")
    with ThreadPoolExecutor() as threads, started("-s", site.socket, "logs", "shop", "-f", "-n", "1000") as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        followed = threads.submit(_until_last_line, follower)
        flood = threads.submit(sql, site.cluster("shop"), FLOOD)
        killed.wait_for_log(2, event="log rotated")
        killed.process.kill()
        killed.wait()
        site.run()
        flood.result()
        seen = followed.result()
        follower.kill()
    expected = [b"%d" % number for number in range(1, LINES + 1)]
    # What is written fills five archives and no sixth: then nothing is rotated any more.
    appears(Path(f"{site.logfile('shop')}.5"))
    written = put_together(site.logfile("shop"))
    assert NUMBERED.findall(written) == expected
    assert NUMBERED.findall(seen) == expected


def _until_last_line(follower: subprocess.Popen[bytes]) -> bytes:
    assert follower.stdout is not None
    seen = []
    for line in follower.stdout:
        seen.append(line)
        if b"last line" in line:
            break
    return b"".join(seen)


def test_a_daemon_that_hangs(site: Site, installation: Installation) -> None:
    """A daemon that does nothing any more costs a server no line, and no moment: its log needs nobody."""
    site.add("shop", installation, settings=TERSE)
    daemon = site.run()
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        sql(site.cluster("shop"), FLOOD.replace(str(LINES), "10000"))
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert NUMBERED.findall(site.logfile("shop").read_bytes()) == [b"%d" % number for number in range(1, 10_001)]
