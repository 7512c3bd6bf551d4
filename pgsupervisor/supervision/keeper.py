"""A keeper: the one task that owns one cluster's life.

Everything that happens to a cluster arrives in its keeper's mailbox, orders and facts alike. The keeper takes one
event at a time, asks `machine.step` what it means, performs the actions, and sleeps until the next event or until
the life's one deadline. Nobody else writes a life, so nothing here is locked, and a keeper with nothing to do does
nothing at all.

Who waits for something to become of a cluster goes along its lives, one after the other (`Moment`): a keeper may
live through several of them before anybody else gets a word in, and the one that was waited for may be among these.

What a keeper can do to a postmaster is small, and said here (`Postmaster`). Each call returns at once or runs in a
task of its own; what came of it is posted as a fact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from signal import Signals
from typing import Protocol, TypeAlias

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.gate import StartGate
from pgsupervisor.supervision.life import (
    Action,
    Event,
    Exited,
    Fact,
    Life,
    Order,
    Policy,
    Reloaded,
    Signal,
    SignalOrphans,
    Spawn,
    SpawnFailed,
    State,
    TellToReload,
    Timeout,
)
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.mailbox import Mailbox
from pgsupervisor.supervision.resumption import cut_off


class Postmaster(Protocol):
    """One cluster's postmaster, as far as a keeper can move it."""

    async def find(self) -> None:
        """Post Spawned (and Ready) if the cluster's postmaster runs already; post nothing otherwise."""

    async def spawn(self) -> None:
        """Adopt the postmaster that runs, or start one; post Spawned, later Ready and Exited, or SpawnFailed.

        A postmaster that was found in the same moment, so that its facts are on their way, is left at that.
        """

    def signal(self, number: Signals) -> None:
        """Send a signal to the postmaster, if there is one."""

    def signal_orphans(self, number: Signals) -> None:
        """Send a signal to each process that outlived the postmaster, and post Orphaned when one has ended."""

    async def reload(self) -> Report:
        """Have the postmaster read its configuration files, and return what it made of them."""

    def release(self) -> None:
        """Let go of the postmaster: it runs on, and nothing is posted about it any more."""


Post: TypeAlias = Callable[[Fact], None]
Mistake: TypeAlias = Callable[[str, Exception], None]
"""Called with the cluster's name when a step or an action raised what nobody expected."""

Changed: TypeAlias = Callable[[str, Life, Event, Life], None]
"""Called after each step that changed a life, with the cluster's name, the life before, the event, the life after."""


class Moment:
    """A life, and the way to the one that follows it."""

    __slots__ = ("_next", "life")

    def __init__(self, life: Life) -> None:
        self.life = life
        self._next: asyncio.Future[Moment | None] = asyncio.get_running_loop().create_future()

    @property
    def last(self) -> bool:
        """Whether nothing will follow, as nobody keeps the cluster any more."""
        return self._next.done() and self._next.result() is None

    async def next(self) -> Moment | None:
        """Wait for the next life, and return None if there is none."""
        return await asyncio.shield(self._next)

    def follow(self, moment: Moment | None) -> None:
        """Say what follows, once."""
        self._next.set_result(moment)


class Keeper:
    """Owns the life of the cluster `name`; `policy` and `priority` may be replaced at any time.

    It may begin with a `life` that was led by another process until now. `found` is set once it is known whether a
    postmaster runs already. `steps` counts the events that it has taken.
    """

    def __init__(
        self,
        name: str,
        policy: Policy,
        priority: int,
        *,
        gate: StartGate,
        changed: Changed,
        mistake: Mistake,
        life: Life | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.priority = priority
        self.found = asyncio.Event()
        self.steps = 0
        self._now = Moment(life or Life())
        self._gate = gate
        self._changed = changed
        self._mistake = mistake
        self._mailbox: Mailbox[tuple[Event, asyncio.Future[Moment] | None]] = Mailbox()
        self._starting: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._waits_at_gate = False
        self._called_off = False
        self._holds_gate = self.life.state is State.STARTING and self.life.pid is not None
        if self._holds_gate:
            gate.take()

    @property
    def life(self) -> Life:
        """The cluster's life at this moment."""
        return self._now.life

    @property
    def behind(self) -> bool:
        """Whether something has happened that the life does not show yet."""
        return bool(self._mailbox)

    @property
    def due(self) -> bool:
        """Whether there is an event to take now, with nothing to wait for: the passing of the deadline is one."""
        deadline = self.life.deadline
        overdue = deadline is not None and deadline <= asyncio.get_running_loop().time()
        return self.found.is_set() and (self.behind or overdue)

    async def catch_up(self) -> None:
        """Wait until the life shows all that has happened."""
        await self._mailbox.emptied()

    def post(self, event: Event) -> None:
        """Put an event into the mailbox; it is taken in its turn."""
        self._mailbox.put((event, None))

    async def order(self, order: Order) -> Moment:
        """Give an order, and return the moment right after it was taken; to be cancelled then does not take it back.

        It waits until it is known whether a server runs: nobody could stop what is not found yet. A keeper that lives
        no more takes none, and returns its last moment.
        """
        await self.found.wait()
        if self._now.last:
            return self._now
        taken: asyncio.Future[Moment] = asyncio.get_running_loop().create_future()
        self._mailbox.put((order, taken))
        return await taken

    async def run(self, postmaster: Postmaster) -> None:
        """Live: find the postmaster that runs already, then take events until cancelled.

        A mistake of ours costs one event, and no cluster its keeper.
        """
        try:
            await self._find(postmaster)
            for action in cut_off(self.life):
                self._perform(action, postmaster)
            while True:
                event, taken = await self._take()
                self.steps += 1
                before = self.life
                self._safely(partial(self._live, event, postmaster))
                if taken is not None and not taken.done():
                    taken.set_result(self._now)
                if self.life != before:
                    self._safely(partial(self._changed, self.name, before, event, self.life))
        finally:
            for task in (self._starting, self._reloading):
                if task is not None:
                    task.cancel()
            self._leave_gate()
            self._safely(postmaster.release)
            self.found.set()
            self._part()

    async def _find(self, postmaster: Postmaster) -> None:
        try:
            await postmaster.find()
        except Exception as error:  # noqa: BLE001  # around a keeper
            self._mistake(self.name, error)
        self.found.set()

    def _safely(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001  # around a keeper
            self._mistake(self.name, error)

    def _part(self) -> None:
        """Tell everybody who waits that nothing more will happen here."""
        self._now.follow(None)
        while self._mailbox:
            _, taken = self._mailbox.take_now()
            if taken is not None and not taken.done():
                taken.set_result(self._now)

    async def _take(self) -> tuple[Event, asyncio.Future[Moment] | None]:
        """Wait for the next event; the passing of the deadline is one."""
        if self._called_off:
            # Before what is in the mailbox: that may be of a server that somebody else has started, and of its end.
            self._called_off = False
            return SpawnFailed("the start was called off", hopeless=False, jitter=1.0), None
        try:
            async with asyncio.timeout_at(self.life.deadline):
                return await self._mailbox.take()
        except TimeoutError:
            return Timeout(), None

    def _live(self, event: Event, postmaster: Postmaster) -> None:
        life, actions = step(self.policy, self.life, event, asyncio.get_running_loop().time())
        if life != self.life:
            before, self._now = self._now, Moment(life)
            before.follow(self._now)
        if self.life.pid is not None:
            # Somebody else's server was found while ours waited for its turn: there is nothing to start any more.
            self._call_off_start()
        self._leave_gate_after(event)
        for action in actions:
            self._perform(action, postmaster)

    def _perform(self, action: Action, postmaster: Postmaster) -> None:
        match action:
            case Spawn():
                self._waits_at_gate = True
                self._starting = asyncio.create_task(self._start(postmaster), name=f"start {self.name}")
            case Signal(number):
                self._called_off = self._call_off_start()
                if not self._called_off:
                    postmaster.signal(number)
            case SignalOrphans(number):
                postmaster.signal_orphans(number)
            case TellToReload():
                if self._reloading is not None:
                    # Whatever is still asked is what a server made of its files that has ended since.
                    self._reloading.cancel()
                self._reloading = asyncio.create_task(
                    self._reload(postmaster, self.life.pid), name=f"reload {self.name}"
                )

    def _call_off_start(self) -> bool:
        """End a start that still waits for its turn, and tell whether there was one."""
        if not self._waits_at_gate or self._starting is None:
            return False
        self._waits_at_gate = False
        self._starting.cancel()
        return True

    async def _start(self, postmaster: Postmaster) -> None:
        await self._gate.enter(self.priority)
        self._waits_at_gate = False
        self._holds_gate = True
        try:
            await postmaster.spawn()
        except Exception as error:  # noqa: BLE001  # around a keeper: a cluster that stayed STARTING would hide it
            self._mistake(self.name, error)
            self.post(SpawnFailed(f"a mistake in pgsupervisor: {error!r}", hopeless=True, jitter=1.0))

    async def _reload(self, postmaster: Postmaster, pid: int | None) -> None:
        try:
            report = await postmaster.reload()
        except Exception as error:  # noqa: BLE001  # around a keeper: a cluster that reloaded for ever would hide it
            self._mistake(self.name, error)
            report = Report(unverified=f"a mistake in pgsupervisor: {error!r}")
        self.post(Reloaded(pid or 0, report))

    def _leave_gate_after(self, event: Event) -> None:
        """Let the next server start once this one has, or has failed to, or takes so long that it must be recovery."""
        if self.life.state is not State.STARTING or isinstance(event, SpawnFailed | Exited | Timeout):
            self._leave_gate()

    def _leave_gate(self) -> None:
        if self._holds_gate:
            self._holds_gate = False
            self._gate.leave()
