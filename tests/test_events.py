"""The last events, and those who listen: in order, without gaps, and whoever is late is told what he missed."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.supervision.events import KEPT, Event, Events, Listener, News


def happen(events: Events, count: int) -> None:
    """Let things happen."""
    for _ in range(count):
        number = events.last + 1
        events.record(float(number), "info", f"event {number}", None, {"number": number})


def event(number: int) -> Event:
    """Return the event that `happen` made with that number."""
    return Event(number, float(number), "info", f"event {number}", None, {"number": number})


def numbers(news: News) -> list[int]:
    return [each.sequence for each in news.events]


def test_what_is_kept() -> None:
    """Events are numbered from 1, and the last thousand are kept."""
    events = Events()
    assert (events.last, events.kept) == (0, ())
    happen(events, 3)
    assert (events.last, events.kept) == (3, (event(1), event(2), event(3)))
    happen(events, KEPT)
    assert events.kept == tuple(event(number) for number in range(4, KEPT + 4))
    assert (events.since(KEPT + 1), events.since(KEPT + 3)) == ((event(KEPT + 2), event(KEPT + 3)), ())


def test_what_goes_on_elsewhere() -> None:
    """Who goes on with what was kept elsewhere goes on with its numbers."""
    before = Events()
    happen(before, KEPT + 5)
    events = Events(before.kept)
    happen(events, 1)
    assert (events.last, events.kept[0], events.kept[-1]) == (KEPT + 6, event(7), event(KEPT + 6))


def test_from_where_one_listens() -> None:
    """One hears what comes from now on, or after a number; one that was not given yet means from now on, too."""
    events = Events()
    happen(events, 3)
    listeners = [events.listen(), events.listen(1), events.listen(0), events.listen(9)]
    happen(events, 1)
    assert [numbers(each.read()) for each in listeners] == [[4], [2, 3, 4], [1, 2, 3, 4], [4]]


def test_waiting() -> None:
    """Who waits is woken by an event and by a change, hears of each change once, and of none when he has left."""

    async def world() -> None:
        events = Events()
        with events.listen() as one, events.listen() as other:
            waiting = asyncio.create_task(one.next())
            await asyncio.sleep(0)
            assert not waiting.done()
            happen(events, 1)
            assert await waiting == News(frozenset(), (event(1),), 0)
            for name in ("a", "b", "a"):
                events.changed(name)
            assert await one.next() == News(frozenset({"a", "b"}), (), 0)
            assert await other.next() == News(frozenset({"a", "b"}), (event(1),), 0)
            assert not one._wake.is_set()
        events.changed("a")
        assert (events._listeners, other.read()) == (set(), News(frozenset(), (), 0))

    asyncio.run(world())


ACTS = st.lists(
    st.one_of(
        st.integers(1, 2 * KEPT).map(lambda count: ("happen", count)),
        st.integers(1, 3).map(lambda count: ("happen", count)),
        st.just(("listen", 0)),
        st.integers(0, 3).map(lambda which: ("read", which)),
    )
)


@given(ACTS)
def test_whoever_listens_misses_nothing_untold(acts: list[tuple[str, int]]) -> None:
    """However events and reading come in turn, one has every event in order, or knows exactly how many he missed."""
    events = Events()
    listeners: list[Listener] = []
    heard: list[int] = []

    def read(which: int) -> None:
        news = listeners[which].read()
        first = heard[which] + news.missed + 1
        assert list(news.events) == [event(number) for number in range(first, events.last + 1)]
        assert not news.missed or len(news.events) == KEPT, "nobody misses what is kept"
        heard[which] = events.last

    for act, number in acts:
        if act == "happen":
            happen(events, number)
        elif act == "listen":
            listeners.append(events.listen())
            heard.append(events.last)
        elif number < len(listeners):
            read(number)
    for which in range(len(listeners)):
        read(which)
