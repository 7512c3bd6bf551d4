"""One keeper with a fake postmaster, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fakes import SPEC, FakePolicy, FakePostmaster, live, now

from pgsupervisor.supervision.gate import StartGate
from pgsupervisor.supervision.keeper import Keeper
from pgsupervisor.supervision.life import (
    Event,
    Life,
    State,
)


class World:
    """One keeper with its postmaster, at a gate that others may use too."""

    def __init__(self, policy: FakePolicy | None = None) -> None:
        self.gate = StartGate(1)
        self.changes: list[tuple[str, Life, Event, Life]] = []
        self.mistakes: list[tuple[str, Exception]] = []
        self.keeper = Keeper(
            "shop",
            policy or FakePolicy(),
            10,
            gate=self.gate,
            changed=lambda *change: self.changes.append(change),
            mistake=lambda *mistake: self.mistakes.append(mistake),
        )
        self.postmaster = FakePostmaster(self.keeper.post, SPEC)

    @property
    def states(self) -> list[State]:
        """The states that were gone through, from the first change on."""
        states = [State.STOPPED]
        for _, _, _, after in self.changes:
            if after.state is not states[-1]:
                states.append(after.state)
        return states[1:]

    async def until(self, state: State) -> float:
        """Wait until the cluster is in a state; return how long that took, in seconds."""
        begun, moment = now(), self.keeper._now
        while moment.life.state is not state:
            following = await moment.next()
            assert following is not None
            moment = following
        return now() - begun


def kept(play: Callable[[World], Awaitable[None]], policy: FakePolicy | None = None) -> World:
    """Play something with a keeper, and let the keeper end afterwards. Nothing may be a mistake that is not taken."""

    async def world() -> World:
        made = World(policy)
        task = asyncio.create_task(made.keeper.run(made.postmaster))
        await play(made)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.mistakes == []
        return made

    return live(world)
