"""Namespaces: how much of the machine is seen from here.

A container has process ids of its own, and as a rule System V shared memory of its own (namespaces(7)). Whoever is
outside sees the processes in it too, under other numbers than they have inside. Whoever is inside sees nothing of what
is outside, nor of other containers: that a number belongs to no process here proves nothing there.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from pgsupervisor.system.identity import as_ourselves
from pgsupervisor.system.process import facts

_OUTERMOST = "pid:[4026531836]"
"""The name of the namespace that has all processes of the kernel (PROC_PID_INIT_INO in include/linux/proc_ns.h)."""


@as_ourselves()
def sees_every_process() -> bool:
    """Tell whether we see every process of this kernel, since we are in no container."""
    return os.readlink("/proc/self/ns/pid") == _OUTERMOST


def up_since() -> float:
    """Return when this machine, or the container that we are in, came up, in seconds since the epoch."""
    first = facts(1)
    # Where it may not be looked at, nobody can say that anything happened since.
    return float("inf") if first is None else first.started


@as_ourselves()
def known_as(number: int) -> list[int]:
    """Return the ids, as we see them, of the processes that have the id `number` in their own eyes."""
    # As a rule all are where we are, and to see that is a tenth of the work.
    here = _namespace("self") if len(_numbers("self")) == 1 else None
    return [pid for pid in psutil.pids() if _own_number(pid, here) == number]


def _own_number(pid: int, here: str | None) -> int | None:
    """Return a process's id in its own namespace, the innermost; None if it has ended or is not ours to look at.

    In the namespace that is `here` they are the numbers that /proc has.
    """
    try:
        if here is not None and _namespace(pid) == here:
            return pid
        numbers = _numbers(pid)
    except OSError:
        return None
    # A kernel without such namespaces has but one number for a process.
    return numbers[-1] if numbers else pid


def _numbers(pid: int | str) -> list[int]:
    """Return the ids of a process in the namespace that /proc is of, and in each further in that it is in."""
    status = Path(f"/proc/{pid}/status").read_bytes()
    # As bytes: of all that Python takes for the end of a line in a text, a process can have most in its name.
    lines = [line for line in status.split(b"\n") if line.startswith(b"NSpid:")]
    return [int(number) for number in lines[0].split()[1:]] if lines else []


def _namespace(pid: int | str) -> str | None:
    """Return the name of the namespace that a process is in; None if it has ended or is not ours to look at."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None
