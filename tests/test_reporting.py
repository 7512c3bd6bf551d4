"""The daemon's log: each line is an event, too, with the same name and the same facts."""

from __future__ import annotations

import json
import time
from signal import Signals

import pytest

from pgsupervisor.daemon.reporting import Reporter, logger, plain
from pgsupervisor.supervision.configuration import Mistake, Report
from pgsupervisor.supervision.events import Event, Events
from pgsupervisor.supervision.life import Exited, Life, Reloaded, State
from pgsupervisor.supervision.plan import Change


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return what was logged since the last time."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def as_logged(event: Event) -> dict[str, object]:
    """Return an event as the log has it, without its time."""
    about = {} if event.cluster is None else {"cluster": event.cluster}
    return {"level": event.level, "event": event.name, **about, **event.facts}


def test_every_line_is_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is logged is an event with the same level, name, cluster and facts, at the same time."""
    events = Events()
    before = time.time()
    reporter = Reporter(logger("json", events))
    reporter.changed(
        "shop", Life(State.RUNNING), Exited("x", clean=False, hopeless=True, jitter=1.0), Life(State.FATAL)
    )
    reporter.counts(Change("blog", "add"))
    reporter.counts(Change("blog", "change", "restart", ("port",)))
    reporter.counts(Change("blog", "remove"))
    reporter.ordered("stop", "shop", 0, {"mode": "fast", "timeout": 2.5})
    reporter.ordered("update", None, 1000, {})
    reporter.refused("Stop", ["shop"], 65534)
    reporter.refused("Kill", ["shop", "blog"], 65534)
    reporter.refused("Update", [], 65534)
    reporter.hung(["shop", "blog"])
    logged = lines(capsys)
    assert all(before <= event.time <= time.time() for event in events.kept)
    assert [as_logged(event) for event in events.kept] == [
        {key: fact for key, fact in line.items() if key != "timestamp"} for line in logged
    ]
    assert [(event.level, event.name, event.cluster, event.facts) for event in events.kept] == [
        ("error", "state changed", "shop", {"was": "RUNNING", "now": "FATAL", "on": "Exited"}),
        ("info", "cluster added", "blog", {}),
        ("info", "cluster changed", "blog", {"keys": ["port"], "effect": "restart"}),
        ("info", "cluster removed", "blog", {}),
        ("info", "ordered", "shop", {"order": "stop", "uid": 0, "mode": "fast", "timeout": 2.5}),
        ("info", "ordered", None, {"order": "update", "uid": 1000}),
        ("warning", "order refused", "shop", {"method": "Stop", "uid": 65534}),
        ("warning", "order refused", None, {"method": "Kill", "uid": 65534, "clusters": ["shop", "blog"]}),
        ("warning", "order refused", None, {"method": "Update", "uid": 65534}),
        (
            "error",
            "no progress",
            None,
            {
                "clusters": ["shop", "blog"],
                "reason": "a mistake in pgsupervisor, which its watchdog mends by a restart",
            },
        ),
    ]


def test_what_is_not_logged_is_no_event(capsys: pytest.CaptureFixture[str]) -> None:
    """What is below the log's level is no event either."""
    events = Events()
    log = logger("json", events)
    log.debug("nothing")
    log.bind(cluster="shop").warning("something", n=1)
    assert [(event.level, event.cluster, event.facts) for event in events.kept] == [("warning", "shop", {"n": 1})]
    assert len(lines(capsys)) == 1


def test_a_mistake_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """An event has the error in words, and holds nothing of its traceback; the log has all of it."""
    events = Events()
    reporter = Reporter(logger("json", events))
    reporter.mistake("shop", ZeroDivisionError("by zero"))
    reporter.loop_mistake(None, {"message": "never retrieved"})
    assert [event.facts for event in events.kept] == [
        {"where": "shop", "error": "ZeroDivisionError('by zero')"},
        {"where": "never retrieved"},
    ]
    assert "exception" in lines(capsys)[0]


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ("caf\udce9", "caf\udce9"),
        ((1, None, True), [1, None, True]),
        ({1: {2.5}}, {"1": [2.5]}),
        (2**63 - 1, 2**63 - 1),
        (2**63, "9223372036854775808"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (State.FATAL, "FATAL"),
        (Signals.SIGHUP, 1),
        (b"\xff", "b'\\xff'"),
        ([OSError(2, "no")], ["FileNotFoundError(2, 'no')"]),
    ],
)
def test_facts(fact: object, said: object) -> None:
    """A fact is what JSON and Varlink can say, or is said in Python's words."""
    assert plain(fact) == said


def test_an_event_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    """However much a user has to say, in settings' names or values, an event and its line keep little of it."""
    events = Events()
    reporter = Reporter(logger("json", events))
    reporter.ordered("set configuration", "shop", 1000, {"settings": [f"a{number}" for number in range(4000)]})
    mistakes = tuple(Mistake("/data/postgresql.conf", line, "x" * 1000) for line in range(4000))
    reporter.changed("shop", Life(), Reloaded(1, Report(mistakes=mistakes, unverified="y" * 10**6)), Life())
    logged = lines(capsys)
    assert [event.facts for event in events.kept] == [
        {key: fact for key, fact in line.items() if key not in {"timestamp", "level", "event", "cluster"}}
        for line in logged
    ]
    names = logged[0]["settings"]
    assert isinstance(names, list)
    assert (names[0], names[-1], 100 < len(names) < 1000) == ("a0", "…", True)
    assert all(len(json.dumps(line)) < 25_000 for line in logged)
