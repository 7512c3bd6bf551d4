"""The archives of a log: which files they are, how they are numbered, compressed, opened and removed."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from disks import needs_mount, small_disk
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.system import archives

TEXT = b"".join(b"line %d\n" % number for number in range(1000))


def fill(directory: Path, files: Mapping[str, bytes]) -> str:
    """Write files, and return the path of the log among them."""
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return str(directory / "log")


def contents(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in directory.iterdir()}


def plain_names(*names: str) -> dict[str, bytes]:
    """Return files that each say their own name."""
    return {name: name.encode() for name in names}


OTHERS = plain_names("log", "log.0", "log.01", "log.x", "log.1.old", "log.1.gz.gz", "log.1.bz2", "log.-1", "log.1 ")
OTHERS |= plain_names("log.", "log.part", "log.\u0661", "xlog.1", "log1", "1", "log.1\n", "other.1")
"""Files whose names are those of no archive of `log`."""


def test_which_files_are_archives(tmp_path: Path) -> None:
    """Those with a number are, up to the first that is free, and of plain and compressed the plain one counts."""
    log = fill(tmp_path, OTHERS | plain_names("log.1", "log.2.gz", "log.3", "log.3.gz", "log.5"))
    assert archives.archives(log) == [str(tmp_path / name) for name in ("log.1", "log.2.gz", "log.3")]
    assert archives.plain(log) == [str(tmp_path / name) for name in ("log.3", "log.1")]


def test_no_archives(tmp_path: Path) -> None:
    """A log may have none, and need not be there, nor its directory."""
    assert archives.archives(str(tmp_path / "log")) == []
    assert archives.archives(str(tmp_path / "no" / "log")) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"log.1": b"a"}, {"log.2": b"a"}),
        ({"log.1": b"a", "log.2.gz": b"b", "log.3": b"c"}, {"log.2": b"a", "log.3.gz": b"b", "log.4": b"c"}),
        ({"log.2": b"b", "log.3": b"c"}, {"log.2": b"b", "log.3": b"c"}),
        ({"log.1": b"a", "log.3": b"c"}, {"log.2": b"a", "log.3": b"c"}),
        (
            {"log.1.gz": b"a", "log.2": b"b", "log.4": b"d"},
            {"log.2.gz": b"a", "log.3": b"b", "log.4": b"d"},
        ),
    ],
)
def test_room_is_made(tmp_path: Path, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    """The number 1 becomes free, the order stays, nothing is overwritten, and a gap is made use of."""
    archives.make_room(fill(tmp_path, {**OTHERS, **before}))
    assert contents(tmp_path) == {**OTHERS, **after}


@given(number=st.integers(0, 12), compressed=st.sets(st.integers(1, 12)), most=st.integers(0, 12))
def test_the_youngest_stay(
    tmp_path_factory: pytest.TempPathFactory, number: int, compressed: set[int], most: int
) -> None:
    """However many there are, room is made in their order, and as many of the youngest stay as shall."""
    directory = tmp_path_factory.mktemp("archives")
    numbers = range(1, number + 1)
    written = {f"log.{each}{'.gz' if each in compressed else ''}": b"%d" % each for each in numbers}
    log = fill(directory, written)
    archives.remove_beyond(log, most)
    assert [Path(path).read_bytes() for path in archives.archives(log)] == list(written.values())[:most]
    archives.make_room(log)
    assert archives.archives(log) == []
    (directory / "log.1").write_bytes(b"0")
    assert [Path(path).read_bytes() for path in archives.archives(log)] == [b"0", *written.values()][: most + 1]


def test_doubles(tmp_path: Path) -> None:
    """What is there plain and compressed stays plain, and nothing else goes."""
    others = {**OTHERS, **plain_names("log.2", "log.3.gz", "log.3.gz.gz")}
    log = fill(tmp_path, {**others, **plain_names("log.1", "log.1.gz")})
    archives.remove_doubles(log)
    assert contents(tmp_path) == {**others, **plain_names("log.1")}


def compressed(log: str) -> str:
    """Compress the first archive of a log, and return the path that it has then."""
    part = os.open(f"{log}.part", os.O_WRONLY | os.O_CREAT, 0o600)
    archives.compress(f"{log}.1", part)
    os.close(part)
    archives.replace_by_compressed(f"{log}.1", f"{log}.part")
    return f"{log}.1.gz"


@pytest.mark.parametrize("text", [TEXT, b"", b"\0" * 5_000_000])
def test_compression(tmp_path: Path, text: bytes) -> None:
    """A compressed archive takes the place of the plain one, is as old, and says the same, to gunzip as well."""
    log = fill(tmp_path, {"log.1": text})
    os.utime(f"{log}.1", ns=(1, 2_000_000_003))
    archive = compressed(log)
    assert os.listdir(tmp_path) == ["log.1.gz"]
    assert os.stat(archive).st_mtime_ns == 2_000_000_003
    assert gzip.decompress(Path(archive).read_bytes()) == text
    with archives.open_archive(archive) as file:
        assert (file.read(), file.seek(10), file.read()) == (text, 10, text[10:])
    assert archives.size_of(archive) == len(text)


def test_a_plain_archive(tmp_path: Path) -> None:
    """A plain one is read as it is."""
    archive = f"{fill(tmp_path, {'log.1': TEXT})}.1"
    with archives.open_archive(archive) as file:
        assert (file.seek(10), file.read()) == (10, TEXT[10:])
    assert archives.size_of(archive) == len(TEXT)


WHOLE = gzip.compress(TEXT)


@pytest.mark.parametrize(
    "damaged",
    [
        b"no gzip at all",
        WHOLE[:5],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
        WHOLE[:100] + b"\xff" * 50 + WHOLE[150:],
        WHOLE[:-8] + bytes(4) + WHOLE[-4:],
        WHOLE[:-4] + struct.pack("<L", 7),
    ],
    ids=["other", "head", "half", "one byte", "changed", "sum", "size"],
)
def test_a_damaged_archive(tmp_path: Path, damaged: bytes) -> None:
    """What was compressed and is damaged is an error that names it, and not the end of the log."""
    archive = f"{fill(tmp_path, {'log.1.gz': damaged})}.1.gz"
    with pytest.raises(gzip.BadGzipFile, match=archive):
        archives.open_archive(archive)


@pytest.mark.parametrize(
    "bomb",
    [
        gzip.compress(bytes(1 << 20))[:-4] + bytes(4),
        gzip.compress(b"") + bytes(1 << 20),
        gzip.compress(b"")[:3] + b"\x08" + bytes(6) + b"x" * (1 << 20),
        gzip.compress(TEXT) * 1000,
    ],
    ids=["longer than it says", "zeros behind it", "a name without an end", "many in one"],
)
def test_a_bomb(tmp_path: Path, bomb: bytes) -> None:
    """An archive that would take much longer to unpack, or more room, than it says is taken for a damaged one."""
    archive = f"{fill(tmp_path, {'log.1.gz': bomb})}.1.gz"
    with pytest.raises(gzip.BadGzipFile, match=archive):
        archives.open_archive(archive)


@needs_mount
def test_no_room_to_unpack(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive is unpacked where others have as much room left as it takes, or not at all."""
    with small_disk(short_directory / "tmp", 8) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
        for megabytes, fits in ((3, True), (5, False)):
            archive = f"{fill(short_directory, {'log.1.gz': gzip.compress(bytes(megabytes << 20))})}.1.gz"
            if fits:
                archives.open_archive(archive).close()
            else:
                with pytest.raises(OSError, match="No space left on device"):
                    archives.open_archive(archive)


def test_what_is_not_compressed(tmp_path: Path) -> None:
    """An archive of 4 GiB stays as it is: compressed, it could not tell its size."""
    log = fill(tmp_path, plain_names("log.1", "log.2", "log.3"))
    os.truncate(f"{log}.2", 1 << 32)
    assert archives.compressible(log) == [f"{log}.3", f"{log}.1"]


def test_an_archive_that_leads_elsewhere(tmp_path: Path) -> None:
    """A symlink is not followed, and a FIFO without another end holds nobody up."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "log.1").symlink_to("secret")
    os.mkfifo(tmp_path / "log.2")
    with pytest.raises(OSError, match="symbolic links"):
        archives.open_archive(str(tmp_path / "log.1"))
    with pytest.raises(OSError, match="symbolic links"):
        archives.size_of(str(tmp_path / "log.1"))
    with pytest.raises(OSError, match="seek"):
        archives.size_of(str(tmp_path / "log.2"))
