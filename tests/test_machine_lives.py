"""Random lives in a world in which facts have causes: what holds in all of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from signal import Signals
from typing import get_args

from fakes import FakePolicy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.life import (
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Orphaned,
    Ready,
    Recovering,
    RecoveryKind,
    Reload,
    Reloaded,
    Restart,
    Rung,
    Signal,
    SignalOrphans,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    TellToReload,
    Timeout,
    Unlocked,
)
from pgsupervisor.supervision.machine import step

MODES = st.none() | st.sampled_from(["smart", "fast", "immediate"])
ORDERS = st.one_of(
    st.just(Start()),
    st.just(Reload()),
    st.just(Kill()),
    st.builds(Stop, MODES, st.none() | st.sampled_from([0.0, 4.0])),
    st.builds(Restart, MODES),
)
ORPHANS = st.sampled_from([0, 0, 1, 2])
JITTER = st.sampled_from([0.5, 1.0, 1.5])
LATER = 4096.0
"""A power of two, so that adding it to small times loses nothing."""


def _later(life: Life) -> Life:
    return replace(
        life,
        since=life.since + LATER,
        deadline=None if life.deadline is None else life.deadline + LATER,
        recovery=life.recovery and replace(life.recovery, since=life.recovery.since + LATER),
        beyond=None if life.beyond is None else _later(life.beyond),
    )


class World(RuleBasedStateMachine):
    """A cluster and its postmaster: facts come only of what was spawned, what runs and what was told to reload.

    `reloads` has the pid of each server that was told to reload and has not been asked yet what it made of its files,
    alive or not. `orphans` is how many processes outlived a server, as far as is told, and `put_off` whether this life
    is what followed when they were gone. `unread` is whether the files changed since the server that is up, or
    comes up, was told to read them. `locked` is whether a start waits for somebody else to leave the data directory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.now = 0.0
        self.spawning = False
        self.process: int | None = None
        self.pids = count(1)
        self.reloads: list[int] = []
        self.orphans = 0
        self.put_off = False
        self.unread = False
        self.policy = FakePolicy()
        self.hardest: Rung | None = None
        self.locked = False

    @initialize(
        restart=st.sampled_from(["always", "on-failure", "never"]),
        limit=st.integers(0, 3),
        retries=st.integers(0, 3),
        runs_already=st.booleans(),
    )
    def begin(self, restart: str, limit: int, retries: int, *, runs_already: bool) -> None:
        """A policy, and perhaps a server that is adopted."""
        self.policy = FakePolicy(restart=restart, restart_limit=limit, start_retries=retries)
        if runs_already:
            self.come_up()

    @rule(order=ORDERS)
    def order(self, order: Event) -> None:
        """An administrator may order anything at any time."""
        self.happen(order)

    @precondition(lambda self: self.spawning)
    @rule()
    def spawned(self) -> None:
        """A spawn under way succeeds."""
        self.spawning = False
        self.come_up()

    @precondition(lambda self: self.spawning)
    @rule(hopeless=st.booleans(), outside=st.booleans(), jitter=JITTER, orphans=ORPHANS)
    def not_spawned(self, jitter: float, orphans: int, *, hopeless: bool, outside: bool) -> None:
        """A spawn under way fails, perhaps as there is somebody in the way."""
        self.spawning = False
        self.unread = False  # as far as anybody can tell from what initdb wrote, and took away again
        self.orphans = orphans
        self.happen(SpawnFailed("no", hopeless=hopeless, jitter=jitter, orphans=orphans, outside=outside))

    @precondition(lambda self: self.spawning)
    @rule()
    def locked_out(self) -> None:
        """Somebody else has the data directory, which is no failure."""
        self.spawning = self.unread = False  # the next start reads whatever is there then
        failures = self.life.failures
        self.locked = self.life.state is State.STARTING
        self.happen(SpawnFailed("locked", hopeless=False, jitter=1.0, locked=True))
        assert self.life.failures in (failures, 0)

    @rule()
    def unlocked(self) -> None:
        """Whoever had the data directory may have left it at any time; and that may be told late."""
        locked = self.locked
        self.happen(Unlocked())
        assert self.spawning or not locked

    @precondition(lambda self: self.process is not None)
    @rule(kind=st.sampled_from(get_args(RecoveryKind)))
    def recovering(self, kind: RecoveryKind) -> None:
        """A server begins to replay WAL."""
        self.happen(Recovering(kind))

    @precondition(lambda self: self.process is None and not self.spawning)
    @rule()
    def started_by_hand(self) -> None:
        """Somebody else starts a server, maybe before it is told that the last orphan has ended."""
        self.unread = False
        self.come_up()

    @precondition(lambda self: self.orphans)
    @rule(data=st.data())
    def orphan_ended(self, data: st.DataObject) -> None:
        """Of the processes that outlived a server, some end."""
        self.orphans = data.draw(st.integers(0, self.orphans - 1))
        self.happen(Orphaned(self.orphans))

    @precondition(lambda self: self.process is not None)
    @rule(standby=st.booleans())
    def ready(self, *, standby: bool) -> None:
        """A server gets ready, or changes its role."""
        self.happen(Ready(standby))

    @precondition(lambda self: self.process is not None)
    @rule(clean=st.booleans(), hopeless=st.booleans(), outside=st.booleans(), jitter=JITTER, orphans=ORPHANS)
    def exited(self, jitter: float, orphans: int, *, clean: bool, hopeless: bool, outside: bool) -> None:
        """A server ends, unasked or not, and may leave processes behind."""
        self.process = None
        self.orphans = 0 if clean else orphans
        told = Exited("ended", clean=clean, hopeless=hopeless, jitter=jitter, orphans=self.orphans, outside=outside)
        self.happen(told)

    @rule()
    def files_changed(self) -> None:
        """Anybody may change a file at any time."""
        self.unread = True
        self.happen(FilesChanged())

    @precondition(lambda self: self.reloads)
    @rule(which=st.integers(0, 9), report=st.sampled_from([Report(), Report(files=("/srv/pg_hba.conf",))]))
    def reloaded(self, which: int, report: Report) -> None:
        """It is known what a server made of its files, which may have ended meanwhile."""
        pid = self.reloads.pop(which % len(self.reloads))
        before = self.life
        self.happen(Reloaded(pid, report))
        if pid == self.process and self.life.state is State.RUNNING:
            assert self.life.report == report.following(before.report if before.continued else None)

    @precondition(lambda self: self.life.deadline is not None)
    @rule()
    def deadline(self) -> None:
        """The deadline passes."""
        assert self.life.deadline is not None
        self.now = max(self.now, self.life.deadline)
        self.happen(Timeout())

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        """Time passes, but not beyond the deadline."""
        if self.life.deadline is None or self.now + seconds < self.life.deadline:
            self.now += seconds

    def come_up(self) -> None:
        """A server is there."""
        self.process = next(self.pids)
        self.happen(Spawned(self.process))

    def happen(self, event: Event) -> None:
        """Take the step, see that it depends on `now` alone, and perform the actions."""
        before = self.life
        self.life, actions = step(self.policy, before, event, self.now)
        later = step(self.policy, _later(before), event, self.now + LATER)
        assert later == (_later(self.life), actions), "time comes from nowhere but `now`"
        self.locked &= self.life.state is State.BACKOFF
        for action in actions:
            match action:
                case Spawn():
                    self.spawn(before)
                case Signal(Signals.SIGHUP):
                    assert self.process is not None, "it would call off a start"
                    assert self.life.state is State.STARTING, "whoever is ready is asked what came of it"
                case Signal():
                    assert self.process is not None or self.spawning, "a signal has somebody to reach"
                case SignalOrphans():
                    assert self.process is None
                    assert self.orphans, "a signal has somebody to reach"
                case TellToReload():
                    self.tell_to_reload()
        if self.life != before:
            self.put_off = self.life == before.beyond
        if self.life.state is not before.state:
            assert self.life.since == self.now or self.put_off
        self.stop_goes_only_harder(before)

    def spawn(self, before: Life) -> None:
        """There are never two servers, and one is spawned only on the way up."""
        assert not self.spawning
        assert self.process is None, "never two servers"
        assert not self.orphans, "never a server beside orphans"
        assert before.state is not State.STARTING or before.reload_due
        assert self.life.state is State.STARTING
        assert self.life.want_up
        self.spawning = True
        self.unread = False

    def tell_to_reload(self) -> None:
        """Only a server that is ready is told to reload, and not before it is known what came of the last time."""
        assert self.life.state is State.RUNNING
        assert self.process is not None
        assert self.process not in self.reloads
        self.reloads.append(self.process)
        self.unread = False

    def stop_goes_only_harder(self, before: Life) -> None:
        """No order makes a stop softer."""
        if before.rung is not None and self.life.rung is not None:
            assert self.life.rung >= before.rung

    @invariant()
    def pid_is_that_of_the_process(self) -> None:
        """A pid is known exactly while there is a process, and then the state says so."""
        assert self.life.pid == self.process
        if self.process is not None or self.spawning:
            assert self.life.state in {State.STARTING, State.RUNNING, State.STOPPING}

    @invariant()
    def somebody_is_there(self) -> None:
        """A state that speaks of a server has one, or one that is being spawned, or what is left of one."""
        if self.life.state in {State.STARTING, State.RUNNING, State.STOPPING}:
            assert self.process is not None or self.spawning or self.life.orphans

    @invariant()
    def orphans_are_known(self) -> None:
        """Whatever outlived a server is known, until another runs, and something follows when it is gone."""
        assert self.life.orphans == (self.orphans if self.process is None else 0)
        assert (self.life.beyond is not None) == (self.life.state is State.BACKOFF and self.life.orphans > 0)

    @invariant()
    def wish_fits_the_state(self) -> None:
        """What is down for good is not wanted up; whatever is not stopping otherwise is."""
        if self.life.state is State.STOPPED:
            assert not self.life.want_up
        elif self.life.state is not State.STOPPING:
            assert self.life.want_up

    @invariant()
    def deadline_fits_the_state(self) -> None:
        """A deadline exists where one is needed, and none where nothing is waited for."""
        match self.life.state:
            case State.STOPPED | State.FATAL:
                assert self.life.deadline is None
            case State.STARTING:
                assert self.life.deadline is not None
            case State.BACKOFF:
                assert self.life.deadline is not None or self.life.rung is Rung.KILL or self.locked
                assert self.life.deadline is None or not self.locked
            case State.RUNNING:
                assert (self.life.deadline is None) == (self.life.backoff is None)
            case State.STOPPING:
                assert self.life.deadline is not None or self.life.rung is Rung.KILL
        assert self.life.deadline is None or self.life.deadline >= self.now or self.put_off

    @invariant()
    def details_fit_the_state(self) -> None:
        """No detail outlives the state that it belongs to."""
        assert self.life.rung is None or self.life.state is State.STOPPING or self.life.orphans
        assert self.life.rung is not None or self.life.state is not State.STOPPING
        assert self.life.report is None or self.life.state is State.RUNNING
        assert self.life.recovery is None or self.life.state is State.STARTING
        assert not self.life.standby or self.life.state in {State.RUNNING, State.STOPPING}
        assert not self.life.early_exits or self.life.state is not State.RUNNING
        assert not self.life.outside or self.life.state is State.BACKOFF

    @invariant()
    def no_change_is_lost(self) -> None:
        """A server reads whatever changes: at its start, at a reload, or at the one that is due after these."""
        assert self.life.reloading == (self.life.state is State.RUNNING and self.process in self.reloads)
        if self.life.state is State.STARTING:
            assert self.life.reload_due or not self.unread
        elif self.life.state is State.RUNNING:
            assert self.life.reload_due or not self.unread
            assert self.life.reloading or not self.life.reload_due
        else:
            assert not self.life.reload_due
        waiting = self.life.beyond or self.life
        if waiting.state in {State.BACKOFF, State.FATAL} and waiting.early_exits:
            assert not self.unread, "what did not come up is tried with its new files"


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, stateful_step_count=40)
