"""What plays over several steps: delays, giving up, the ladder of a stop, a reload that waits."""

from __future__ import annotations

from dataclasses import replace
from signal import Signals

import pytest
from fakes import FakePolicy
from lives import BACKOFF, FATAL, NOW, RELOADING, RELOADING_AGAIN, RUNNING, STARTED, STARTED_DUE, STARTING, STOPPED

from pgsupervisor.supervision.configuration import Change, Report
from pgsupervisor.supervision.life import (
    Action,
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Order,
    Ready,
    Reload,
    Reloaded,
    Restart,
    Rung,
    Signal,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    StopMode,
    TellToReload,
    Timeout,
)
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.transitions import IMMEDIATE_TIMEOUT, STILL_STARTING, Step

POLICY = FakePolicy()
ALWAYS = FakePolicy(restart="always")

START, STOP, RELOAD, KILL, TIMEOUT = Start(), Stop(), Reload(), Kill(), Timeout()
CHANGED = FilesChanged()
SPAWNED, READY = Spawned(43), Ready(standby=False)
NOT_SPAWNED = SpawnFailed("port in use", hopeless=False, jitter=1.0)
CLEAN = Exited("exited with status 0", clean=True, hopeless=False, jitter=1.0)
UNCLEAN = Exited("killed by SIGKILL", clean=False, hopeless=False, jitter=1.0)

HOPELESS = Exited("bad configuration", clean=False, hopeless=True, jitter=1.0)

HUP, QUIT = ((Signal(number),) for number in (Signals.SIGHUP, Signals.SIGQUIT))
SPAWN, TELL = (Spawn(),), (TellToReload(),)


def _live(policy: FakePolicy, life: Life, *events: Event) -> Step:
    """Go through events, each at the moment at which the deadline before it passes, or a second after the last."""
    actions: tuple[Action, ...] = ()
    now = NOW
    for event in events:
        now = life.deadline if event == TIMEOUT and life.deadline is not None else now + 1
        life, actions = step(policy, life, event, now)
    return life, actions


UP = (SPAWNED, READY)
FELL = Exited("fell", clean=False, hopeless=False, jitter=1.0)


def _waits_between(policy: FakePolicy, life: Life, falls: int) -> list[float]:
    """Return the waits of a server that gets ready each time, falls a second later, and is started again."""
    waits = []
    for _ in range(falls):
        life, _ = _live(policy, life, FELL)
        assert life.deadline is not None
        waits.append(life.deadline - life.since)
        life, _ = _live(policy, life, TIMEOUT, *UP)
    return waits


def test_delays_double_up_to_the_longest() -> None:
    """A server that falls again and again waits restart_delay, then twice as long each time, up to the maximum."""
    started, _ = _live(POLICY, STOPPED, START, *UP)
    assert _waits_between(POLICY, started, 6) == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_the_longest_delay_bounds_the_first_too() -> None:
    """No wait is longer than restart_max_delay, even if restart_delay is."""
    policy = FakePolicy(restart_delay=9.0)
    started, _ = _live(policy, STOPPED, START, *UP)
    assert _waits_between(policy, started, 2) == [8.0, 8.0]


def test_the_first_restart_after_a_stable_run_is_immediate() -> None:
    """A server that ran for stable_after comes back at once, and begins anew with the delays after that."""
    stable, _ = _live(POLICY, STOPPED, START, *UP, FELL, TIMEOUT, *UP, TIMEOUT)
    assert (stable.failures, stable.backoff, stable.deadline) == (0, None, None)
    assert _waits_between(POLICY, stable, 4) == [0.0, 1.0, 2.0, 4.0]


def test_the_wait_is_not_told_where_there_is_none() -> None:
    """The reason of a restart at once is the failure alone."""
    stable, _ = _live(POLICY, STOPPED, START, *UP, TIMEOUT)
    assert _live(POLICY, stable, FELL)[0].reason == "fell"


def test_stable_is_counted_from_ready() -> None:
    """A long recovery is no stable run: stable_after begins when the server is ready."""
    starting, _ = _live(POLICY, STOPPED, START, SPAWNED, TIMEOUT, TIMEOUT)
    ready, _ = step(POLICY, starting, READY, 500.0)
    assert ready.deadline == 510.0


@pytest.mark.parametrize("jitter", [0.8, 1.0, 1.2])
def test_jitter_scales_the_wait_and_not_the_next(jitter: float) -> None:
    """Jitter comes in as data, moves this wait, and leaves the doubling alone."""
    life, _ = step(POLICY, RUNNING, Exited("fell", clean=False, hopeless=False, jitter=jitter), NOW)
    assert (life.deadline, life.backoff) == (NOW + 4.0 * jitter, 4.0)


def _falls_until_fatal(policy: FakePolicy, *, ready: bool, most: int) -> tuple[int, str]:
    life, _ = _live(policy, STOPPED, START)
    for falls in range(1, most + 1):
        life, _ = _live(policy, life, *(UP if ready else (SPAWNED,)), FELL)
        if life.state is State.FATAL:
            return falls, life.reason
        life, actions = _live(policy, life, TIMEOUT)
        assert (life.restarts, actions) == (STOPPED.restarts + falls, SPAWN)
    return 0, ""


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_restart_limit(limit: int) -> None:
    """The restart_limit-th failure in a row is the last one."""
    policy = FakePolicy(restart_limit=limit)
    assert _falls_until_fatal(policy, ready=True, most=20) == (
        limit,
        f"fell (gave up after {limit} failures in a row)",
    )


def test_no_restart_limit() -> None:
    """With restart_limit = 0 a server that gets ready is never given up."""
    assert _falls_until_fatal(FakePolicy(restart_limit=0), ready=True, most=100) == (0, "")


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_start_retries(retries: int) -> None:
    """A server that never gets ready is tried start_retries times more, whatever restart_limit is."""
    policy = FakePolicy(start_retries=retries, restart_limit=0)
    assert _falls_until_fatal(policy, ready=False, most=20) == (
        retries + 1,
        f"fell (gave up after {retries + 1} starts)",
    )


def test_being_ready_once_begins_the_count_of_starts_anew() -> None:
    """Exits before ready count only in a row."""
    policy = FakePolicy(start_retries=1)
    early = (SPAWNED, FELL, TIMEOUT)
    life, _ = _live(policy, STOPPED, START, *early, *UP, FELL, TIMEOUT, *early)
    assert (life.state, life.early_exits) == (State.STARTING, 1)


def _ladder(mode: StopMode, timeout: float | None) -> list[tuple[str, float]]:
    """Return each signal of a stop that nothing obeys, and how long it is given."""
    life, actions = step(POLICY, RUNNING, Stop(mode, timeout), NOW)
    rungs = []
    now = NOW
    while actions:
        (action,) = actions
        assert isinstance(action, Signal)
        assert life.deadline is not None
        rungs.append((action.number.name, life.deadline - now))
        now = life.deadline
        life, actions = step(POLICY, life, TIMEOUT, now)
    assert (life.state, life.deadline) == (State.STOPPING, None)
    assert life.reason == "does not end even after SIGKILL; a process that waits for a broken disk does that"
    return rungs


def test_the_whole_ladder() -> None:
    """A smart stop that nobody obeys becomes fast, immediate and SIGKILL, each after stop_timeout; then we wait."""
    assert _ladder("smart", None) == [("SIGTERM", 60), ("SIGINT", 60), ("SIGQUIT", 60), ("SIGKILL", 60)]


def test_the_order_gives_the_time_of_every_rung() -> None:
    """A timeout given with the order is that of each rung."""
    assert _ladder("fast", 30.0) == [("SIGINT", 30), ("SIGQUIT", 30), ("SIGKILL", 30)]


def test_an_immediate_shutdown_gets_its_time() -> None:
    """However short the timeout: the postmaster needs 5 s to kill children that ignore SIGQUIT."""
    assert _ladder("fast", 0.0) == [("SIGINT", 0), ("SIGQUIT", IMMEDIATE_TIMEOUT), ("SIGKILL", IMMEDIATE_TIMEOUT)]


SIGNALS = {"smart": "SIGTERM", "fast": "SIGINT", "immediate": "SIGQUIT"}


@pytest.mark.parametrize("mode", SIGNALS)
def test_the_policy_gives_the_mode(mode: StopMode) -> None:
    """stop_mode is how a server is asked where the order does not say."""
    _, actions = step(FakePolicy(stop_mode=mode), RUNNING, STOP, NOW)
    assert actions == (Signal(Signals[SIGNALS[mode]]),)


STOPS = [Stop("smart", 20.0), Stop("fast", 20.0), Stop("immediate", 20.0), KILL]
RESTARTS = [Restart("smart", 20.0), Restart("fast", 20.0), Restart("immediate", 20.0)]


@pytest.mark.parametrize("first", STOPS, ids=repr)
@pytest.mark.parametrize("second", STOPS + RESTARTS, ids=repr)
def test_a_harder_order_overtakes_and_a_softer_one_joins(first: Order, second: Order) -> None:
    """While a server stops, only a harder order signals, and SIGKILL again; any order says what is wished then."""
    stopping, _ = step(POLICY, RUNNING, first, NOW)
    alone, signal = step(POLICY, RUNNING, second, NOW + 1)
    assert stopping.rung is not None
    assert alone.rung is not None
    if alone.rung > stopping.rung or alone.rung is Rung.KILL:
        expected = replace(alone, since=NOW), signal
    else:
        expected = replace(stopping, want_up=isinstance(second, Restart)), ()
    assert step(POLICY, stopping, second, NOW + 1) == expected


@pytest.mark.parametrize("event", [RELOAD, CHANGED])
def test_what_changes_during_a_start_is_told_when_ready(event: Event) -> None:
    """A server that starts may need its files to get ready, so it reads them each time; then it is asked, once."""
    assert _live(POLICY, STARTED, event) == (STARTED_DUE, HUP)
    assert _live(POLICY, STARTED, event, event) == (STARTED_DUE, HUP)
    life, actions = _live(POLICY, STARTED, event, event, READY)
    assert (life.state, life.reloading, life.reload_due, actions) == (State.RUNNING, True, False, TELL)
    assert step(POLICY, life, READY, NOW + 4) == (life, ())
    report = Report(files=("/srv/shop/postgresql.conf",))
    assert step(POLICY, life, Reloaded(42, report), NOW + 5) == (replace(life, reloading=False, report=report), ())


def test_what_changes_during_a_reload_is_told_after_it_once() -> None:
    """However often the files change while the server is asked, one more reload follows, and then nothing."""
    told = Reloaded(42, Report())
    life, actions = _live(POLICY, RUNNING, CHANGED, CHANGED, RELOAD, CHANGED)
    assert actions == ()
    life, actions = _live(POLICY, life, told)
    assert (life.reloading, life.reload_due, life.report, actions) == (True, False, Report(), TELL)
    assert _live(POLICY, life, told) == (replace(RUNNING, report=Report()), ())


def test_who_waits_for_two_reloads_is_told_of_both() -> None:
    """A reload that follows another at once tells what came of both; one that comes later only of itself."""
    first = Reloaded(42, Report(("/hba",), changes=(Change("work_mem", "4MB", "8MB"),), overruled=("port",)))
    second = Reloaded(42, Report(("/conf",), changes=(Change("jit", "on", "off"),)))
    both = Report(("/hba", "/conf"), changes=(*first.report.changes, *second.report.changes), overruled=("port",))
    assert _live(POLICY, RUNNING, CHANGED, RELOAD, first, second)[0].report == both
    assert _live(POLICY, RUNNING, CHANGED, first, RELOAD, second)[0].report == second.report
    assert _live(POLICY, RUNNING, CHANGED, RELOAD, first, second, RELOAD, second)[0].report == second.report


def test_what_another_server_made_of_its_files_is_not_said_of_this_one() -> None:
    """An answer that comes after its server has ended, or that nobody waits for, changes nothing."""
    life, _ = _live(POLICY, RELOADING, UNCLEAN, TIMEOUT, SPAWNED, CHANGED, READY)
    assert (life.pid, life.reloading) == (43, True)
    assert step(POLICY, life, Reloaded(42, Report()), NOW + 9) == (life, ())
    answered, _ = step(POLICY, life, Reloaded(43, Report()), NOW + 9)
    late = Reloaded(43, Report(unverified="too late"))
    assert step(POLICY, answered, late, NOW + 10) == (answered, ())


@pytest.mark.parametrize("event", [RELOAD, CHANGED])
def test_what_changes_before_there_is_a_server_signals_nobody(event: Event) -> None:
    """A signal that nobody receives would call the start off; the server is asked when it is ready all the same."""
    life, actions = _live(POLICY, STARTING, event)
    assert (life, actions) == (replace(STARTING, reload_due=True), ())
    assert _live(POLICY, life, SPAWNED, READY)[1] == TELL


@pytest.mark.parametrize("ended", [UNCLEAN, CLEAN])
@pytest.mark.parametrize("life", [RELOADING, RELOADING_AGAIN], ids=["reloads", "reload due"])
def test_a_reload_dies_with_its_server(life: Life, ended: Event) -> None:
    """The next server reads its configuration when it starts; no reload is left over for it."""
    after, _ = _live(ALWAYS, life, ended)
    assert (after.state, after.reloading, after.reload_due) == (State.BACKOFF, False, False)


@pytest.mark.parametrize("ended", [UNCLEAN, HOPELESS])
@pytest.mark.parametrize("policy", [POLICY, ALWAYS, FakePolicy(restart="never"), FakePolicy(start_retries=0)], ids=str)
def test_what_changes_during_a_start_that_fails_is_tried_once(policy: FakePolicy, ended: Event) -> None:
    """What the server did not come up with is mended, perhaps: it starts at once, and the next failure counts."""
    again, actions = _live(policy, STARTED, CHANGED, ended)
    assert (again, actions) == step(policy, FATAL, START, NOW + 2)
    assert _live(policy, again, ended)[0].state in {State.BACKOFF, State.FATAL}


def test_what_changes_before_there_is_a_server_is_no_reason_to_try_again_at_once() -> None:
    """An initdb that fails leaves nothing of what it wrote; it is not run again and again without a wait."""
    assert _live(POLICY, STARTING, CHANGED, NOT_SPAWNED) == _live(POLICY, STARTING, START, NOT_SPAWNED)


def test_who_stops_a_server_that_starts_means_it_whatever_has_changed() -> None:
    """A server that somebody else has shut down in order stays down, also if it were to read its files anew."""
    stopped = Life(since=NOW + 2, restarts=7, reason="stopped by someone else")
    assert _live(POLICY, STARTED, CHANGED, CLEAN) == (stopped, ())


@pytest.mark.parametrize("life", [BACKOFF, FATAL], ids=lambda life: life.state)
def test_a_server_that_never_came_up_is_tried_with_its_new_files(life: Life) -> None:
    """What it could not start with is mended, perhaps: it starts at once, as if it had been ordered to."""
    assert step(POLICY, life, CHANGED, NOW) == step(POLICY, life, START, NOW)


@pytest.mark.parametrize("life", [BACKOFF, FATAL], ids=lambda life: life.state)
def test_a_server_that_falls_while_it_runs_is_not_mended_by_its_files(life: Life) -> None:
    """Where the configuration was not the trouble, a change of it is no reason to start before the time or at all."""
    fallen = replace(life, early_exits=0)
    assert step(POLICY, fallen, CHANGED, NOW) == (fallen, ())


def test_a_stop_before_the_spawn_reaches_the_server_when_it_comes() -> None:
    """Nobody was there to hear the order, so the signal is sent to the pid that comes: of the rung reached by then."""
    life, actions = _live(POLICY, STARTING, STOP, TIMEOUT, SPAWNED)
    assert (life.pid, life.rung, actions) == (43, Rung.IMMEDIATE, QUIT)


def test_still_starting_is_said_again_and_again() -> None:
    """A recovery is never cut short: each deadline only says how long it takes already."""
    starting, _ = step(POLICY, STOPPED, START, NOW)
    starting, _ = step(POLICY, starting, SPAWNED, NOW)
    life, actions = _live(POLICY, starting, *[TIMEOUT] * 6)
    assert (life, actions) == (
        replace(
            starting,
            deadline=NOW + 7 * STILL_STARTING,
            reason="still starting after 60 s; recovery can take long",
        ),
        (),
    )
