"""Logs of real servers: numbered messages that are written into them, and `pgsupctl logs -f`, which is read."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator

from asking import sql
from daemons import LIMIT, Site
from pgsupctl import started

from pgsupervisor.postgres import Cluster

NUMBERED = re.compile(rb"number-(\d+)-")


def write_numbers(cluster: Cluster, first: int, last: int) -> None:
    """Have a server log a message for each of these numbers."""
    sql(cluster, f"do $$ begin for i in {first}..{last} loop raise log 'number-%-', i; end loop; end $$")


def numbers(text: bytes) -> list[int]:
    """Return the numbers in a log."""
    return [int(number) for number in NUMBERED.findall(text)]


class Following:
    """A `pgsupctl logs -f` that is read by the test; `seen` is what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.seen = b""

    def until(self, text: bytes) -> None:
        """Read lines until one has this text in it."""
        assert self._process.stdout is not None
        limit = threading.Timer(LIMIT, self._process.kill)
        limit.start()
        try:
            while line := self._process.stdout.readline():
                self.seen += line
                if text in line:
                    return
        finally:
            limit.cancel()
            limit.join()
        raise AssertionError(self.seen.decode())


@contextlib.contextmanager
def following(site: Site, *arguments: str) -> Iterator[Following]:
    """Follow logs, from the lines on that are asked for."""
    with started("-s", site.socket, "logs", "-f", *arguments) as process:
        yield Following(process)
