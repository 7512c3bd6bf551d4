"""Logs that are rotated: what is written into them, whoever is killed at that, and what they are, put together.

That is done by a hand that knows nothing of how the archives came to be.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType

from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.rotation import Rotated, RotatedLog

BLOCK = 4096

TEXT = b"".join(b"%08d %s\n" % (number, b"x" * 54) for number in range(1000))
"""A thousand lines of 64 bytes, all different."""


def write(log: RotatedLog, text: bytes) -> None:
    """Write into a log, which is made if it is not there, as a server does."""
    with open_for_append(log.path, None) as file:
        file.write(text)


def rotate_all(log: RotatedLog, most: int, keep: int) -> list[Rotated]:
    """Rotate a log until it is small enough, and return what was done."""
    return list(iter(lambda: log.rotate(most, keep), None))


def killed_at(line: int, work: Callable[[], object]) -> bool:
    """Do work in a process that is ended at the line with this number, as it goes through them; tell whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    lines = count(1)

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object] | None:
        if not frame.f_code.co_filename.endswith(("/rotation.py", "/archives.py")):
            return None
        if event == "line" and next(lines) == line:
            os._exit(9)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        os._exit(0)


def put_together(log: Path) -> bytes:
    """Return all that is in a log and its archives, the oldest first, each in its place by its number alone."""
    found = log.parent.glob(f"{log.name}.[1-9]*")
    numbered = {int(each.name.removeprefix(f"{log.name}.").split(".")[0]): each for each in found}
    return b"".join([*(_content(numbered[number]) for number in sorted(numbered, reverse=True)), log.read_bytes()])


def _content(archive: Path) -> bytes:
    content = archive.read_bytes()
    return gzip.decompress(content) if archive.suffix == ".gz" else content
