"""A supervisor over fake postmasters, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fakes import FakeHost, FakePostmaster, inventory, live, settle, spec

from pgsupervisor.inventory import ClusterSpec, Inventory
from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.supervision.life import Life, Order, State
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.plan import Change
from pgsupervisor.supervision.supervisor import Supervisor, Updated


class World:
    """A supervisor over fake postmasters, and what it told."""

    def __init__(self, clusters: Inventory, prepare: Callable[[FakePostmaster], None] = lambda _made: None) -> None:
        self.host = FakeHost(prepare)
        self.mistakes: list[tuple[str, Exception]] = []
        self.reports: list[tuple[str, State]] = []
        self.counted: list[Change] = []
        self.supervisor = Supervisor(
            clusters, self.host, lambda *_: None, lambda *mistake: self.mistakes.append(mistake), Events()
        )

    @property
    def states(self) -> dict[str, State]:
        """The clusters' states by name."""
        return {kept.spec.name: kept.life.state for kept in self.kept("*")}

    def kept(self, *names: str) -> list[Kept]:
        """Return clusters by name."""
        return self.supervisor.select(names or ["all"])

    def report(self, name: str, life: Life) -> None:
        """Take down what an order leads to."""
        self.reports.append((name, life.state))

    async def give(self, order: Order, *names: str) -> list[Outcome]:
        """Give an order, and wait for what comes of it."""
        return await self.supervisor.give(self.kept(*names), order, self.report)

    async def update(self, *specs: ClusterSpec, start_concurrency: int = 4) -> list[Outcome]:
        """Go by a new inventory."""
        return list((await self.go_by(inventory(*specs, start_concurrency=start_concurrency))).outcomes)

    async def go_by(self, new: Inventory) -> Updated:
        """Go by a new inventory, and take down what of it counts."""
        return await self.supervisor.update(new, self.report, self.counted.append)


def supervised(
    play: Callable[[World], Awaitable[None]],
    *specs: ClusterSpec,
    prepare: Callable[[FakePostmaster], None] = lambda _made: None,
    start_concurrency: int = 4,
) -> World:
    """Play something with clusters that were begun; let go of all of them afterwards."""

    async def world() -> World:
        made = World(inventory(*specs, start_concurrency=start_concurrency), prepare)
        await made.supervisor.begin()
        await settle()
        await play(made)
        await made.supervisor.end(leave=True)
        return made

    return live(world)


A, B, C = spec("a", priority=10), spec("b", priority=20), spec("c", priority=30)


def done(name: str, state: State, message: str = "") -> Outcome:
    return Outcome(name, ok=True, state=state, message=message)


def reloaded(name: str, report: Report) -> Outcome:
    """Return the outcome of a reload that led to a report."""
    ok = report.verdict != "rejected"
    return Outcome(name, ok=ok, state=State.RUNNING, message=report.text, report=report)
