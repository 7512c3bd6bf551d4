"""What a file says, found out once for the same bytes.

A cluster that starts has its configuration read over and over, by each who has to know something of it. Its files are
read anew each time, since they may have changed, but as a rule they have not. What their bytes mean depends on nothing
else, so that can be remembered, and nobody takes a file for what it has been.

It is remembered of few files, of small ones, and of such as say little: whoever owns them decides what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TypeVar

_MOST_FILES = 8
"""As a few clusters have that start at the same time."""

_LARGEST = 48 * 1024
"""The postgresql.conf that initdb makes has some 30 KiB."""

_MOST_SAID = 100

_With = TypeVar("_With", bound=Hashable)
_Said = TypeVar("_Said")


def remembering(read: Callable[[bytes, _With], Iterator[_Said]]) -> Callable[[bytes, _With], Iterable[_Said]]:
    """Make a function that says what `read` says of some bytes, which must be the same whenever it is asked."""

    @lru_cache(_MOST_FILES)
    def little(content: bytes, given: _With) -> tuple[_Said, ...] | None:
        said = tuple(islice(read(content, given), _MOST_SAID + 1))
        return said if len(said) <= _MOST_SAID else None

    def recall(content: bytes, given: _With) -> Iterable[_Said]:
        said = little(content, given) if len(content) <= _LARGEST else None
        return read(content, given) if said is None else said

    return recall
