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
    return [pid for pid in psutil.pids() if _own_number(pid) == number]


def _own_number(pid: int) -> int | None:
    """Return a process's id in its own namespace, the innermost; None if it has ended or is not ours to look at."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None
    # As bytes: of all that Python takes for the end of a line in a text, a process can have most in its name.
    lines = [line for line in status.split(b"\n") if line.startswith(b"NSpid:")]
    # A kernel without such namespaces has but one number for a process.
    return int(lines[0].split()[-1]) if lines else pid
