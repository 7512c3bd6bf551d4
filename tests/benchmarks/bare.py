"""What no supervisor can beat: postgres by fork and exec, and nothing more; and `pg_ctl`, as administrators have it.

The bare limit knows nothing of a server but its pidfd. It starts so many at once as is best on this machine, stops all
by SIGINT at the same moment, and starts one again as soon as its pidfd tells of its end, for as long as that fails
(what a postmaster that was killed leaves behind may still be on its way out).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

from benchmarks.answering import LIMIT, Judge, gone
from benchmarks.ground import Ground, Server, server_environment
from machine import SERVER_USER

from pgsupervisor.system.process import _identity

PG_CTL_WIDTH = 8


class Bare:
    """Servers that are our own children."""

    def __init__(self, ground: Ground, judge: Judge) -> None:
        self._ground = ground
        self._judge = judge
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    async def boot(self, width: int) -> float:
        """Start all servers, so many at a time, and return when the last one answered."""
        places = asyncio.Semaphore(width)

        async def start(server: Server) -> float:
            async with places:
                self._start(server)
                return await self._judge.answers(server)

        return max(await asyncio.gather(*map(start, self._ground.servers)))

    def signal(self, number: signal.Signals) -> None:
        """Send all servers a signal; SIGINT tells them to shut down fast."""
        for child in self._children.values():
            child.send_signal(number)

    def reap(self) -> None:
        """Wait for all that were told."""
        for child in self._children.values():
            child.wait(LIMIT)
        self._children.clear()

    async def keep(self) -> None:
        """Start again whichever server ends, until we are cancelled."""
        await asyncio.gather(*map(self._keep, self._ground.servers))

    async def _keep(self, server: Server) -> None:
        while True:
            pidfd = os.pidfd_open(self._children[server.name].pid)
            try:
                await gone(pidfd)
            finally:
                os.close(pidfd)
            self._children[server.name].wait()
            self._start(server)

    def _start(self, server: Server) -> None:
        log = os.open(self._ground.door / f"{server.name}.bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._children[server.name] = subprocess.Popen(
            [self._ground.postgres, "-D", str(server.data_directory)],
            cwd="/",
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **_identity(SERVER_USER),
        )
        os.close(log)


class PgCtl:
    """`pg_ctl -w`, eight at a time, by xargs."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def start(self) -> subprocess.Popen[bytes]:
        """Begin to start all servers."""
        return self._run("start", "-l", f"{self._ground.directory}/{{}}.pg_ctl")

    def stop(self) -> subprocess.Popen[bytes]:
        """Begin to stop all servers."""
        return self._run("stop", "-m", "fast")

    def _run(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        pg_ctl = self._ground.installation.require("pg_ctl")
        where = f"{self._ground.directory}/{{}}"
        process = subprocess.Popen(
            ["/usr/bin/xargs", "-P", str(PG_CTL_WIDTH), "-I{}", pg_ctl, what, "-s", "-w", "-D", where, *options],
            cwd="/",
            env=server_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_identity(SERVER_USER),
        )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write("\n".join(server.name for server in self._ground.servers).encode())
        return process
