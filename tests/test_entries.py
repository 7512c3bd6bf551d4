"""Entries of the journal: the sentence and the fields of what happens."""

from __future__ import annotations

import pytest

from pgsupervisor.daemon.entries import fields, sentence


def test_a_change_of_state() -> None:
    """The fields have all facts, those of the journal in its own words; what is no text is JSON."""
    facts = {"cluster": "shop", "was": "RUNNING", "now": "BACKOFF", "on": "Exited", "pid": 7, "reason": "killed"}
    assert fields({"event": "state changed", "level": "warning", **facts}) == {
        "MESSAGE": "shop: state changed: RUNNING -> BACKOFF (on Exited; pid 7): killed",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "pgsupervisord",
        "PGSUPERVISOR_EVENT": "state changed",
        "PGSUPERVISOR_CLUSTER": "shop",
        "PGSUPERVISOR_WAS": "RUNNING",
        "PGSUPERVISOR_NOW": "BACKOFF",
        "PGSUPERVISOR_ON": "Exited",
        "PGSUPERVISOR_PID": "7",
        "PGSUPERVISOR_REASON": "killed",
    }


def test_lists_and_nothing() -> None:
    """A list is JSON in its field, and words in the sentence, which leaves out what says nothing."""
    made = fields({"event": "inventory applied", "level": "info", "changes": ["add ä", "remove b"], "daemon": ()})
    assert made == {
        "MESSAGE": "inventory applied (changes add ä, remove b)",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "pgsupervisord",
        "PGSUPERVISOR_EVENT": "inventory applied",
        "PGSUPERVISOR_CHANGES": '["add ä", "remove b"]',
        "PGSUPERVISOR_DAEMON": "[]",
    }


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"event": "daemon stopped"}, "daemon stopped"),
        ({"event": "daemon upgraded", "was": "1", "now": "2", "pid": 7}, "daemon upgraded: 1 -> 2 (pid 7)"),
        ({"event": "x", "cluster": "shop", "reason": "", "count": 0, "where": None}, "shop: x (count 0)"),
        ({"event": "inventory refused", "path": "/i", "key": "", "why": "no"}, "inventory refused (path /i): no"),
        ({"event": "mistake", "where": "y", "exception": "Traceback:\n  z"}, "mistake (where y)\nTraceback:\n  z"),
    ],
)
def test_sentences(facts: dict[str, object], said: str) -> None:
    """A sentence begins with the cluster and ends with the reason."""
    assert sentence({**facts, "level": "info"}) == said
