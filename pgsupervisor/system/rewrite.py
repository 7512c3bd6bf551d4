"""Change a file so that everybody sees either the old content or the new one, and so that no change is lost.

The new content is written to a temporary file beside the old one, brought to the disk, and renamed over it:
rename(2) is atomic, so neither a reader nor a crash nor a full disk ever meets half a file. Because a rename
puts another inode in the place, a lock on the file itself would protect nothing; the lock is on its directory
(flock(2)), and it covers reading, changing and writing. It holds between threads as well as processes, as each
change opens the directory for itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

Change = Callable[[bytes], bytes]
"""Takes a file's content and returns what it shall be."""


def rewrite(path: str, change: Change) -> None:
    """Let `change` say what the file's content shall be, and write that; if it is the same, nothing is written.

    A symbolic link stays one: the file that it leads to is rewritten. (Another hard link keeps the old content.) Mode
    and extended attributes, which hold the access control lists, are kept, and owner and group as far as we may
    set them, which root may. Blocks while somebody else changes a file of the same directory.

    Raises FileNotFoundError if there is no such file, another OSError if it cannot be written (we need to be
    allowed to write both the file and its directory), and whatever `change` raises. Nothing is changed then.
    """
    real = Path(os.path.realpath(path))
    directory = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX)
        # Opened for writing to be refused a file that we may not write: rename would not ask.
        with real.open("r+b") as old:
            if not stat.S_ISREG(os.fstat(old.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            content = old.read()
            changed = change(content)
            if changed != content:
                _replace(real, changed, partial(_copy_attributes, old.fileno()))
                os.fsync(directory)


def put(path: str, content: bytes, mode: int) -> None:
    """Put a new file at a path, whole and on the disk, in place of whatever file or link is there.

    Raises OSError; what was there stays then.
    """
    _replace(Path(path), content, lambda new: os.fchmod(new, mode))


def _replace(path: Path, content: bytes, give_attributes: Callable[[int], None]) -> None:
    """Rename a new file with `content` over `path`; its descriptor is given attributes before."""
    # The name is one that no include_dir and no shell pattern takes up, should a crash leave it behind.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with contextlib.ExitStack() as failed:
        failed.callback(Path(temporary).unlink)
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
            new.flush()
            give_attributes(descriptor)
            os.fsync(descriptor)
        Path(temporary).rename(path)
        failed.pop_all()


def _copy_attributes(old: int, new: int) -> None:
    """Give the file `new` the owner, group, mode and extended attributes of `old`."""
    status = os.fstat(old)
    try:
        os.fchown(new, status.st_uid, status.st_gid)
    except PermissionError:
        with contextlib.suppress(PermissionError):
            os.fchown(new, -1, status.st_gid)
    # After the owner, because changing that takes bits of the mode away.
    os.fchmod(new, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(OSError):  # a file system may have no extended attributes, and some are not ours to set
        for name in os.listxattr(old):
            os.setxattr(new, name, os.getxattr(old, name))
