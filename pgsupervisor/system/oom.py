"""Whom the kernel ends when memory runs out.

It ends the process with the highest score, which grows with the memory that it uses; oom_score_adj moves it by
thousandths of all the memory there is (proc_pid_oom_score_adj(5)). A process hands its own on to its children.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pgsupervisor.system.identity import as_ourselves

PROTECTED = -900
"""What is given to a process that others depend on. With -1000 it could not be ended at all, and should it be the one
that takes all the memory, everybody else would be ended for it."""


@as_ourselves()
def ordinary() -> int:
    """Return what a process has that is not protected: what we have, unless we are protected ourselves."""
    return max(0, _read("self"))


@as_ourselves()
def lower(pid: int, score: int) -> None:
    """Lower the oom_score_adj of a child of ours that has not been reaped; one that has less is left as it is.

    To go below what was given to us takes CAP_SYS_RESOURCE, which root has as a rule; without it nothing is changed.
    """
    with contextlib.suppress(OSError):
        if _read(str(pid)) > score:
            _file(str(pid)).write_text(str(score), encoding="ascii")


def _read(pid: str) -> int:
    return int(_file(pid).read_text(encoding="ascii"))


def _file(pid: str) -> Path:
    return Path("/proc", pid, "oom_score_adj")
