"""A client for each cluster, which commits one numbered row after the other and knows which were acknowledged.

It talks with its server through a psql that it keeps, and takes another when that one has lost its connection. A number
is not used again: whether a row was committed whose acknowledgement never came, nobody can know.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from chaos.meanwhile import Meanwhile
from chaos.stage import psql
from daemons import Site

from pgsupervisor.postgres import command

BETWEEN_ROWS = 0.01
BETWEEN_CONNECTIONS = 0.2
"""Seconds for which a client waits, so that eight of them leave the servers some time of the processors."""


class Writer(Meanwhile):
    """Writes to a server, in a thread, as long as it is entered; `acknowledged` are the numbers it can rely on."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__()
        self.acknowledged: set[int] = set()
        self._arguments = arguments
        self._numbers = itertools.count(1)

    def _go_on(self) -> None:
        environment = {**command.environment(os.environ), "PGCONNECT_TIMEOUT": "5"}
        while not self._end.wait(BETWEEN_CONNECTIONS):
            with subprocess.Popen(
                self._arguments,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            ) as session:
                assert session.stdin is not None
                assert session.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    self._write(session.stdin, session.stdout)
                session.kill()

    def _write(self, statements: IO[bytes], answers: IO[bytes]) -> None:
        """Write rows until the server or psql is gone, or there is no end to be waited for any more."""
        while not self._end.wait(BETWEEN_ROWS):
            number = next(self._numbers)
            # The server sends the completion of a statement after the commit (exec_simple_query in postgres.c), and
            # psql prints what was returned after the completion.
            statements.write(b"insert into committed values (%d) returning number;\n" % number)
            if answers.readline() != b"%d\n" % number:
                return
            self.acknowledged.add(number)


@contextlib.contextmanager
def writers(site: Site) -> Iterator[dict[str, Writer]]:
    """Have a writer for each cluster, by its name."""
    made = {name: Writer(psql(site, name)) for name in site.clusters}
    with contextlib.ExitStack() as writing:
        for writer in made.values():
            writing.enter_context(writer)
        yield made
