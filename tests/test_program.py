"""The program that is executed in our place: tried out before, and refused without a trace."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from servers import python

from pgsupervisor.daemon.program import Program, handed_over
from pgsupervisor.errors import UpgradeError


def test_a_trial() -> None:
    """The program gets our arguments, one more, the document, our directory; what it prints is the version."""
    code = "import os, sys; assert sys.argv[1:] == ['x', '--trial']; print(sys.stdin.read(), os.getcwd())"
    assert Program(sys.executable, ("-c", code, "x")).try_out(b"document") == f"document {os.getcwd()}"


def test_a_trial_that_fails() -> None:
    """What the program said last is why."""
    with pytest.raises(UpgradeError, match="would not start: ZeroDivisionError: division by zero"):
        Program(sys.executable, ("-c", "1/0")).try_out(b"")


def test_no_interpreter() -> None:
    """An interpreter that is gone is told."""
    with pytest.raises(UpgradeError, match="/nowhere cannot be executed: No such file or directory"):
        Program("/nowhere", ()).try_out(b"")


def test_what_cannot_be_executed_leaves_no_trace() -> None:
    """If the kernel refuses, every descriptor is as it was, no signal is blocked, and nothing is open."""
    read, write = os.pipe()
    leaking = os.dup(read)
    os.set_inheritable(leaking, True)  # noqa: FBT003  # the standard library's
    before, opened = signal.pthread_sigmask(signal.SIG_BLOCK, ()), os.listdir("/proc/self/fd")
    try:
        with pytest.raises(UpgradeError, match="/nowhere cannot be executed: No such file or directory"):
            Program("/nowhere", ()).execute(b"", [write])
        assert [os.get_inheritable(each) for each in (read, write, leaking)] == [False, False, True]
        assert (signal.pthread_sigmask(signal.SIG_BLOCK, ()), os.listdir("/proc/self/fd")) == (before, opened)
    finally:
        for descriptor in (read, write, leaking):
            os.close(descriptor)


def test_what_is_executed() -> None:
    """It has the document, once, the descriptors that it was to have, and no others."""
    code = """
import os, sys
from pgsupervisor.daemon.program import Program, handed_over
given = handed_over()
if given is None:
    kept, leaking = os.dup(2), os.dup(2)
    os.set_inheritable(leaking, True)
    Program.own().execute(b"document %d" % kept, [kept])
print(given.decode(), handed_over(), *sorted(map(int, os.listdir("/proc/self/fd"))))
"""
    kept = 3
    finished = python(code)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == f"document {kept} None 0 1 2 {kept} {kept + 1}\n"
    assert handed_over() is None
