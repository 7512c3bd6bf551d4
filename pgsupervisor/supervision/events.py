"""What has happened: the last events, numbered, and those who listen for more.

Whatever the daemon logs is an event, and the last of them are kept, for one who comes late. A listener has no queue of
his own, only a mark at the last event that he has read: however slow he is, he costs nobody any memory. What has
happened since is read from the same events as everybody reads, and if some of it is kept no more, he is told how many
events he missed. Beside that, he hears which clusters have changed, of each once, however late he listens.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Self

from pgsupervisor.values import frozen

KEPT: Final = 1000
"""How many events are kept."""


@frozen
class Event:
    """Something that happened.

    `sequence` counts from 1, without gaps, `time` is a Unix time in seconds, `level` is info, warning or error. `name`
    is the same for all events of its kind, `cluster` is what it happened to (None: to the daemon itself), and the
    `facts` are what JSON can say.
    """

    sequence: int
    time: float
    level: str
    name: str
    cluster: str | None
    facts: Mapping[str, object]


@frozen
class News:
    """What a listener has not heard before; `missed` is how many events came before `events` and are kept no more."""

    changed: frozenset[str]
    events: Sequence[Event]
    missed: int


class Events:
    """The last events, and whoever listens; lives in one event loop. It may go on after what was `kept` elsewhere."""

    def __init__(self, kept: Iterable[Event] = ()) -> None:
        self._kept = deque(kept, KEPT)
        self._listeners: set[Listener] = set()

    @property
    def kept(self) -> tuple[Event, ...]:
        """The last events, the oldest one first."""
        return tuple(self._kept)

    @property
    def last(self) -> int:
        """The number of the last event; 0 if there was none."""
        return self._kept[-1].sequence if self._kept else 0

    def record(self, time: float, level: str, name: str, cluster: str | None, facts: Mapping[str, object]) -> None:
        """Give an event its number, keep it, and wake everybody who listens."""
        self._kept.append(Event(self.last + 1, time, level, name, cluster, facts))
        for listener in self._listeners:
            listener.wake()

    def changed(self, cluster: str) -> None:
        """Tell everybody who listens that a cluster is not as it was."""
        for listener in self._listeners:
            listener.note(cluster)

    def since(self, sequence: int) -> Sequence[Event]:
        """Return the events after the one with that number, as far as they are kept."""
        return tuple(islice(self._kept, max(0, len(self._kept) - (self.last - sequence)), None))

    def listen(self, after: int | None = None) -> Listener:
        """Return a listener to what comes after the event with that number; without one, from now on."""
        return Listener(self, self._listeners, self.last if after is None else min(after, self.last))


class Listener:
    """Reads events after a mark, and which clusters changed while it was entered (`with`)."""

    def __init__(self, events: Events, listeners: set[Listener], mark: int) -> None:
        self.mark = mark
        self._events = events
        self._listeners = listeners
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Note that there is something to read."""
        self._wake.set()

    def note(self, cluster: str) -> None:
        """Note that a cluster changed."""
        self._changed.add(cluster)
        self._wake.set()

    def read(self) -> News:
        """Return what there is to hear by now, and set the mark behind it."""
        self._wake.clear()
        changed, self._changed = frozenset(self._changed), set()
        events = self._events.since(self.mark)
        missed = self._events.last - self.mark - len(events)
        self.mark = self._events.last
        return News(changed, events, missed)

    async def wait(self) -> None:
        """Wait until there is something to read."""
        await self._wake.wait()

    async def next(self) -> News:
        """Wait until there is something to hear, and return it."""
        await self.wait()
        return self.read()

    def __enter__(self) -> Self:
        self._listeners.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._listeners.discard(self)
