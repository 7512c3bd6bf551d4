"""What a rotation finds: leftovers of one that was killed, other people's files, wrong positions, a full disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from disks import needs_mount, small_disk
from logs import BLOCK, TEXT, killed_at, put_together, rotate_all, write

from pgsupervisor.system.archives import archives
from pgsupervisor.system.collapse import collapses, first_block
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.rotation import Rotated, RotatedLog, end_of, parts

XATTR = "user.pgsupervisor.begin"


@pytest.fixture(params=["collapsed", "emptied"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RotatedLog]:
    """A log that is not there yet, where files can lose their beginning, and where they cannot."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as in_memory:
        directory = tmp_path if request.param == "collapsed" else Path(in_memory)
        with open_for_append(str(directory / "probe"), None) as probe:
            if collapses(probe.fileno()) != (request.param == "collapsed"):
                pytest.skip("this file system cannot take off the beginning of a file")
        (directory / "probe").unlink()
        yield RotatedLog(str(directory / "log"))


def names(log: RotatedLog) -> set[str]:
    return set(os.listdir(os.path.dirname(log.path)))


def positions(log: RotatedLog) -> list[tuple[str, int, int]]:
    """Return where each part begins and ends."""
    return [(each.path.removeprefix(log.path), each.begin, each.end) for each in parts(log.path)]


def begin_anew(log: RotatedLog, text: bytes) -> None:
    """Have a log with this text, and nothing beside it."""
    for name in names(log):
        (Path(log.path).parent / name).unlink()
    write(log, text)


def test_killed_with_a_log_that_is_far_too_large(log: RotatedLog) -> None:
    """Who throws a beginning away, since all archives could not hold it, and is killed, leaves nothing twice."""
    for line in count(1):
        begin_anew(log, TEXT[: 6 * BLOCK])
        killed = killed_at(line, lambda: log.rotate(BLOCK, 2))
        log.recover()
        assert TEXT[: 6 * BLOCK].endswith(put_together(Path(log.path)))
        assert positions(log)[-1][2] == 6 * BLOCK
        if not killed:
            break
    assert line > 10


def test_what_is_worth_nothing(log: RotatedLog) -> None:
    """A copy that was not finished goes, and so does the compressed half of two; what is left is what was."""
    write(log, TEXT[: 3 * BLOCK])
    rotate_all(log, BLOCK, 5)
    (there,) = positions(log)[:-1][-1:]
    Path(f"{log.path}.part").write_bytes(TEXT[:100])
    Path(f"{log.path}.1.gz").write_bytes(b"half")
    log.recover()
    assert (put_together(Path(log.path)), positions(log)[-2]) == (TEXT[: 3 * BLOCK], there)
    assert not {"log.part", "log.1.gz"} & names(log)


def leave_copy(log: RotatedLog, text: bytes, block: int) -> None:
    """Leave a whole copy of a log's beginning, which lay at that place on the disk."""
    copy = Path(f"{log.path}.0")
    copy.write_bytes(text)
    os.setxattr(copy, "user.pgsupervisor.block", b"%d" % block)
    os.setxattr(copy, XATTR, b"0")


def test_a_copy_of_what_is_still_there(log: RotatedLog) -> None:
    """A copy that was whole, of a beginning that was not taken off, goes."""
    write(log, TEXT[: 3 * BLOCK])
    with open(log.path, "r+b") as file:
        leave_copy(log, TEXT[:BLOCK], first_block(file.fileno()))
    log.recover()
    assert (names(log), put_together(Path(log.path))) == ({"log"}, TEXT[: 3 * BLOCK])


def test_a_copy_of_what_is_gone(log: RotatedLog) -> None:
    """A copy of a beginning that was taken off becomes the archive, and the log's positions go on behind it."""
    write(log, TEXT[BLOCK : 3 * BLOCK])
    with open(log.path, "r+b") as file:
        leave_copy(log, TEXT[:BLOCK], first_block(file.fileno()) and 4096)
    log.recover()
    assert positions(log) == [(".1", 0, BLOCK), ("", BLOCK, 3 * BLOCK)]
    assert put_together(Path(log.path)) == TEXT[: 3 * BLOCK]


def test_recovery_is_killed_as_well(log: RotatedLog) -> None:
    """Who brings to its end what another had begun, may be killed at that, and at any moment."""

    def killed_when_it_was_cut(line: int) -> bool:
        begin_anew(log, TEXT[: 3 * BLOCK])
        assert killed_at(line, lambda: log.rotate(BLOCK, 5))
        return os.stat(log.path).st_size < 3 * BLOCK

    cut = next(filter(killed_when_it_was_cut, count(1)))
    for line in count(1):
        assert killed_when_it_was_cut(cut)
        killed = killed_at(line, log.recover)
        log.recover()
        assert put_together(Path(log.path)) == TEXT[: 3 * BLOCK]
        assert (positions(log)[0][1], positions(log)[-1][2]) == (0, 3 * BLOCK)
        if not killed:
            break
    assert line > 3


def test_other_peoples_files(log: RotatedLog) -> None:
    """Files with similar names are left as they are, by rotation, compression, removal and recovery."""
    others = {
        *("log.1.old", "log.x", "log.old", "log.00", "log.0.gz", "log.0.1", "log.1.gz.gz", "log.01"),
        *("log.2.gz~", ".log.1", "log-1", "xlog.1", "xlog.0", "log.part.1"),
    }
    for name in others:
        (Path(log.path).parent / name).write_text(name)
    write(log, TEXT[: 5 * BLOCK])
    log.recover()
    rotate_all(log, BLOCK, 3)
    while log.compress():
        pass
    log.recover()
    write(log, TEXT[: 5 * BLOCK])
    rotate_all(log, BLOCK, 1)
    assert {name for name in names(log) if (Path(log.path).parent / name).read_bytes() == name.encode()} == others
    assert names(log) - others == {"log", "log.1"}


@pytest.mark.parametrize(
    "noted", [None, b"", b"nonsense", b"-5", b"1.5", b"0x10", "\u0661".encode(), b"9" * 20, b"9" * 5000]
)
def test_no_position_or_none_that_can_be(log: RotatedLog, noted: bytes | None) -> None:
    """Where the note of the log's first position is missing or nonsense, they begin anew, and are kept from then on."""
    write(log, TEXT[: 2 * BLOCK])
    rotate_all(log, BLOCK, 5)
    if noted is None:
        os.removexattr(log.path, XATTR)
    else:
        _set_noted(log, noted)
    size = os.stat(log.path).st_size
    before = sum(end - begin for _, begin, end in positions(log)[:-1])
    assert (positions(log)[0][1], positions(log)[-1][1:]) == (-before, (0, size))
    write(log, TEXT[2 * BLOCK : 4 * BLOCK])
    rotate_all(log, BLOCK, 5)
    assert positions(log)[-1][2] == size + 2 * BLOCK
    assert put_together(Path(log.path)) == TEXT[: 4 * BLOCK]


def _set_noted(log: RotatedLog, noted: bytes) -> None:
    try:
        os.setxattr(log.path, XATTR, noted)
    except OSError:
        pytest.skip("this file system has no room for such an attribute")


@needs_mount
def test_a_file_system_without_attributes(tmp_path: Path) -> None:
    """Where positions cannot be noted, a log is rotated all the same, and nothing is lost."""
    with small_disk(tmp_path / "disk", 1, kind="ramfs") as disk:
        log = RotatedLog(str(disk.path / "log"))
        write(log, TEXT[: 3 * BLOCK])
        assert rotate_all(log, BLOCK, 5) == [Rotated(f"{log.path}.1", 3 * BLOCK, 0)]
        write(log, TEXT[3 * BLOCK : 4 * BLOCK])
        assert put_together(Path(log.path)) == TEXT[: 4 * BLOCK]
        assert positions(log) == [(".1", -3 * BLOCK, 0), ("", 0, BLOCK)]


@needs_mount
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk(tmp_path: Path, kind: str) -> None:
    """While there is no room, rotation and compression are errors, and lose nothing; when there is, they go on."""
    with small_disk(tmp_path / "disk", 4, kind=kind) as disk:
        log = RotatedLog(str(disk.path / "log"))
        write(log, TEXT[: 5 * BLOCK])
        log.rotate(2 * BLOCK, 9)
        write(log, TEXT[5 * BLOCK : 9 * BLOCK])
        disk.fill()
        for act in (lambda: log.rotate(2 * BLOCK, 9), log.compress, lambda: log.rotate(2 * BLOCK, 9)):
            with pytest.raises(OSError, match="No space left"):
                act()
            for _ in range(2):
                assert put_together(Path(log.path)) == TEXT[: 9 * BLOCK]
                assert {name for name in names(log) if "log" in name} == {"log", "log.1"}
                log.recover()
        disk.free()
        log.rotate(2 * BLOCK, 9)
        assert log.compress()
        assert len(archives(log.path)) == 2
        assert put_together(Path(log.path)) == TEXT[: 9 * BLOCK]
        assert positions(log)[-1][2] == 9 * BLOCK


def test_the_end_of_a_log(log: RotatedLog) -> None:
    """Where a log ends, no rotation changes."""
    write(log, TEXT[: 3 * BLOCK])
    with open_for_append(log.path, None) as file:
        assert end_of(file.fileno()) == 3 * BLOCK
        rotate_all(log, BLOCK, 1)
        assert end_of(file.fileno()) == 3 * BLOCK
        file.write(b"more")
        assert end_of(file.fileno()) == 3 * BLOCK + 4
