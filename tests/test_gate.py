"""The start gate: how many enter, and who comes first."""

from __future__ import annotations

import asyncio

from fakes import live, settle

from pgsupervisor.supervision.gate import StartGate


class _Crowd:
    """Tasks that enter a gate, and the names of those who did, in their order."""

    def __init__(self, width: int) -> None:
        self.gate = StartGate(width)
        self.entered: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, *names: str, priority: int = 0) -> None:
        """Let somebody come to the gate."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name, priority))

    async def _enter(self, name: str, priority: int) -> None:
        await self.gate.enter(priority)
        self.entered.append(name)


def test_width_and_arrival() -> None:
    """As many enter as there are places, in the order in which they came; each who leaves lets one in."""

    async def world() -> None:
        crowd = _Crowd(2)
        crowd.come("a", "b", "c", "d")
        await settle()
        assert crowd.entered == ["a", "b"]
        crowd.gate.leave()
        await settle()
        assert crowd.entered == ["a", "b", "c"]
        crowd.gate.leave()
        await settle()
        assert crowd.entered == ["a", "b", "c", "d"]

    live(world)


def test_priority() -> None:
    """Of those who wait, the lowest number enters first, and among equals whoever came first."""

    async def world() -> None:
        crowd = _Crowd(1)
        crowd.come("first", priority=99)
        await settle()
        crowd.come("low", "later low", priority=30)
        crowd.come("high", priority=10)
        crowd.come("middle", priority=20)
        for _ in range(4):
            await settle()
            crowd.gate.leave()
        await settle()
        assert crowd.entered == ["first", "high", "middle", "low", "later low"]

    live(world)


def test_priority_at_the_same_moment() -> None:
    """At boot all come at once: who is first in line is a matter of priority then too."""

    async def world() -> None:
        crowd = _Crowd(1)
        crowd.come("low", priority=30)
        crowd.come("high", priority=10)
        await settle()
        assert crowd.entered == ["high"]

    live(world)


def test_who_goes_away_takes_no_place() -> None:
    """Whoever is cancelled while waiting is passed over."""

    async def world() -> None:
        crowd = _Crowd(1)
        crowd.come("a", "b", "c")
        await settle()
        crowd.tasks["b"].cancel()
        await settle()
        crowd.gate.leave()
        await settle()
        assert crowd.entered == ["a", "c"]

    live(world)


def test_who_goes_away_with_a_place_gives_it_back() -> None:
    """To be cancelled in the very moment in which a place is given loses no place."""

    async def world() -> None:
        crowd = _Crowd(1)
        crowd.come("a", "b", "c")
        await settle()
        crowd.gate.leave()
        crowd.tasks["b"].cancel()
        await settle()
        assert crowd.entered == ["a", "c"]

    live(world)


def test_resize() -> None:
    """More places let more in; fewer take effect as places become free."""

    async def world() -> None:
        crowd = _Crowd(1)
        crowd.come(*"abcde")
        await settle()
        crowd.gate.resize(+2)
        await settle()
        assert crowd.entered == ["a", "b", "c"]
        crowd.gate.resize(-2)
        crowd.gate.leave()
        crowd.gate.leave()
        await settle()
        assert crowd.entered == ["a", "b", "c"]
        crowd.gate.leave()
        await settle()
        assert crowd.entered == ["a", "b", "c", "d"]

    live(world)
