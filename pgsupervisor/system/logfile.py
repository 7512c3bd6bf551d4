"""Log files that a server writes into directly.

The daemon opens the file and hands the descriptor over; from then on the kernel appends what the server writes,
and nobody stands between them. The daemon may hang, die or be upgraded, and no line is lost or delayed by it.
What else is done with it: it is rotated (`rotation`) and read (`logreader`).
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from pgsupervisor.system.archives import GUARDED
from pgsupervisor.system.identity import User


def open_for_append(path: str, owner: User | None) -> BinaryIO:
    """Open a log file for a server to write into, and make it (mode 0640, for `owner`) if it is not there.

    Every write goes to the end of the file, whoever else writes, and however often the file is cut (O_APPEND).
    A symlink at its place is refused.

    Raises OSError.
    """
    with contextlib.ExitStack() as failed:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | GUARDED, 0o640)
        failed.callback(os.close, descriptor)
        if owner is not None and os.fstat(descriptor).st_uid != owner.uid:
            os.fchown(descriptor, owner.uid, owner.gid)
        failed.pop_all()
    return os.fdopen(descriptor, "wb", buffering=0)
