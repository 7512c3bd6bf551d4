"""Files that lose their beginning: where that is possible, and how it is told that it has happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.system.collapse import block_size, collapses, first_block, take_off


@pytest.fixture
def disk_file(tmp_path: Path) -> Iterator[int]:
    """A file of three blocks, a's, b's and c's, that can lose its beginning."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    if not collapses(descriptor):
        os.close(descriptor)
        pytest.skip("this file system cannot take off the beginning of a file")
    os.write(descriptor, b"".join(letter * block_size(descriptor) for letter in (b"a", b"b", b"c")))
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def memory_file() -> Iterator[int]:
    """A file on a file system that takes off no beginnings."""
    descriptor = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)
    yield descriptor
    os.close(descriptor)


def test_to_ask_changes_nothing(disk_file: int) -> None:
    """Whether a file can lose its beginning is asked of it without a change, be it full or empty."""
    block = block_size(disk_file)
    assert collapses(disk_file)
    assert os.pread(disk_file, 4 * block, 0) == b"a" * block + b"b" * block + b"c" * block
    os.ftruncate(disk_file, 0)
    assert collapses(disk_file)
    assert os.fstat(disk_file).st_size == 0


def test_a_file_that_cannot(memory_file: int) -> None:
    """Where the file system cannot do it, that is told, and to try it is an error."""
    os.write(memory_file, b"x" * 8192)
    assert not collapses(memory_file)
    with pytest.raises(OSError, match="not supported"):
        take_off(memory_file, 4096)
    assert os.fstat(memory_file).st_size == 8192


def test_what_follows_moves_up(disk_file: int) -> None:
    """Whole blocks go, what is behind them is first; a part of a block does not go, nor does all of a file."""
    block = block_size(disk_file)
    take_off(disk_file, block)
    assert os.pread(disk_file, 4 * block, 0) == b"b" * block + b"c" * block
    for size in (100, 2 * block):
        with pytest.raises(OSError, match="Invalid argument"):
            take_off(disk_file, size)
    assert os.pread(disk_file, 4 * block, 0) == b"b" * block + b"c" * block


def test_another_block_is_the_first(disk_file: int) -> None:
    """A file begins where it did as long as it only grows, and elsewhere as soon as its beginning is gone."""
    block = block_size(disk_file)
    before = first_block(disk_file)
    assert before % block == 0 < before
    os.lseek(disk_file, 0, os.SEEK_END)
    os.write(disk_file, b"d" * block)
    assert first_block(disk_file) == before
    take_off(disk_file, block)
    assert first_block(disk_file) not in {0, before}


def test_no_first_block(disk_file: int, memory_file: int) -> None:
    """A file without a byte begins nowhere, and one that is on no disk begins where nobody can tell."""
    os.ftruncate(disk_file, 0)
    os.write(memory_file, b"x")
    assert [first_block(disk_file), first_block(memory_file)] == [0, 0]


def test_a_file_that_is_not_open() -> None:
    """That there is no such file is no answer, but an error."""
    descriptor = os.open("/dev/shm", os.O_RDWR | os.O_TMPFILE, 0o600)
    os.close(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        collapses(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        first_block(descriptor)
