"""The control socket as a file: one daemon at a time, the right mode from its first moment, no litter.

Whether a daemon is there is told by a lock that the kernel drops with the process (flock(2) on `SOCKET.lock`), so
two daemons that start at the same moment cannot both believe the socket to be stale.

Whoever can put a socket of his own at that place is who the clients give their orders to. So it is made only where
nobody but root and the daemon's own user could, and nothing is followed, written or removed there that is not ours.
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
from pgsupervisor.system.safepath import make_safe_directory, user_name

_BACKLOG = 128

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


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
            _make_safe(path)
            self._lock = _open_lock(f"{path}.lock")
        except OSError as error:
            raise _cannot_make(path, error.strerror) from error
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
        self.socket.shutdown(socket.SHUT_RDWR)  # for all who have it, so that it is stale
        # What somebody has put there instead is not ours.
        with contextlib.suppress(ControlError, OSError):
            _clear_away(self.path)
        self.socket.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_safe(path: str) -> None:
    """Make the directory of the socket, and make sure that nobody else can change what is there.

    Raises ControlError if somebody can, and OSError.
    """
    if (weak := make_safe_directory(os.path.dirname(path))) is not None:
        raise ControlError(
            f"others could put a socket of theirs at {path}, since {weak.why}; "
            f"{weak.remedy}, or name another `socket` in the inventory"
        )


def _open_lock(path: str) -> int:
    """Open the file of the lock, and make it if it is not there.

    Raises ControlError if something else is there, and OSError.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise _in_the_way(path, os.lstat(path), "the lock of the control socket") from error
        raise
    facts = os.fstat(lock)
    # Under another name, it is a file that was put here when others could still write here.
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_nlink != 1:
        os.close(lock)
        raise _in_the_way(path, facts, "the lock of the control socket")
    return lock


def _clear_away(path: str) -> None:
    """Remove a socket of ours that nobody listens at any more; whatever else is there stays.

    Raises DaemonRunningError if somebody listens there, and ControlError if something else is there.
    """
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise _in_the_way(path, facts, "the control socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003  # the standard library's
        answer = probe.connect_ex(path)
        if answer == 0:
            raise DaemonRunningError(path, peer_of(probe).pid)
    if answer != errno.ECONNREFUSED:
        raise ControlError(f"somebody listens at {path}, and does not answer: {os.strerror(answer)}")
    if facts.st_uid != os.geteuid():
        raise _in_the_way(path, facts, "the control socket")
    os.unlink(path)


def _cannot_make(path: str, why: str | None) -> ControlError:
    return ControlError(
        f"cannot make the control socket {path}: {why}; mend that, or name another `socket` in the inventory"
    )


def _in_the_way(path: str, facts: os.stat_result, what: str) -> ControlError:
    """Return the error for something that is not ours where `what` is to be; `facts` are its own, not a link's end."""
    kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "device")
    there = f"a {kind} with {facts.st_nlink} names" if kind == "file" and facts.st_nlink > 1 else f"a {kind}"
    return ControlError(
        f"{path} is not {what}, but {there} of {user_name(facts.st_uid)}'s; move that away, "
        "or name another `socket` in the inventory"
    )


def _listen(path: str, mode: int, group: int | None) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    # bind(2) makes the file with all permissions that the umask leaves: there is no moment with the wrong ones.
    former = os.umask(0o777 & ~mode)
    try:
        listening.bind(path)
        if group is not None:
            os.chown(path, -1, group, follow_symlinks=False)
        # Until now nobody could connect, whatever his group.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        why = "the path is too long" if error.errno in {None, errno.ENAMETOOLONG} else error.strerror
        raise _cannot_make(path, why) from error
    finally:
        os.umask(former)
    return listening
