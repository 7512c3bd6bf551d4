"""Who looks all the time whether two servers are at work in one data directory.

Not every second `postgres` is a second server. One that has just been started works in the directory before it finds
the lock taken, and ends. It is past its locks (postmaster.pid and the shared memory) when it has child processes, since
PostmasterMain in postmaster.c takes the locks before it starts any. Children without their postmaster count too: they
may still write, and PostgreSQL promises that no server starts beside them.

A look takes a while, and processes come and go meanwhile. So what counts is only what two looks in a row have both
seen, of the very same processes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from chaos.meanwhile import Meanwhile

BETWEEN_LOOKS = 0.01
"""Seconds."""

_EXITING = 0x4
"""PF_EXITING of a process's flags (include/linux/sched.h): it runs no code of its own any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A process of PostgreSQL in a data directory; `started` in clock ticks, so that a number used again is another."""

    pid: int
    started: int
    parent: int
    directory: str
    child: bool
    """Whether it has the title of a postmaster's child, such as `postgres: checkpointer`."""


Pair: TypeAlias = tuple[Seen, Seen]


def look(directories: Collection[str]) -> list[Seen]:
    """Return the processes of PostgreSQL that work in some directories now."""
    return [seen for name in os.listdir("/proc") if name.isdigit() for seen in _look_at(name, directories)]


def _look_at(pid: str, directories: Collection[str]) -> Iterator[Seen]:
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")
        if directory not in directories:
            return
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            name, _, rest = file.read().partition(" (")[2].rpartition(") ")[0::1]
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            child = file.read(10) == b"postgres: "
    except OSError:  # it has ended, or is not ours
        return
    words = rest.split()
    if name == "postgres" and words[0] not in {"Z", "X"} and not int(words[6]) & _EXITING:
        yield Seen(int(pid), int(words[19]), int(words[1]), directory, child)


def rivals(seen: Iterable[Seen]) -> set[Pair]:
    """Return the pairs of processes that cannot both belong to the one server of a directory."""
    known = {each.pid: each for each in seen}
    parents = {each.parent for each in known.values()}
    heads = [each for each in known.values() if each.parent not in known]
    servers = {each for each in heads if each.pid in parents}
    at_work = sorted((each for each in heads if each in servers or each.child), key=lambda each: each.pid)
    return {
        (one, other)
        for one, other in combinations(at_work, 2)
        if one.directory == other.directory and not servers.isdisjoint((one, other))
    }


class Witness(Meanwhile):
    """Looks at some directories, in a thread, as long as it is entered; `found` is what must not be."""

    def __init__(self, directories: Collection[str]) -> None:
        super().__init__()
        self.found: set[Pair] = set()
        self.looks = 0
        self._directories = frozenset(map(os.path.realpath, directories))

    def _go_on(self) -> None:
        before: set[Pair] = set()
        while not self._end.wait(BETWEEN_LOOKS):
            now = rivals(look(self._directories))
            self.found |= before & now
            self.looks += 1
            before = now
