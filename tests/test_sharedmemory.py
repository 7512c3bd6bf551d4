"""Who is attached to a System V shared memory segment, by the kernel's own word."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.system.sharedmemory import Segment, attached, in_use, is_attached, may_have_been

_IPC_CREAT, _IPC_EXCL, _IPC_RMID = 0o1000, 0o2000, 0
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p
_LIBC.shmdt.argtypes = [ctypes.c_void_p]


@contextlib.contextmanager
def segment(key: int) -> Iterator[Segment]:
    """Have a segment to which nobody is attached, at a key that no test elsewhere has at the same time."""
    key += os.getpid()
    number = _LIBC.shmget(ctypes.c_int(key), 4096, _IPC_CREAT | _IPC_EXCL | 0o600)
    assert number >= 0, os.strerror(ctypes.get_errno())
    try:
        yield key, number
    finally:
        _LIBC.shmctl(number, _IPC_RMID, None)


@contextlib.contextmanager
def attachment(to: Segment) -> Iterator[None]:
    """Be attached to a segment."""
    address = _LIBC.shmat(to[1], None, 0)
    try:
        yield
    finally:
        assert _LIBC.shmdt(address) == 0


@pytest.mark.parametrize("key", [0x5047_0000, 0x7F00_0000, -0x5047_0000])
def test_attached(key: int) -> None:
    """Whoever is attached is counted, and told by the process; a key may come without its sign."""
    with segment(key) as made:
        key, number = made
        unsigned = (key % 2**64, number)
        assert (attached(made), is_attached(os.getpid(), made)) == (0, False)
        with attachment(made):
            assert [(attached(each), is_attached(os.getpid(), each)) for each in (made, unsigned)] == [(1, True)] * 2
            others = [(key + 1, number), (key, number + 1)]
            assert [(attached(each), is_attached(os.getpid(), each)) for each in others] == [(0, False)] * 2
        assert (attached(made), is_attached(os.getpid(), made)) == (0, False)


@pytest.mark.parametrize("key", [0x5047_0000, 0x7F00_0000, -0x5047_0000])
def test_in_use(key: int) -> None:
    """A segment is found by its key, with its sign or without, while anybody is attached to it."""
    with segment(key) as made:
        key, number = made
        assert in_use(key) is None
        with attachment(made):
            assert [in_use(each) for each in (key, key % 2**64)] == [(key % 2**32, number)] * 2
            assert in_use(key + 1) is None
    assert in_use(key) is None


def test_may_have_been() -> None:
    """A segment to which nobody is attached is here; where such vanish by themselves, any may have been."""
    forced = Path("/proc/sys/kernel/shm_rmid_forced").read_text(encoding="ascii").strip() != "0"
    with segment(0x5047_0000) as made:
        others = [(made[0] + 1, made[1]), (made[0], made[1] + 1)]
        assert [may_have_been(each) for each in (made, *others)] == [True, forced, forced]


def test_nobody() -> None:
    """A process that is not there is attached to nothing."""
    assert is_attached(2**22 + 1, (1, 1)) is False
