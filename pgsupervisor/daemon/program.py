"""The program that this process executes: as it is installed now, it is tried out, and then executed in place of us.

execve(2) does not come back. So the new version is tried out first, as a child: it imports what it will need, reads
the inventory, and reads the document that it would be given. Only one that has done so takes over, with the same
interpreter and the same arguments. It finds the document in a file without a name, whose descriptor is told by an
environment variable, as systemd does it with sockets (sd_listen_fds(3)): the command line stays as it was written.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NoReturn, Self

from pgsupervisor.errors import UpgradeError
from pgsupervisor.system import standard
from pgsupervisor.system.process import run
from pgsupervisor.system.signals import HEARD
from pgsupervisor.values import frozen

TRIAL = "--trial"
"""The option with which a program only says its version, if it could go on from the document on its standard input."""

_DOCUMENT = "PGSUPERVISOR_HANDOVER"
"""The environment variable; it is taken out at once."""

_TRIAL_TIME = 30.0
"""Seconds that a program has to be tried out."""


@frozen
class Program:
    """A Python program, as the interpreter that runs it and the arguments of that."""

    interpreter: str
    arguments: tuple[str, ...]

    @classmethod
    def own(cls) -> Self:
        """Return the program that this process was started as."""
        return cls(sys.executable, tuple(sys.orig_argv[1:]))

    def try_out(self, document: bytes) -> str:
        """Return the version of the program that would be executed now; it could go on from this document.

        Blocks. Raises UpgradeError if it cannot do so.
        """
        try:
            directory = os.getcwd()
        except FileNotFoundError as error:
            why = (
                "the directory in which the daemon was started is gone; end it with `daemon stop --leave`, and start it"
            )
            raise UpgradeError(f"{why} in another, where it adopts the servers") from error
        with _file(document) as file:
            try:
                tried = run(
                    [self.interpreter, *self.arguments, TRIAL],
                    environment=os.environ,
                    timeout=_TRIAL_TIME,
                    stdin=file.fileno(),
                    directory=directory,
                )
            except OSError as error:
                raise UpgradeError(f"{self.interpreter} cannot be executed: {error.strerror}") from error
            except subprocess.TimeoutExpired as error:
                raise UpgradeError(f"the installed version takes longer than {error.timeout:g} s to start") from error
        if tried.returncode != 0:
            said = tried.stderr.strip().splitlines() or [f"it ended with status {tried.returncode}"]
            raise UpgradeError(f"the installed version would not start: {said[-1]}")
        return tried.stdout.strip()

    def execute(self, document: bytes, descriptors: Iterable[int]) -> NoReturn:
        """Execute the program in place of this one; all descriptors but these and the standard streams are closed.

        Raises UpgradeError if the kernel refuses; all is as it was then.
        """
        with _file(document) as file, _inherited({*descriptors, file.fileno()}):
            former = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
            try:
                arguments = [self.interpreter, *self.arguments]
                os.execve(self.interpreter, arguments, {**os.environ, _DOCUMENT: str(file.fileno())})  # noqa: S606
            except OSError as error:
                raise UpgradeError(f"{self.interpreter} cannot be executed: {error.strerror}") from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, former)


def handed_over() -> bytes | None:
    """Return the document that was given to us, once; None if this process is no upgrade of another program."""
    descriptor = os.environ.pop(_DOCUMENT, None)
    if descriptor is None:
        return None
    with open(int(descriptor), "rb") as file:
        return file.read()


def _file(document: bytes) -> BinaryIO:
    file = open(os.memfd_create("handover"), "w+b")  # noqa: SIM115  # the caller closes it
    file.write(document)
    file.seek(0)
    return file


@contextlib.contextmanager
def _inherited(descriptors: set[int]) -> Iterator[None]:
    """Have these descriptors inherited by a program that is executed, and no others, whoever opened them."""
    before: dict[int, bool] = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        # That of the listing itself is closed by now.
        with contextlib.suppress(OSError):
            if number >= standard.BEYOND:
                before[number] = os.get_inheritable(number)
                os.set_inheritable(number, number in descriptors)
    try:
        yield
    finally:
        for number, inheritable in before.items():
            os.set_inheritable(number, inheritable)
