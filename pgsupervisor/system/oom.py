"""Whom the kernel ends when memory runs out.

It ends the process with the highest score, which grows with the memory that it uses; oom_score_adj moves it by
thousandths of all the memory there is (proc_pid_oom_score_adj(5)). A process hands its own on to its children.
"""

from __future__ import annotations

import contextlib

from pgsupervisor.system.identity import as_ourselves

PROTECTED = -900
"""What is given to a process that others depend on. With -1000 it could not be ended at all, and should it be the one
that takes all the memory, everybody else would be ended for it."""

_LONGEST = 16
"""Bytes that are more than such a number has."""


@as_ourselves()
def ordinary() -> int:
    """Return what a process has that is not protected: what we have, unless we are protected ourselves."""
    with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
        return max(0, int(file.read(_LONGEST)))


@as_ourselves()
def lower(pid: int, score: int) -> None:
    """Lower the oom_score_adj of a child of ours that has not been reaped; one that has less is left as it is.

    To go below what was given to us takes CAP_SYS_RESOURCE, which root has as a rule; without it nothing is changed.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "r+b", buffering=0) as file:
        if int(file.read(_LONGEST)) > score:
            file.write(b"%d" % score)
