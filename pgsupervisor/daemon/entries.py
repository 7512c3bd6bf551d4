"""What happens, as entries of systemd's journal: a sentence for people, and each fact as a field to search by. Pure.

The sentence says of whom, what, the facts, and why: `shop: state changed: RUNNING -> BACKOFF (on Exited): killed by
SIGKILL`. The fields are those that journalctl knows (systemd.journal-fields(7)), and ours, which all begin alike:
`journalctl PGSUPERVISOR_CLUSTER=shop` finds what happened to a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The levels of a log as syslog(3) has them."""

_TOLD_APART = {"cluster", "event", "level", "was", "now", "reason", "why", "exception"}
"""The facts that have a place of their own in a sentence."""


def fields(facts: Mapping[str, object]) -> dict[str, str]:
    """Return the entry of an event, which has at least `event` and `level`; what is no text becomes JSON."""
    ours = {key: value for key, value in facts.items() if key != "level"}
    return {
        "MESSAGE": sentence(facts),
        "PRIORITY": str(_PRIORITIES[str(facts["level"])]),
        "SYSLOG_IDENTIFIER": "pgsupervisord",
        **{f"PGSUPERVISOR_{key.upper()}": _text(value) for key, value in ours.items()},
    }


def sentence(facts: Mapping[str, object]) -> str:
    """Return an event for people; a traceback follows on lines of its own."""
    return "".join(_parts(facts))


def _parts(facts: Mapping[str, object]) -> Iterator[str]:
    if "cluster" in facts:
        yield f"{facts['cluster']}: "
    yield str(facts["event"])
    if {"was", "now"} <= facts.keys():
        yield f": {facts['was']} -> {facts['now']}"
    said = ((key, _listed(value)) for key, value in facts.items() if key not in _TOLD_APART)
    if others := "; ".join(f"{key} {text}" for key, text in said if text):
        yield f" ({others})"
    for key in ("reason", "why"):
        if facts.get(key):
            yield f": {facts[key]}"
    if "exception" in facts:
        yield f"\n{facts['exception']}"


def _listed(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
