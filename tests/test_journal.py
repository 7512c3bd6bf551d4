"""Both protocols of systemd-journald, as a socket of the test's own in its place receives them."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.system.journal import Journal, entry, stream

LIMIT = 30.0
"""Seconds until a wait is given up."""

LARGE = 4 * 1024 * 1024
"""Bytes that no socket takes in one datagram, unless an administrator has seen to it."""


@pytest.fixture
def path(short_directory: Path) -> str:
    """Where journald would listen."""
    return str(short_directory / "journal")


@contextlib.contextmanager
def listening(kind: socket.SocketKind, path: str) -> Iterator[socket.socket]:
    """Listen in the place of journald."""
    with socket.socket(socket.AF_UNIX, kind) as made:
        made.settimeout(LIMIT)
        made.bind(path)
        if kind is socket.SOCK_STREAM:
            made.listen()
        yield made


@contextlib.contextmanager
def sender(path: str) -> Iterator[Journal]:
    """Have somebody who sends entries."""
    made = Journal(path)
    try:
        yield made
    finally:
        made.close()


def received(server: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one datagram, and the descriptors that came along."""
    data, ancillary, flags, _ = server.recvmsg(65536, socket.CMSG_SPACE(4))
    assert not flags
    numbers = array.array("i")
    for _, _, passed in ancillary:
        numbers.frombytes(passed)
    return data, list(numbers)


def test_a_stream(path: str) -> None:
    """Whoever gets a stream as its output writes lines; whose they are is told first. Its writes wait, as on a file."""
    with listening(socket.SOCK_STREAM, path) as server:
        with stream("house/shop", path) as made:
            assert (os.get_blocking(made.fileno()), os.get_inheritable(made.fileno())) == (True, False)
            os.write(made.fileno(), b"one\ntwo\n")
        accepted, _ = server.accept()
        with accepted, accepted.makefile("rb") as lines:
            assert lines.read() == b"house/shop\n\n6\n0\n0\n0\n0\none\ntwo\n"


def test_no_journald(path: str) -> None:
    """Without anybody who takes a stream there is none, and nothing is left open."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        stream("x", path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with pytest.raises(ConnectionRefusedError):
        stream("x", path)
    assert os.listdir("/proc/self/fd") == before


def test_an_entry_as_it_is_sent() -> None:
    """A value of more lines has its size before it, so no line of it is a field; what is no text is readable still."""
    value = "two\nPRIORITY=0"
    assert entry({"MESSAGE": "one = 1", "EMPTY": "", "MORE": value, "UMLAUT": "ä\udcff\ud800"}) == (
        b"MESSAGE=one = 1\nEMPTY=\nMORE\n"
        + struct.pack("<Q", len(value))
        + value.encode()
        + b"\nUMLAUT=\xc3\xa4\\udcff\\ud800\n"
    )


def test_an_entry(path: str) -> None:
    """An entry is one datagram."""
    with listening(socket.SOCK_DGRAM, path) as server, sender(path) as journal:
        journal.send(b"MESSAGE=one\n")
        journal.send(b"MESSAGE=two\n")
        assert [received(server) for _ in range(2)] == [(b"MESSAGE=one\n", []), (b"MESSAGE=two\n", [])]


def test_a_large_entry(path: str) -> None:
    """What no datagram can hold comes as a file that nobody can change any more, and we keep none of it open."""
    large = entry({"MESSAGE": "x" * LARGE})
    with listening(socket.SOCK_DGRAM, path) as server, sender(path) as journal:
        before = os.listdir("/proc/self/fd")
        journal.send(large)
        assert os.listdir("/proc/self/fd") == before
        data, (descriptor,) = received(server)
        with open(descriptor, "rb+", buffering=0) as file:
            assert data == b""
            assert os.pread(descriptor, len(large) + 1, 0) == large
            seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            assert fcntl.fcntl(file, fcntl.F_GET_SEALS) == seals
            with pytest.raises(PermissionError):
                file.write(b"y")


def test_what_nobody_takes_is_lost(path: str) -> None:
    """A journald that is not there, or takes nothing, costs no entry's sender a moment; the next one is tried again."""
    with sender(path) as journal:
        assert journal._socket.gettimeout() == 0
        journal.send(b"MESSAGE=nobody is there\n")
        journal.send(entry({"MESSAGE": "x" * LARGE}))
        with listening(socket.SOCK_DGRAM, path) as server:
            sent = 0
            while not full(path):
                journal.send(b"MESSAGE=%d\n" % sent)
                sent += 1
            journal.send(b"MESSAGE=too much\n")
            journal.send(entry({"MESSAGE": "x" * LARGE}))
            assert [received(server)[0] for _ in range(sent)] == [b"MESSAGE=%d\n" % number for number in range(sent)]
            journal.send(b"MESSAGE=again\n")
            assert received(server)[0] == b"MESSAGE=again\n"
        Path(path).unlink()
        with listening(socket.SOCK_DGRAM, path) as server:
            journal.send(b"MESSAGE=to another\n")
            assert received(server)[0] == b"MESSAGE=to another\n"


def full(path: str) -> bool:
    """Tell whether the socket at a path takes no more, as the kernel tells whoever is connected to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.connect(path)
        return not select.select([], [asking], [], 0)[1]
