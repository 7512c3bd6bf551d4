"""The control socket as a file: one daemon at a time, the right mode from its first moment, no litter.

Whether a daemon is there is told by a lock that the kernel drops with the process (flock(2) on `SOCKET.lock`), so
two daemons that start at the same moment cannot both believe the socket to be stale.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from typing import Self

from pgsupervisor.control.access import peer_of
from pgsupervisor.errors import ControlError, DaemonRunningError

_BACKLOG = 128


class Endpoint:
    """A listening control socket, ours alone until it is closed."""

    def __init__(self, path: str, mode: int, group: int | None, inherited: tuple[int, int] | None = None) -> None:
        """Listen at `path` with the permissions `mode`, for the group with the id `group` if one is given.

        Or go on with the `inherited` descriptors of an endpoint at `path`, if this process had one as another program.
        Raises DaemonRunningError if somebody listens there, ControlError if the place cannot be used.
        """
        self.path = path
        if inherited is not None:
            self.socket, self._lock = socket.socket(fileno=inherited[0]), inherited[1]
            return
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ControlError(f"cannot make the control socket {path}: {error.strerror}") from error
        try:
            self._take_lock()
            _clear_away(path)
            self.socket = _listen(path, mode, group)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def descriptors(self) -> tuple[int, int]:
        """The listening socket and the lock."""
        return self.socket.fileno(), self._lock

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DaemonRunningError(self.path, int(os.pread(self._lock, 20, 0) or 0)) from None
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Stop listening and remove the socket. The lock's file stays: to remove it would let two daemons lock two."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _clear_away(path: str) -> None:
    """Remove a socket that nobody listens at any more; whatever else is there stays."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ControlError(f"{path} is no socket; name another `socket` in the inventory, or move that file away")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003  # the standard library's
        answer = probe.connect_ex(path)
        if answer == 0:
            raise DaemonRunningError(path, peer_of(probe).pid)
    if answer != errno.ECONNREFUSED:
        raise ControlError(f"somebody listens at {path}, and does not answer: {os.strerror(answer)}")
    os.unlink(path)


def _listen(path: str, mode: int, group: int | None) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # bind(2) makes the file with all permissions that the umask leaves: there is no moment with the wrong ones.
    former = os.umask(0o777 & ~mode)
    try:
        listening.bind(path)
        if group is not None:
            os.chown(path, -1, group)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        why = "the path is too long" if error.errno in {None, errno.ENAMETOOLONG} else error.strerror
        raise ControlError(f"cannot make the control socket {path}: {why}") from error
    finally:
        os.umask(former)
    return listening
