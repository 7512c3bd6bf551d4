"""What names mean: a cluster each, several if it is a glob, every one if it is `all`.

Names come from strangers, and globs are what they can make costly, so each is compiled once for a question, and not
kept (`fnmatch` would keep the last 32,768), and there is a bound to how many one question may have (`MOST_GLOBS`).
That none explodes by itself is Python's doing: behind a star, `fnmatch.translate` never goes back (since 3.9).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from fnmatch import translate
from typing import Final

from pgsupervisor.errors import NoSuchClusterError

ALL: Final = "all"
"""The name that means every cluster."""

MOST_GLOBS: Final = 16
"""Globs in one question; each is compared with every cluster's name, which takes some microseconds at worst."""


def is_glob(name: str) -> bool:
    """Tell whether a name may mean clusters of other names."""
    return any(character in name for character in "*?[")


def choose(names: Iterable[str], known: Collection[str]) -> set[str]:
    """Return those of the `known` clusters that `names` mean.

    Raises NoSuchClusterError for a name or glob that means none of them; `all` may.
    """
    chosen: set[str] = set()
    for name in dict.fromkeys(names):
        if name == ALL:
            chosen.update(known)
            continue
        found = {name} if name in known else set(filter(_glob(name), known)) if is_glob(name) else set()
        if not found:
            raise NoSuchClusterError(name)
        chosen |= found
    return chosen


def chooser(names: Collection[str]) -> Callable[[str], bool]:
    """Return what tells of a cluster, by its name, whether it is among those that `names` mean."""
    plain = frozenset(names)
    globs = [_glob(name) for name in plain if is_glob(name)]
    return lambda cluster: ALL in plain or cluster in plain or any(matches(cluster) for matches in globs)


def _glob(name: str) -> Callable[[str], bool]:
    match = re.compile(translate(name)).match
    return lambda cluster: match(cluster) is not None
