"""pgsupctl as a process of its own, with its output going to a pipe or to a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fake_daemon import FakeDaemon, Script

from pgsupervisor.control.protocol import Request

COMMAND = (sys.executable, "-c", "import sys; from pgsupervisor.cli.main import main; sys.exit(main())")

LIMIT = 30
"""Seconds after which something hangs."""


class Finished(NamedTuple):
    """What a run of pgsupctl came to."""

    status: int
    output: str
    errors: str


def environment(**extra: str) -> dict[str, str]:
    """Return an environment in which nothing but `extra` changes what pgsupctl does."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES"}}
    return {**kept, "TERM": "xterm", "LC_ALL": "C.UTF-8", "TZ": "UTC", **extra}


def pgsupctl(*arguments: str, env: Mapping[str, str] | None = None) -> Finished:
    """Run pgsupctl with pipes."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode())


def asked(path: str, scripts: Mapping[str, Script], *arguments: str) -> tuple[list[Request], Finished]:
    """Run pgsupctl against a fake daemon, and return what it asked and what it came to."""
    with FakeDaemon(path, scripts) as daemon:
        finished = pgsupctl("-s", path, *arguments)
    return daemon.requests, finished


@contextlib.contextmanager
def started(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """Start pgsupctl, and see to it that it does not outlive the test."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=environment(), stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def pgsupctl_on_terminal(
    *arguments: str, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None
) -> Finished:
    r"""Run pgsupctl with its standard output on a terminal of that size; its line ends come as \n."""
    master, slave = pty.openpty()
    with open(master, "rb", buffering=0) as screen:
        termios.tcsetwinsize(slave, (lines, columns))
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=subprocess.PIPE,
        )
        os.close(slave)
        with process:
            seen = b"".join(_until_closed(screen.fileno()))
            _, errors = process.communicate(timeout=LIMIT)
    return Finished(process.returncode, seen.decode().replace("\r\n", "\n"), errors.decode())


def _until_closed(master: int) -> Iterator[bytes]:
    """Yield what is written on a terminal until nobody has it open: Linux says so by EIO."""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            yield data
