"""Our children: those that we started, and those that came to us because their own parent has ended.

A process that ends stays a zombie until its parent asks how it ended, and a process whose parent has ended goes to the
next ancestor that has declared itself a *subreaper*, or else to init (prctl(2), PR_SET_CHILD_SUBREAPER). A daemon that
is to see what a dead server leaves behind declares itself one (`adopt_orphans`), and has to ask for those that come to
it so, too (`reap_orphans`); but not for the children that it started itself: somebody here waits to hear how these
ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

_PR_SET_CHILD_SUBREAPER = 36


class Child(Protocol):
    """A child that we ask for ourselves; `returncode` is None until we have."""

    pid: int
    returncode: int | None


Program = TypeVar("Program", subprocess.Popen[bytes], subprocess.Popen[str])

_ours: list[Child] = []
"""The children that we started and have not asked for yet."""

_forking = threading.Lock()
"""Held while a child is started: until it is among ours, it looks like one that came to us."""

_adopting = threading.Event()
"""Set once orphans come to us."""


def adopt_orphans() -> None:
    """Become the parent of whatever outlives its parent among our descendants; execve(2) does not change that.

    Raises OSError if the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the parent of orphaned processes")
    _adopting.set()


def start(program: Callable[[], Program]) -> Program:
    """Start a child, and know it as ours."""
    with _forking:
        started = program()
        _ours[:] = [*_waited_for(), started]
    return started


def reap_orphans() -> None:
    """Reap the children that have ended and that we did not start; before `adopt_orphans`, there are none.

    To be called when a child has ended (SIGCHLD), and again when one of our own has been reaped: the kernel shows but
    one of those that have ended, and one of our own hides those behind it.
    """
    if not _adopting.is_set():
        return
    with _forking, contextlib.suppress(ChildProcessError):  # no child at all
        ours = {child.pid for child in _waited_for()}
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in ours:
            os.waitid(os.P_PID, ended.si_pid, os.WEXITED | os.WNOHANG)


class Inherited:
    """A child that another program has started in this process: execve(2) keeps children, and subprocess knows none."""

    def __init__(self, pid: int) -> None:
        """Know the child `pid` as ours; nobody else can have its number until it is waited for."""
        self.pid = pid
        self.returncode: int | None = None
        with _forking:
            _ours[:] = [*_waited_for(), self]

    def wait(self) -> int:
        """Wait for its end, and return its exit status; after the signal N it is -N, as subprocess has it.

        Raises ChildProcessError if it is no child of ours.
        """
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _waited_for() -> list[Child]:
    return [child for child in _ours if child.returncode is None]
