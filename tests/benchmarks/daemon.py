"""This daemon alone, seen from outside: its processor time, its memory, how often it runs, and its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answering import Judge
from benchmarks.ground import Ground
from benchmarks.hosts import Host, end


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon whose servers all answer, `boot` seconds after it was started."""

    process: subprocess.Popen[bytes]
    boot: float

    @property
    def used(self) -> float:
        """Seconds of processor time that it has taken, all of its threads together, to the nanosecond."""
        # The clock of another process (MAKE_PROCESS_CPUCLOCK in linux/posix-timers.h), which has no name in Python.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def memory(self) -> int:
        """Bytes of memory that it has (VmRSS)."""
        return _status(Path(f"/proc/{self.process.pid}"), "VmRSS") * 1024

    @property
    def switches(self) -> int:
        """How often any of its threads was switched to."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        kinds = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
        return sum(_status(thread, kind) for thread in threads for kind in kinds)

    @property
    def threads(self) -> int:
        """How many threads it has."""
        return _status(Path(f"/proc/{self.process.pid}"), "Threads")


def _status(path: Path, key: str) -> int:
    for line in (path / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise KeyError(key)


@contextlib.asynccontextmanager
async def running(host: Host, judge: Judge, ground: Ground) -> AsyncIterator[Running]:
    """Have a daemon whose servers all answer, and end it, and them."""
    began = time.monotonic()
    with host.start() as process:
        try:
            yield Running(process, await judge.all_answer(ground.servers) - began)
        finally:
            await asyncio.to_thread(end, process)


class Caller:
    """A connection to the daemon's socket, on which one question is asked over and over."""

    def __init__(self, ground: Ground, names: list[str]) -> None:
        request = {"method": "io.pgsupervisor.GetStatus", "parameters": {"names": names}}
        self._question = json.dumps(request).encode() + b"\0"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(ground.door / "control"))

    def fileno(self) -> int:
        """Return the connection, which is readable when an answer has come."""
        return self._socket.fileno()

    def ask(self) -> None:
        """Send the question."""
        self._socket.sendall(self._question)

    def hear(self) -> bytes:
        """Read the whole answer."""
        answer = self._socket.recv(1 << 20)
        while not answer.endswith(b"\0"):
            answer += self._socket.recv(1 << 20)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@contextlib.contextmanager
def callers(ground: Ground, count: int, names: list[str]) -> Iterator[list[Caller]]:
    """Have so many connections."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(Caller(ground, names))
            stack.callback(made[-1].close)
        yield made
