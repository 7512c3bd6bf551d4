"""The keepers by name: orders for many, the beginning and the end of all, and what a new inventory changes.

A supervisor decides nothing about any cluster. It finds keepers, passes orders on, waits for their outcomes, and
tells those who listen to its events which clusters changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from pgsupervisor.inventory.spec import ClusterSpec, Inventory
from pgsupervisor.supervision.configuration import Prospects
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.gate import StartGate
from pgsupervisor.supervision.keeper import Changed, Keeper, Mistake
from pgsupervisor.supervision.kept import Assignments, Host, Kept, Report
from pgsupervisor.supervision.life import Event, Fact, Kill, Life, Order, Reload, Restart, Spawned, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome, outcome
from pgsupervisor.supervision.plan import Action, Change, Plan, daemon_keys, diff
from pgsupervisor.supervision.selection import choose
from pgsupervisor.values import frozen

Result = TypeVar("Result")

Counts: TypeAlias = Callable[[Change], None]
"""Is told of each change of an inventory when it begins to count: a cluster that is removed is gone by then."""


@frozen
class Updated:
    """What an update changes: clusters, keys of [daemon], and, once it is applied, what came of the clusters."""

    plan: Plan
    daemon: tuple[str, ...]
    outcomes: tuple[Outcome, ...] = ()


class Supervisor:
    """Keeps the clusters of an inventory; lives in one event loop."""

    def __init__(self, inventory: Inventory, host: Host, changed: Changed, mistake: Mistake, events: Events) -> None:
        self.inventory = inventory
        self.events = events
        self._host = host
        self._tell = changed
        self._mistake = mistake
        self._gate = StartGate(inventory.daemon.start_concurrency)
        self._kept: dict[str, Kept] = {}
        self._updating = asyncio.Lock()
        self._works: set[asyncio.Task[object]] = set()
        self._ending = False

    async def begin(self, lives: Mapping[str, Life] = MappingProxyType({})) -> list[Kept]:
        """Take every cluster into care, adopt the servers that run, start the others that shall run, and return these.

        The `lives`, by name, are gone on with: another process has led them until now.
        """
        async with self._updating:
            added = await self._add(self.inventory.clusters.values(), lives)
            started = [kept for kept in added if kept.spec.name not in lives and not kept.ordered_down]
            for kept in started:
                kept.keeper.post(Start())
        return started

    @property
    def busy(self) -> list[str]:
        """What is under way that must not be cut off: the names of clusters, or that the inventory is applied."""
        clusters = [name for name, kept in self._kept.items() if kept.busy]
        return ["the inventory", *clusters] if self._updating.locked() else clusters

    async def rest(self) -> None:
        """Start no server any more until `go_on`, and wait until nothing is under way that must not be cut off."""
        self._gate.shut()
        while self.busy:
            async with self._updating:
                await asyncio.gather(*(kept.rest() for kept in self._kept.values()))

    def go_on(self) -> None:
        """Start servers again."""
        self._gate.open()

    def select(self, names: Sequence[str]) -> list[Kept]:
        """Return the clusters that `names` means, each once, in the inventory's order; a name may be a glob or `all`.

        Raises NoSuchClusterError for a name or glob that means none.
        """
        chosen = choose(names, self._kept)
        return [kept for name, kept in self._kept.items() if name in chosen]

    async def give(self, kept: Iterable[Kept], order: Order, report: Report) -> list[Outcome]:
        """Give an order to clusters and wait for what comes of it; to be cancelled ends the wait, not the order."""
        return await self._to_the_end("order", self._obey(kept, order, report))

    async def configure(self, kept: Kept, changes: Assignments, report: Report) -> Outcome:
        """Change settings in a cluster's files, have the server take them, and return what came of it.

        What the server refuses is put back as it was, also if the wait for that is cancelled. Raises what
        `HostedPostmaster.write` and what puts it back raise.
        """
        return await self._to_the_end(kept.spec.name, self._configure(kept, changes, report))

    def plan(self, new: Inventory) -> Updated:
        """Return what `update` would do."""
        return Updated(diff(self.inventory, new), daemon_keys(self.inventory, new))

    async def update(self, new: Inventory, report: Report, counts: Counts) -> Updated:
        """Apply a new inventory and wait until that is done; to be cancelled ends the wait, not the update.

        A cluster that did not change is not touched.
        """
        return await self._to_the_end("update", self._update(new, report, counts))

    async def end(self, *, leave: bool) -> None:
        """Stop every server, those with the highest number first and equals together, or `leave` them all running."""
        self._ending = True
        # A keeper that is cancelled before its first step takes none at all: nobody would be told that it is gone.
        await asyncio.sleep(0)
        everybody = sorted(self._kept.values(), key=lambda kept: kept.spec.priority, reverse=True)
        if not leave:
            for _, group in groupby(everybody, key=lambda kept: kept.spec.priority):
                await self._give_all(group, Stop(), _nobody)
        await self._let_go(everybody)

    def hasten(self) -> None:
        """Make the stop of every server an immediate one."""
        for kept in self._kept.values():
            kept.keeper.post(Stop("immediate"))

    async def _obey(self, kept: Iterable[Kept], order: Order, report: Report) -> list[Outcome]:
        return list(await asyncio.gather(*(self._carry_out(each, order, report) for each in kept)))

    async def _carry_out(self, kept: Kept, order: Order, report: Report) -> Outcome:
        """Carry out what somebody ordered."""
        await kept.keeper.found.wait()
        if isinstance(order, Restart) and not order.force and kept.life.pid is not None:
            kept.ordered_down = False
            # A server that runs is worth more than one that was stopped and does not come up again.
            prospects = await kept.postmaster.configuration.prospects(kept.spec)
            if prospects.fatal:
                return _not_restarted(kept, prospects, "mend that, or use --force")
            if kept.ordered_down or self._ending:
                return _overtaken(kept)
        if not isinstance(order, Reload):
            kept.ordered_down = isinstance(order, Stop | Kill)
        return await self._give(kept, order, report)

    async def _start(self, kept: Kept, report: Report) -> Outcome:
        """Start what an update has stopped or added, unless an order has come in between."""
        return _overtaken(kept) if kept.ordered_down else await self._give(kept, Start(), report)

    async def _give_all(self, kept: Iterable[Kept], order: Order, report: Report) -> list[Outcome]:
        return list(await asyncio.gather(*(self._give(each, order, report) for each in kept)))

    async def _give(self, kept: Kept, order: Order, report: Report) -> Outcome:
        name = kept.spec.name
        moment = await kept.keeper.order(order)
        while True:
            report(name, moment.life)
            if (done := outcome(name, order, moment.life)) is not None:
                return done
            if (following := await moment.next()) is None:
                return Outcome(name, ok=False, state=moment.life.state, message="no longer supervised")
            moment = following

    async def _configure(self, kept: Kept, changes: Assignments, report: Report) -> Outcome:
        async with kept.configuring:
            undo = await kept.postmaster.configuration.write(changes)
            if kept.life.state is not State.RUNNING:
                kept.keeper.post(Reload())
                written = "written; a server that starts reads it"
                return Outcome(kept.spec.name, ok=True, state=kept.life.state, message=written)
            told = await self._give(kept, Reload(), report)
            mistakes = () if told.report is None else told.report.mistakes
            names = {name.lower() for name in changes}
            refused = [each for each in mistakes if each.name is not None and each.name.lower() in names]
            if not refused:
                return told
            await undo()
            await self._give(kept, Reload(), report)
            why = "; ".join(each.why for each in refused)
            return replace(told, ok=False, message=f"refused, and put back as it was: {why}")

    async def _to_the_end(self, where: str, work: Coroutine[None, None, Result]) -> Result:
        """Wait for work that goes on to its end even if nobody waits for it any more; then we are told how it fails."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(partial(self._unheard, where))
            raise

    def _unheard(self, where: str, task: asyncio.Task[Result]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._mistake(where, error)

    async def _update(self, new: Inventory, report: Report, counts: Counts) -> Updated:
        async with self._updating:
            planned = self.plan(new)
            if self._ending:
                return planned  # nothing is changed any more
            changes = planned.plan
            self._gate.resize(new.daemon.start_concurrency - self.inventory.daemon.start_concurrency)
            self.inventory = new
            removals = _only(changes, "remove")
            outcomes = await self._remove([self._kept[each.name] for each in removals], report)
            _tell(removals, counts)
            # All that must go down is down before anything comes up: a port or a data directory may change hands.
            differing = [self._kept[each.name] for each in changes if each.effect == "restart"]
            refused = await self._refused([kept for kept in differing if kept.life.want_up], new)
            outcomes += refused.values()
            again = [kept for kept in differing if kept.life.want_up and kept.spec.name not in refused]
            # In the same moment, so that whoever is ordered up from now on starts by the new spec.
            for each in (altered := _only(changes, "change")):
                self._change(self._kept[each.name], new.clusters[each.name])
            _tell(altered, counts)
            await self._take_down(again, report)
            additions = [] if self._ending else _only(changes, "add")
            _tell(additions, counts)
            added = await self._add(new.clusters[each.name] for each in additions)
            self._kept = {name: self._kept[name] for name in new.clusters if name in self._kept}
        # What waits for servers that recover does not keep the next update waiting; what the end stops, stays down.
        if not self._ending:
            outcomes += await asyncio.gather(*(self._start(kept, report) for kept in (*again, *added)))
        return replace(planned, outcomes=tuple(outcomes))

    async def _refused(self, again: Sequence[Kept], new: Inventory) -> dict[str, Outcome]:
        """Return, by name, the servers that are not to be restarted, as they would not start by a new inventory."""
        # One that moves to another data directory is stopped in any case: nobody would look for it in the old one.
        running = [kept for kept in again if kept.life.pid is not None and _stays(kept, new)]
        asked = (kept.postmaster.configuration.prospects(new.clusters[kept.spec.name]) for kept in running)
        answers = zip(running, await asyncio.gather(*asked), strict=True)
        return {
            kept.spec.name: _not_restarted(kept, prospects, "mend that, and restart it")
            for kept, prospects in answers
            if prospects.fatal
        }

    async def _add(self, specs: Iterable[ClusterSpec], lives: Mapping[str, Life] = MappingProxyType({})) -> list[Kept]:
        """Take clusters into care, and return those that shall be started, in their order."""
        if self._ending:
            return []
        added = [self._take_in(spec, lives.get(spec.name)) for spec in specs]
        # Whatever runs is adopted before anything is started: only then is the order of starts by priority alone.
        await asyncio.gather(*(kept.keeper.found.wait() for kept in added))
        return sorted((kept for kept in added if kept.spec.autostart), key=lambda kept: kept.spec.priority)

    def _take_in(self, spec: ClusterSpec, life: Life | None) -> Kept:
        keeper = Keeper(
            spec.name,
            spec,
            spec.priority,
            gate=self._gate,
            changed=self._changed,
            mistake=self._mistake,
            life=life,
        )
        postmaster = self._host(spec, partial(self._post, keeper))
        task = asyncio.create_task(keeper.run(postmaster), name=f"keeper {spec.name}")
        kept = self._kept[spec.name] = Kept(spec, keeper, postmaster, task)
        self.events.changed(spec.name)
        return kept

    def _post(self, keeper: Keeper, fact: Fact) -> None:
        if isinstance(fact, Spawned) and keeper.life.state is State.STOPPED:
            # Whoever starts it by hand wants it up; an order that comes now is the later one, whenever this is taken.
            self._kept[keeper.name].ordered_down = False
        keeper.post(fact)

    def _changed(self, name: str, before: Life, event: Event, after: Life) -> None:
        self._tell(name, before, event, after)
        self.events.changed(name)

    def _change(self, kept: Kept, spec: ClusterSpec) -> None:
        """Go by a new spec from now on."""
        kept.spec = spec
        kept.keeper.policy = spec
        kept.keeper.priority = spec.priority
        kept.postmaster.renew(spec)
        self.events.changed(spec.name)

    async def _remove(self, removed: list[Kept], report: Report) -> list[Outcome]:
        outcomes = await self._take_down(removed, report)
        await self._let_go(removed)
        for kept in removed:
            del self._kept[kept.spec.name]
            self.events.changed(kept.spec.name)
        return outcomes

    async def _take_down(self, kept: Sequence[Kept], report: Report) -> list[Outcome]:
        """Stop clusters until all of them are down at the same moment, or nobody keeps them any more."""
        outcomes = await self._give_all(kept, Stop(), report)
        while any(each.life.state is not State.STOPPED and not each.task.done() for each in kept):
            # Somebody ordered it up again; but nobody would know of what ran on now, or it has what another is to have.
            outcomes = await self._give_all(kept, Stop(), report)
        return outcomes

    async def _let_go(self, kept: Iterable[Kept]) -> None:
        tasks = [each.task for each in kept]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _overtaken(kept: Kept) -> Outcome:
    return Outcome(kept.spec.name, ok=False, state=kept.life.state, message="overtaken by a later order")


def _not_restarted(kept: Kept, prospects: Prospects, advice: str) -> Outcome:
    why = f"not restarted, as it would not start again: {'; '.join(prospects.fatal)}; {advice}"
    return Outcome(kept.spec.name, ok=False, state=kept.life.state, message=why)


def _stays(kept: Kept, new: Inventory) -> bool:
    return new.clusters[kept.spec.name].data_directory == kept.spec.data_directory


def _only(changes: Plan, action: Action) -> list[Change]:
    return [each for each in changes if each.action == action]


def _tell(changes: Iterable[Change], counts: Counts) -> None:
    for each in changes:
        counts(each)


def _nobody(_name: str, _life: Life) -> None:
    """Report to nobody."""
