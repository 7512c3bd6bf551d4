"""Permissions of another user: what he may do with a path, found out without becoming him.

The mode bits tell, nearly always. Where they say no, access control lists or capabilities may still say yes, so
then the kernel is asked, by a program that runs as that user.
"""

from __future__ import annotations

import os
from pathlib import Path

from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run

_TESTS = {os.R_OK: "-r", os.W_OK: "-w", os.X_OK: "-x"}


def may(who: User | None, path: str, wanted: int) -> bool:
    """Tell whether a user (None: we ourselves) may do something with a path that exists.

    `wanted` is os.R_OK, os.W_OK or os.X_OK (execute a program, enter a directory), one of them.
    """
    if who is None or who.uid == os.geteuid():
        return os.access(path, wanted, effective_ids=True)
    real = Path(path).resolve()
    if all(_bits_allow(who, parent, os.X_OK) for parent in real.parents) and _bits_allow(who, real, wanted):
        return True
    return run(["test", _TESTS[wanted], path], environment=os.environ, run_as=who).returncode == 0


def _bits_allow(who: User, path: Path, wanted: int) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return False
    if facts.st_uid == who.uid:
        allowed = facts.st_mode >> 6
    elif facts.st_gid in who.groups:
        allowed = facts.st_mode >> 3
    else:
        allowed = facts.st_mode
    return bool(allowed & wanted)
