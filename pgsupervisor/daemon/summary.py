"""All clusters in one line, such as `12 running, 1 recovering, 1 fatal: shop`; `systemctl status` shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from pgsupervisor.supervision.life import Life, State

_ORDER = ("running", "recovering", "starting", "stopping", "stopped", "backoff", "fatal")
"""What there is to say, with what needs attention at the end, where it is seen."""

_BY_NAME = {"stopping", "backoff", "fatal"}
"""Of which one wants to know who they are."""

_NAMED = 5
"""How many names are said."""


def summary(lives: Mapping[str, Life]) -> str:
    """Return how many clusters are in which state, and which ones they are that are in trouble or waited for."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, life in lives.items():
        found[_word(life)].append(name)
    return ", ".join(_said(word, found[word]) for word in _ORDER if word in found) or "no clusters"


def _word(life: Life) -> str:
    recovering = life.state is State.STARTING and life.recovery is not None
    return "recovering" if recovering else life.state.value.lower()


def _said(word: str, names: list[str]) -> str:
    said = f"{len(names)} {word}"
    if word not in _BY_NAME:
        return said
    more = ["…"] if len(names) > _NAMED else []
    return f"{said}: {' '.join([*names[:_NAMED], *more])}"
