"""Acting as another user: a thread of root's does to files what that user could do, and no more.

Whoever owns a directory decides what the names in it lead to, and can exchange them at any moment: for a symbolic
link, a hard link, another directory. Root who opens a file there has no way to be sure; so root does not. A thread
takes the other user's place for as long as it works on his files, and is refused whatever he would be.

For the kernel each thread has an identity of its own, though libc has it look as if the process had one: its setuid(2)
asks all threads to follow. So the system calls are made here without libc, as file servers such as Samba do it. What
changes is the effective user and group, by which files are accessed, and the other groups; with a user who is not root
all capabilities go. The real and the saved user stay root. That is the way back; it also keeps the other user from
sending us signals and from tracing us (kill(2), ptrace(2)), and a file system of his own (FUSE) from being entered.

A program gets no such way back: it is started by the thread as itself, and is the other user for good (`process`).
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import errno
import os
import pwd
import sys
import threading
import time
from types import TracebackType

from pgsupervisor.values import frozen

# A codec is a module, loaded when it is first asked for; a thread that acts might not be allowed to read it.
for _codec in ("ascii", "utf-8"):
    codecs.lookup(_codec)


@frozen
class User:
    """An OS user that programs run as: name, ids, home directory, and all groups (initgroups(3))."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


NOBODY = User("nobody", 65534, 65534, (), "/")
"""Who has no rights but everybody's: the kernel's own number for that (overflowuid in proc_sys_kernel(5))."""


_REMEMBERED = 1.0
"""Seconds for which a user is not looked up again: at boot one and the same has hundreds of clusters, and to ask for
his groups takes 200 system calls where systemd knows users as well (nss-systemd(8)).
"""

_FILES = ("/etc/passwd", "/etc/group")
"""Where this machine's own users are; others are on some server."""

_users: dict[str | int, tuple[float, object, User]] = {}
"""Who was looked up last, when, and which files there were then, by what was asked for."""


def user(name_or_uid: str | int) -> User:
    """Return an OS user by name or by number, as this machine knows him now, or a server knew him a second ago.

    Raises KeyError if the user database does not know him.
    """
    now, files = time.monotonic(), _files()
    if (found := _users.get(name_or_uid)) is not None:
        looked_up, then, known = found
        if now - looked_up < _REMEMBERED and then == files:
            return known
    known = _look_up(name_or_uid)
    _users[name_or_uid] = now, files, known
    return known


def _files() -> object:
    """Return what tells whether the files with users have been changed."""
    with contextlib.suppress(OSError):
        return [(facts.st_ino, facts.st_mtime_ns) for facts in map(os.stat, _FILES)]
    return object()  # who knows; it is as no other


def _look_up(name_or_uid: str | int) -> User:
    entry = pwd.getpwnam(name_or_uid) if isinstance(name_or_uid, str) else pwd.getpwuid(name_or_uid)
    groups = tuple(sorted(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


@frozen
class _Calls:
    """The numbers of system calls on some kind of machine (asm/unistd.h)."""

    setgroups: int
    setresuid: int
    setresgid: int


_GENERIC = _Calls(setgroups=159, setresuid=147, setresgid=149)

_MACHINES = {
    "x86_64": _Calls(setgroups=116, setresuid=117, setresgid=119),
    "aarch64": _GENERIC,
    "loongarch64": _GENERIC,
    "riscv64": _GENERIC,
    "ppc64le": _Calls(setgroups=81, setresuid=164, setresgid=169),
    "s390x": _Calls(setgroups=206, setresuid=208, setresgid=210),
}

_UNCHANGED = ctypes.c_long(-1)

_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2

_libc = ctypes.PyDLL(None, use_errno=True)
"""libc; no other thread of ours takes a turn while it is called: what is called here is done in a microsecond, unless
somebody traces or audits us."""

_machine = os.uname().machine if sys.maxsize > 1 << 32 else ""
"""What the numbers are looked up by; a 32-bit program has others."""


@frozen
class _Identity:
    """Who accesses files: the effective user and group, and the other groups.

    The `death_signal` is what a thread gets when its parent ends, or 0. With the user, the kernel takes it away
    (PR_SET_PDEATHSIG in prctl(2)); a container's first process may live by it.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    death_signal: int


class _Thread(threading.local):
    """What is known of the present thread: as whom it acts, and who it is."""

    def __init__(self) -> None:
        self.acting: User | None = None
        self.itself: _Identity | None = None
        self.before: list[User | None] = []  # as whom it goes on, each time that it is done with something as another


_thread = _Thread()


def acting() -> User | None:
    """Return the user as whom this thread acts; None if it does not."""
    return _thread.acting


def our_uid() -> int:
    """Return the number of the user that the process is, also while this thread acts as another."""
    return os.geteuid() if _thread.itself is None else _thread.itself.uid


class _Turn(contextlib.ContextDecorator):
    """A while in which the thread that enters it is somebody else; afterwards it is who it was before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _go_on_as(_thread.before.pop())


class acting_as(_Turn):  # noqa: N801 - it is used as a verb
    """Do what follows in this thread as another user. None, or one who is no other, changes nothing.

    To be used where nothing is awaited and no thread is started: that one would act, too.

    Raises OSError if we may not, being neither root nor that user.
    """

    def __init__(self, who: User | None) -> None:
        self._who = who

    def __enter__(self) -> None:
        before = _thread.acting
        if self._who is not None and self._who.uid != os.geteuid():
            try:
                _be(self._who)
            except OSError:
                _go_on_as(before)
                raise
        _thread.before.append(before)


class as_ourselves(_Turn):  # noqa: N801 - it is used as a verb
    """Do what follows in this thread as the user that the process is, though the thread may be acting.

    It is for what no other user has a hand in, such as /proc.
    """

    def __enter__(self) -> None:
        before = _thread.acting
        if before is not None:
            _be(None)
        _thread.before.append(before)


def _go_on_as(before: User | None) -> None:
    """Be again who this thread was before; what it does next, it must do as him, or not at all."""
    if before is not _thread.acting:
        try:
            _be(before)
        except OSError:
            os.abort()


def _be(who: User | None) -> None:
    if _thread.itself is not None:
        _return(_thread.itself)
    if who is None:
        return
    itself = _Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()), _death_signal())
    try:
        calls = _calls()
        _set_groups(calls, who.groups)  # if that is refused, nothing is to be taken back
    except OSError as error:
        raise _refused(who, error) from error
    try:
        _call(calls.setresgid, _UNCHANGED, ctypes.c_long(who.gid), _UNCHANGED)
        _call(calls.setresuid, _UNCHANGED, ctypes.c_long(who.uid), _UNCHANGED)
        _die_with_parent_by(itself.death_signal)
    except OSError as error:
        _return(itself)
        raise _refused(who, error) from error
    _thread.acting, _thread.itself = who, itself


def _return(itself: _Identity) -> None:
    """Be oneself again."""
    try:
        calls = _calls()
        # With the user come the capabilities for the rest (capabilities(7)).
        _call(calls.setresuid, _UNCHANGED, ctypes.c_long(itself.uid), _UNCHANGED)
        _call(calls.setresgid, _UNCHANGED, ctypes.c_long(itself.gid), _UNCHANGED)
        _set_groups(calls, itself.groups)
        _die_with_parent_by(itself.death_signal)
    except OSError:
        # Whatever this thread did next, it would do as somebody else. The servers run on without us.
        os.abort()
    _thread.acting = _thread.itself = None


def _refused(who: User, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot act as the user {who.name}: {error.strerror}")


def _death_signal() -> int:
    found = ctypes.c_int()
    if _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(found), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot learn what comes when our parent ends")
    return found.value


def _die_with_parent_by(number: int) -> None:
    if number and _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot be told again when our parent ends")


def _calls() -> _Calls:
    try:
        return _MACHINES[_machine]
    except KeyError:
        why = f"on {os.uname().machine}, root does not know how to act as another user: run pgsupervisor as that user"
        raise OSError(errno.ENOSYS, why) from None


def _set_groups(calls: _Calls, groups: tuple[int, ...]) -> None:
    _call(calls.setgroups, ctypes.c_long(len(groups)), (ctypes.c_uint * len(groups))(*groups))


def _call(number: int, *arguments: ctypes.c_long | ctypes.Array[ctypes.c_uint]) -> None:
    if _libc.syscall(ctypes.c_long(number), *arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
