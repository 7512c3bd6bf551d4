"""A keeper: the one task that owns one cluster's life.

Everything that happens to a cluster arrives in its keeper's mailbox, orders and facts alike. The keeper takes one
event at a time, asks `machine.step` what it means, performs the actions, and sleeps until the next event or until
the life's one deadline. Nobody else writes a life, so nothing here is locked, and a keeper with nothing to do does
nothing at all.

What a keeper can do to a postmaster is small, and said here (`Postmaster`). Each call returns at once or runs in a
task of its own; what came of it is posted as a fact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from signal import Signals
from typing import Protocol, TypeAlias

from pgsupervisor.supervision.gate import StartGate
from pgsupervisor.supervision.life import (
    Action,
    Event,
    Fact,
    Life,
    Order,
    Policy,
    Signal,
    Spawn,
    SpawnFailed,
    State,
    Timeout,
)
from pgsupervisor.supervision.machine import step


class Postmaster(Protocol):
    """One cluster's postmaster, as far as a keeper can move it."""

    async def find(self) -> None:
        """Post Spawned (and Ready) if the cluster's postmaster runs already; post nothing otherwise."""

    async def spawn(self) -> None:
        """Adopt the postmaster that runs, or start one; post Spawned, later Ready and Exited, or SpawnFailed."""

    def signal(self, number: Signals) -> None:
        """Send a signal to the postmaster, if there is one."""

    def release(self) -> None:
        """Let go of the postmaster: it runs on, and nothing is posted about it any more."""


Post: TypeAlias = Callable[[Fact], None]
Mistake: TypeAlias = Callable[[str, Exception], None]
"""Called with the cluster's name when a step or an action raised what nobody expected."""

Changed: TypeAlias = Callable[[str, Life, Event, Life], None]
"""Called after each step that changed a life, with the cluster's name, the life before, the event, the life after."""


class Keeper:
    """Owns the life of the cluster `name`; `policy` and `priority` may be replaced at any time.

    `postmaster` is made by the one who makes the keeper, and posts its facts to `post`.
    """

    def __init__(
        self, name: str, policy: Policy, priority: int, *, gate: StartGate, changed: Changed, mistake: Mistake
    ) -> None:
        self.name = name
        self.policy = policy
        self.priority = priority
        self.life = Life()
        self._gate = gate
        self._changed = changed
        self._mistake = mistake
        self._mailbox: asyncio.Queue[tuple[Event, asyncio.Future[Life] | None]] = asyncio.Queue()
        self._next_life: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._starting: asyncio.Task[None] | None = None
        self._waits_at_gate = False
        self._holds_gate = False

    def post(self, event: Event) -> None:
        """Put an event into the mailbox; it is taken in its turn."""
        self._mailbox.put_nowait((event, None))

    async def order(self, order: Order) -> Life:
        """Give an order, and return the life as it is right after the order was taken.

        A keeper that lives no more takes none, and returns its last life.
        """
        if self._next_life.done():
            return self.life
        taken: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._mailbox.put_nowait((order, taken))
        return await taken

    async def next_life(self) -> Life:
        """Wait for the next change and return the life after it."""
        return await asyncio.shield(self._next_life)

    async def run(self, postmaster: Postmaster) -> None:
        """Live: take events until cancelled. A mistake of ours costs one event, and no cluster its keeper."""
        try:
            while True:
                event, taken = await self._take()
                before = self.life
                try:
                    self._live(event, postmaster)
                except Exception as error:  # noqa: BLE001  # around a keeper
                    self._mistake(self.name, error)
                if taken is not None and not taken.done():
                    taken.set_result(self.life)
                if self.life != before:
                    self._tell(before, event)
        finally:
            if self._starting is not None:
                self._starting.cancel()
            self._leave_gate()
            postmaster.release()
            self._part()

    def _part(self) -> None:
        """Tell everybody who waits that nothing more will happen here."""
        self._next_life.set_result(self.life)
        while not self._mailbox.empty():
            _, taken = self._mailbox.get_nowait()
            if taken is not None and not taken.done():
                taken.set_result(self.life)

    async def _take(self) -> tuple[Event, asyncio.Future[Life] | None]:
        """Wait for the next event; the passing of the deadline is one."""
        try:
            async with asyncio.timeout_at(self.life.deadline):
                return await self._mailbox.get()
        except TimeoutError:
            return Timeout(), None

    def _live(self, event: Event, postmaster: Postmaster) -> None:
        self.life, actions = step(self.policy, self.life, event, asyncio.get_running_loop().time())
        self._leave_gate_after(event)
        for action in actions:
            self._perform(action, postmaster)

    def _tell(self, before: Life, event: Event) -> None:
        told, self._next_life = self._next_life, asyncio.get_running_loop().create_future()
        told.set_result(self.life)
        self._changed(self.name, before, event, self.life)

    def _perform(self, action: Action, postmaster: Postmaster) -> None:
        match action:
            case Spawn():
                self._starting = asyncio.create_task(self._start(postmaster), name=f"start {self.name}")
            case Signal(number):
                if self._waits_at_gate and self._starting is not None:
                    self._waits_at_gate = False
                    self._starting.cancel()
                    self.post(SpawnFailed("the start was called off", hopeless=False, jitter=1.0))
                else:
                    postmaster.signal(number)

    async def _start(self, postmaster: Postmaster) -> None:
        self._waits_at_gate = True
        try:
            await self._gate.enter(self.priority)
        finally:
            self._waits_at_gate = False
        self._holds_gate = True
        try:
            await postmaster.spawn()
        except Exception as error:  # noqa: BLE001  # around a keeper: a cluster that stayed STARTING would hide it
            self._mistake(self.name, error)
            self.post(SpawnFailed(f"a mistake in pgsupervisor: {error!r}", hopeless=True, jitter=1.0))

    def _leave_gate_after(self, event: Event) -> None:
        """Let the next server start once this one has, or has failed to, or takes so long that it must be recovery."""
        if self.life.state is not State.STARTING or isinstance(event, Timeout):
            self._leave_gate()

    def _leave_gate(self) -> None:
        if self._holds_gate:
            self._holds_gate = False
            self._gate.leave()
