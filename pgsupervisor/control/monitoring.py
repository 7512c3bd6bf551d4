"""The one stream of all that happens: how the clusters are, each one whenever it changes, and the events.

What a client wants to hear of are clusters by name. Names are compared anew with every change, so a cluster that an
update adds is heard of, and one that it removes is no end of the stream: another one may have the name some day. Only
who begins with a name that means nothing is told so; to who asks for events, one that they are about means something.

A client that follows events goes on with them after an upgrade: what another process is asked then (`Call.again`) is
what came after those that were sent.

What may quote a log or a setting's value is sent to those only who may read these (`records`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from pgsupervisor.control import parameters, records
from pgsupervisor.control.connection import Call
from pgsupervisor.control.protocol import Parameters
from pgsupervisor.control.rights import Rights, Seen
from pgsupervisor.supervision.events import Event, Events
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.supervision.selection import ALL, choose, chooser
from pgsupervisor.supervision.supervisor import Supervisor


async def monitor(call: Call, supervisor: Supervisor, rights: Rights) -> Parameters:
    """Return how the clusters are, and the last events; with `more`, send that, then what happens, until cancelled.

    What is told depends on the `rights` of the caller.

    Raises InvalidParameterError, and NoSuchClusterError for a name or glob that means none.
    """
    asked = parameters.read(call.request.parameters, parameters.Monitored)
    _make_sure(asked, supervisor)
    wanted = _wanted(asked.names)
    with supervisor.events.listen(asked.after) as listener:
        news = listener.read()
        events = news.events if asked.after is not None else _past(supervisor.events, wanted, asked.past or 0)
        watched, seen = await _watched(supervisor, wanted, rights)
        answer = _records(watched, seen) | (_told(events, news.missed, wanted, seen) if asked.events else {})
        if not call.request.more:
            return answer
        while True:
            # What is sent next, nobody has to send again.
            call.again = call.request._replace(parameters=_again(asked, listener.mark))
            if answer:
                call.send(answer)
            # While it is read, bytes are kept, and not what they say, which takes more.
            answer = told = {}
            await call.read()
            await listener.wait()
            await call.turn.take()
            news = listener.read()
            known = _names(watched)
            watched, seen = await _watched(supervisor, wanted, rights)
            changed = [kept for kept in watched if kept.spec.name in news.changed]
            removed = sorted(known - _names(watched))
            told = _told(news.events, news.missed, wanted, seen) if asked.events else {}
            answer = (
                _records(changed, seen) | {"removed": removed} | told
                if changed or removed or any(told.values())
                else {}
            )


def _make_sure(asked: parameters.Monitored, supervisor: Supervisor) -> None:
    """Make sure that each name means something.

    Raises NoSuchClusterError.
    """
    known = _names(supervisor.select([ALL]))
    if asked.events:
        known |= {event.cluster for event in supervisor.events.kept if event.cluster is not None}
    choose(asked.names, known)


def _wanted(names: Sequence[str]) -> Callable[[str | None], bool]:
    """Return what tells of a cluster, or of the daemon itself (None), whether it is to be heard of."""
    chosen = chooser(names)

    @cache
    def wanted(cluster: str | None) -> bool:
        return not names or (cluster is not None and chosen(cluster))

    return wanted


async def _watched(
    supervisor: Supervisor, wanted: Callable[[str | None], bool], rights: Rights
) -> tuple[list[Kept], Seen]:
    """Return the clusters that are to be heard of, and what of them may be."""

    def watched() -> list[Kept]:
        return [kept for kept in supervisor.select([ALL]) if wanted(kept.spec.name)]

    await rights.learn(watched())
    found = watched()  # an update may have come in between
    return found, rights.seen(found)


def _past(events: Events, wanted: Callable[[str | None], bool], count: int) -> Sequence[Event]:
    """Return the last events that are to be heard of."""
    return [event for event in events.kept if wanted(event.cluster)][-count:] if count else []


def _told(events: Iterable[Event], missed: int, wanted: Callable[[str | None], bool], seen: Seen) -> dict[str, object]:
    """Return what an answer has of events."""
    told: dict[str, object] = {"events": [records.event(event, seen) for event in events if wanted(event.cluster)]}
    return told | ({"missed": missed} if missed else {})


def _records(clusters: Iterable[Kept], seen: Seen) -> dict[str, object]:
    return {"clusters": records.clusters(clusters, asyncio.get_running_loop().time(), seen)}


def _names(clusters: Iterable[Kept]) -> set[str]:
    return {kept.spec.name for kept in clusters}


def _again(asked: parameters.Monitored, mark: int) -> Parameters:
    """Return the parameters of one who goes on behind a mark."""
    return {"names": asked.names, "after": mark} if asked.events else {"names": asked.names}
