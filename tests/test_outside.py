"""Failures whose cause lies outside of a cluster: it is tried again for as long as that lasts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import FakePolicy
from lives import BACKOFF, NOW, RUNNING, STARTED, STARTING

from pgsupervisor.supervision.life import Exited, FilesChanged, Life, SpawnFailed, Start, State, Timeout
from pgsupervisor.supervision.machine import step
from pgsupervisor.supervision.outcome import Outcome, outcome

FULL = Exited("no space", clean=False, hopeless=False, jitter=1.0, outside=True)
REFUSED = SpawnFailed("no processes", hopeless=False, jitter=1.0, outside=True)
POLICY = FakePolicy(start_retries=1, restart_limit=3)


def _falls_again(policy: FakePolicy, life: Life, times: int, event: Exited | SpawnFailed) -> tuple[Life, list[float]]:
    """Return what becomes of a server that fails this way each time it is tried again, and the waits between."""
    waits = []
    for _ in range(times):
        life, _ = step(policy, life, event, NOW)
        assert life.deadline is not None
        waits.append(life.deadline - NOW)
        life, _ = step(policy, life, Timeout(), NOW)
    return life, waits


@pytest.mark.parametrize("event", [FULL, REFUSED], ids=["exited", "not spawned"])
def test_it_is_never_given_up(event: Exited | SpawnFailed) -> None:
    """However often it fails for that, it is tried again, after restart_max_delay at the latest; nothing is counted."""
    life, waits = _falls_again(POLICY, replace(STARTING, backoff=0.0), 100, event)
    assert waits == [1.0, 2.0, 4.0] + [8.0] * 97
    counted = (life.failures, life.early_exits, life.outside)
    assert counted == (STARTING.failures, STARTING.early_exits, False)


@pytest.mark.parametrize(("life", "event"), [(STARTING, REFUSED), (STARTED, FULL), (RUNNING, FULL)], ids=str)
def test_what_it_waits_for(life: Life, event: Exited | SpawnFailed) -> None:
    """It waits like any other that failed, and is known to wait for what lies outside."""
    wait = life.backoff * 2 if life.backoff else 0.0
    assert step(POLICY, life, event, NOW) == (
        Life(
            State.BACKOFF,
            want_up=True,
            since=NOW,
            deadline=NOW + wait,
            failures=life.failures,
            early_exits=life.early_exits,
            backoff=wait,
            restarts=life.restarts,
            outside=True,
            reason=f"{event.reason}; next try in {wait:.1f} s",
        ),
        (),
    )


def test_another_failure_counts() -> None:
    """What comes after it is counted as if that had never been."""
    life, _ = _falls_again(POLICY, replace(STARTING, failures=0, early_exits=0), 10, FULL)
    for state in (State.BACKOFF, State.FATAL):
        life, _ = step(POLICY, life, replace(FULL, outside=False), NOW)
        assert (life.state, life.outside) == (state, False)
        life, _ = step(POLICY, life, Timeout(), NOW)


def test_restart_never_is_never() -> None:
    """Whoever wants no restarts gets none, whatever the cause."""
    life, _ = step(FakePolicy(restart="never"), RUNNING, FULL, NOW)
    assert (life.state, life.reason) == (State.FATAL, "no space (restart = never)")


def test_it_starts_at_once_when_its_files_are_back() -> None:
    """A server that waits for its data directory is started when there is one again, also if it once ran."""
    waiting = replace(BACKOFF, early_exits=0, outside=True)
    assert step(POLICY, waiting, FilesChanged(), NOW) == step(POLICY, waiting, Start(), NOW)


def test_who_ordered_a_start_is_not_kept_waiting() -> None:
    """Nobody knows how long it takes, so the order ends with the reason; the server is tried on."""
    waiting = replace(BACKOFF, outside=True)
    assert outcome("shop", Start(), waiting) == Outcome("shop", ok=False, state=State.BACKOFF, message=waiting.reason)
    assert outcome("shop", Start(), BACKOFF) is None
