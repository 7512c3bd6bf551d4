"""Where to begin to read in a log that is in several files: some lines before the end, or at a moment.

Lines come in the order of time, so a moment is found as a word in a dictionary is: by opening it in the middle.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, TypeAlias

from pgsupervisor.values import frozen

Moment: TypeAlias = Callable[[bytes], float | None]
"""Tells when a line was written, as a Unix time; None if it does not say."""

_BLOCK = 64 * 1024
"""Bytes that are read at a time from the end; and of a line, those in which its end is looked for at a time."""


_MOST = 256 << 20
_FAR = 8 << 20
"""Bytes in which lines are counted from the end, and in which one is looked for that says when it was written. Whoever
owns a log can have a line without an end in it that costs him nothing: a hole."""


@frozen
class Part:
    """A file with a part of a log: the position at which it begins, its size, and what opens it for reading."""

    path: str
    begin: int
    size: int
    open: Callable[[], BinaryIO]

    @property
    def end(self) -> int:
        """The position at which the next part begins."""
        return self.begin + self.size


def last_lines(parts: Sequence[Part], lines: int, most: int | None = None) -> int:
    """Return the position at which the last `lines` lines begin, but no more than the last `most` bytes. Blocks.

    `most` is 256 MiB if it is None. A last line without an end counts. Raises OSError.
    """
    end = parts[-1].end
    earliest = max(parts[0].begin, end - (_MOST if most is None else most))
    wanted = lines
    if lines <= 0:
        return end
    for position, block in _backwards(parts):
        if position + len(block) == end and not block.endswith(b"\n"):
            wanted -= 1
        found = len(block)
        while wanted >= 0 and (found := block.rfind(b"\n", 0, found)) >= 0:
            wanted -= 1
            if wanted < 0:
                return max(earliest, position + found + 1)
        if position <= earliest:
            break
    return earliest


def first_since(parts: Sequence[Part], when: float, moment: Moment) -> int | None:
    """Return the position of the first line that was written at `when` (a Unix time) or later, else of the end. Blocks.

    That of all that there is, if all lines that say so are of that time. None if there are lines, and none of them
    says when it was written. Raises OSError.
    """
    younger: int | None = None  # where the first line of the parts behind is
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number]
        # Of a file that was last written before, all lines are old.
        if number < len(parts) - 1 and os.stat(part.path).st_mtime < when:
            return part.end if younger is None else younger
        with contextlib.closing(part.open()) as file:
            first = next(_moments(file, 0, part.size, moment), None)
            if first is not None and first[0] == 0 and not _end_with_a_line(parts[:number]):
                # What the rest of a line speaks of is not when it was written.
                first = next(_moments(file, 1, part.size, moment), None)
            if first is not None and first[1] < when:
                found = _search(file, first[0] + 1, part.size, when, moment)
                return part.begin + found if found < part.size or younger is None else younger
            younger = younger if first is None else part.begin + first[0]
    if younger is None and parts[-1].end > parts[0].begin:
        return None
    return parts[0].begin


def _end_with_a_line(parts: Sequence[Part]) -> bool:
    """Tell whether the parts end where a line does."""
    for part in reversed(parts):
        if part.size:
            with contextlib.closing(part.open()) as file:
                file.seek(part.size - 1)
                return file.read(1) == b"\n"
    return True


def _search(file: BinaryIO, low: int, size: int, when: float, moment: Moment) -> int:
    """Return the offset of the first line from `low` on that was written at `when` or later, else the `size`.

    Where lines are far apart that say so, it may be that of an earlier line.
    """
    high = size
    while low < high:
        middle = (low + high) // 2
        found = next(_moments(file, middle, high, moment), None)
        if found is not None and found[1] < when:
            low = found[0] + 1
        else:
            high = middle
    return next((offset for offset, _ in _moments(file, low, size, moment)), size if size - low <= _FAR else low)


def _moments(file: BinaryIO, start: int, end: int, moment: Moment) -> Iterator[tuple[int, float]]:
    """Yield offset and moment of each line that begins in a range of a file and says when it was written.

    It ends where none says so for long.
    """
    file.seek(max(0, start - 1))
    far = start + _FAR
    if start:
        _skip_line(file, far)
    while (offset := file.tell()) < min(end, far) and (line := file.readline(_BLOCK)):
        when = moment(line)
        if when is not None:
            yield offset, when
            far = offset + _FAR
        if not line.endswith(b"\n"):
            _skip_line(file, far)


def _skip_line(file: BinaryIO, far: int) -> None:
    while file.tell() < far and (rest := file.readline(_BLOCK)) and not rest.endswith(b"\n"):
        pass


def _backwards(parts: Iterable[Part]) -> Iterator[tuple[int, bytes]]:
    """Yield what is in the parts by blocks, the last first, each with its position."""
    for part in reversed(list(parts)):
        with contextlib.closing(part.open()) as file:
            end = part.size
            while end > 0:
                start = max(0, end - _BLOCK)
                file.seek(start)
                yield part.begin + start, file.read(end - start)
                end = start
