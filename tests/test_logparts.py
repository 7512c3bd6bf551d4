"""Where to begin to read in a log of several files, against a search that just reads all of it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgsupervisor.system.logparts import Part, first_since, last_lines

LONG = 70_000
"""Bytes of a line that is longer than what is read at a time."""


def moment(line: bytes) -> float | None:
    """Return the time of a line, which is written as `@12;`, wherever in it that stands first."""
    found = re.search(rb"@(\d+);", line[:512])
    return None if found is None else float(found[1])


class Log:
    """A log in several files: `texts`, of which the first begins at the position `begin`."""

    def __init__(self, directory: Path, texts: Sequence[bytes], begin: int = 0) -> None:
        self.whole = b"".join(texts)
        self.begin = begin
        self.ends = [begin + size for size in accumulate(map(len, texts))]
        self.timed = [
            (start, when)
            for start, line in self._lines()
            # Who opens one file does not see what of a line is in the next.
            if (when := moment(line[: min(end for end in self.ends if end > start) - start])) is not None
        ]
        self.parts: list[Part] = []
        self.written: list[float] = []
        for number, (text, end) in enumerate(zip(texts, self.ends, strict=True)):
            path = directory / str(number)
            path.write_bytes(text)
            # An old part was last written when its last line was.
            self.written.append(max((when for start, when in self.timed if start < end), default=10_000))
            os.utime(path, (self.written[-1], self.written[-1]))
            self.parts.append(Part(str(path), end - len(text), len(text), partial(_open, path)))

    def _lines(self) -> list[tuple[int, bytes]]:
        """Return all lines, each with the position at which it begins."""
        lines = io.BytesIO(self.whole).readlines()
        return list(zip(accumulate(map(len, lines), initial=self.begin), lines, strict=False))

    def last_lines(self, lines: int, most: int | None) -> int:
        """Return where the last lines begin."""
        starts = [start for start, _ in self._lines()]
        start = ([self.begin] * lines + [*starts, self.ends[-1]])[-lines - 1]
        return start if most is None else max(start, self.ends[-1] - most)

    def first_since(self, when: float) -> int | None:
        """Return where the lines since a moment begin."""
        for written, end in list(zip(self.written, self.ends, strict=True))[-2::-1]:
            if written < when and not any(start >= end for start, _ in self.timed):
                return end
        if self.whole and not self.timed:
            return None
        if self.timed and self.timed[0][1] >= when:
            return self.begin
        return next((start for start, written in self.timed if written >= when), self.ends[-1])


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


fillers = st.sampled_from(
    [b"", b"x", b"y" * 30, b" @5; long ago", b"z" * 65_500 + b" @5; long ago" * 9, b"a" * (2 * 65536)]
)
untimed = st.sampled_from([b"", b"\t", b"\tmore of it", b"b" * LONG])


@st.composite
def texts(draw: st.DrawFn, *, most: int = 12, all_timed: bool = False) -> list[bytes]:
    """Make the text of a log whose times go up, and cut it into parts at any place."""
    lines, now = [], 100
    for _ in range(draw(st.integers(0, most))):
        now += draw(st.integers(0, 2))
        if all_timed or draw(st.booleans()):
            lines.append(b"%s@%d;%s\n" % (draw(st.sampled_from([b"", b"LOG "])), now, draw(fillers)))
        else:
            lines.append(draw(untimed) + b"\n")
    text = b"".join(lines)
    if text and draw(st.booleans()):
        text = text[: draw(st.integers(0, len(text)))]
    borders = list(accumulate(map(len, lines)))
    border = st.integers(0, len(text)) | st.sampled_from([0, *(each for each in borders if each <= len(text))])
    cuts = sorted(draw(st.lists(border, max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


play = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@play
@given(
    texts=texts(),
    begin=st.sampled_from([0, 7, -20, 10**12]),
    lines=st.integers(0, 14),
    most=st.none() | st.integers(0, 300_000) | st.integers(0, 50),
)
def test_last_lines(tmp_path: Path, texts: list[bytes], begin: int, lines: int, most: int | None) -> None:
    """However a log is cut into files, its last lines begin where they do in all of it, or at the limit."""
    log = Log(tmp_path, texts, begin)
    assert last_lines(log.parts, lines, most) == log.last_lines(lines, most)


@play
@given(texts=texts(), begin=st.sampled_from([0, 7, -20, 10**12]), when=st.integers(98, 128))
def test_first_since(tmp_path: Path, texts: list[bytes], begin: int, when: int) -> None:
    """However a log is cut into files, the first line since a moment is the one that is found in all of it."""
    log = Log(tmp_path, texts, begin)
    assert first_since(log.parts, when, moment) == log.first_since(when)


@play
@given(texts=texts(most=40, all_timed=True), when=st.integers(98, 182))
def test_first_since_among_many(tmp_path: Path, texts: list[bytes], when: int) -> None:
    """The same goes for many lines, some of which have the same time."""
    log = Log(tmp_path, texts)
    assert first_since(log.parts, when, moment) == log.first_since(when)


def test_more_than_there_is(tmp_path: Path) -> None:
    """Who wants more lines than there are gets all; who wants none, or fewer than none, none."""
    log = Log(tmp_path, [b"one\n", b"", b"two\nthr", b"ee"], 100)
    begins = [last_lines(log.parts, lines) for lines in (4, 3, 2, 1, 0, -1)]
    assert begins == [100, 100, 104, 108, 113, 113]


def test_an_empty_log(tmp_path: Path) -> None:
    """A log in which there is nothing begins at its end, be it new or just emptied by a rotation."""
    new = Log(tmp_path, [b""], 5)
    assert (last_lines(new.parts, 3), first_since(new.parts, 7, moment)) == (5, 5)
    emptied = Log(tmp_path, [b"@7;one\n@8;two\n", b""])
    assert last_lines(emptied.parts, 1) == 7
    assert [first_since(emptied.parts, when, moment) for when in (6, 7, 8, 9)] == [0, 0, 7, 14]


def test_no_time_at_all(tmp_path: Path) -> None:
    """A log that does not say when its lines were written has no line since then, and no end of them, either."""
    log = Log(tmp_path, [b"one\n", b"two\n", b""])
    assert first_since(log.parts, 5, moment) is None


def test_a_line_in_two_files(tmp_path: Path) -> None:
    """A line that goes on in the next file begins in the first, and what it speaks of there is not its time."""
    log = Log(tmp_path, [b"@10;one\n@11;two speaks of ", b"@1; and @2;\n@12;three\n@13;four\n"])
    assert [first_since(log.parts, when, moment) for when in (10, 11, 12, 13, 14)] == [0, 8, 38, 48, 57]


def test_a_long_line_that_speaks_of_a_time(tmp_path: Path) -> None:
    """What stands far behind in a line is not its time, though it is not read at once."""
    log = Log(tmp_path, [b"@8;\n@10;" + b"x" * LONG + b"\n" + b"y" * 65_536 + b"@5;\n@11;\n"])
    assert first_since(log.parts, 9, moment) == 4


def test_what_is_old_is_not_opened(tmp_path: Path) -> None:
    """Files before one that was last written before are not looked into."""
    log = Log(tmp_path, [b"@1;one\n", b"@2;two\n", b"@3;three\n"])
    os.unlink(log.parts[0].path)
    assert first_since(log.parts, 3, moment) == 14


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """That a file of a log cannot be read is an error, and not the end of it."""
    log = Log(tmp_path, [b"@1;one\n", b"@3;two\n"])
    os.unlink(log.parts[0].path)
    with pytest.raises(FileNotFoundError):
        last_lines(log.parts, 5)
    with pytest.raises(FileNotFoundError):
        first_since(log.parts, 1, moment)


def with_a_hole(path: Path, before: bytes, size: int, after: bytes) -> Part:
    """Return a part with lines, and between them a line of zeros that takes no room."""
    with path.open("wb") as file:
        file.write(before)
        file.seek(size)
        file.write(after)
    return Part(str(path), 0, path.stat().st_size, partial(_open, path))


@pytest.mark.parametrize("size", [1 << 40, 1 << 42])
def test_a_hole(tmp_path: Path, size: int) -> None:
    """A line without an end, which costs whoever writes it nothing, is not read through, but what is behind is."""
    part = with_a_hole(tmp_path / "1", b"@1;\n@2;\n", size, b"\n@3;\n@4;\n")
    assert [part.end - last_lines([part], lines) for lines in (1, 2, 10)] == [4, 8, 256 << 20]
    assert first_since([part], 0, moment) == 0
    # Within the hole nothing tells whether what is sought comes before or behind.
    assert 4 <= (first_since([part], 3, moment) or 0) <= size + 1
