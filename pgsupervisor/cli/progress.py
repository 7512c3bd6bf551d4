"""Waiting for what was ordered: what happens is drawn on a terminal, and in the end there is what came of it."""

from __future__ import annotations

from collections.abc import Iterator

from pgsupervisor.cli.answers import Ordered, told
from pgsupervisor.cli.screen import Screen
from pgsupervisor.cli.table import sentence
from pgsupervisor.control.protocol import Parameters

_CLEAR = "\r\033[K"
"""Back to the line's beginning, and clear it (ECMA-48)."""


def last_answer(answers: Iterator[Parameters], screen: Screen) -> Ordered:
    """Wait for the last answer and return it. Until then, what happens is drawn over what happened before."""
    answer = told(Ordered, {})
    try:
        for parameters in answers:
            answer = told(Ordered, parameters)
            progress = answer.get("progress")
            if progress and screen.terminal:
                line = sentence(progress["name"], progress["state"], progress["reason"], Screen())
                print(f"{_CLEAR}{screen.cut(line)}", end="", flush=True)
    finally:
        if screen.terminal:
            print(_CLEAR, end="", flush=True)
    return answer


def outcome_lines(answer: Ordered, screen: Screen) -> list[str]:
    """Return what came of an order, one line per cluster."""
    outcomes = answer.get("outcomes") or []
    return [sentence(outcome["name"], outcome["state"], outcome["message"], screen) for outcome in outcomes]


def exit_status(answer: Ordered) -> int:
    """Return 0 if an order was carried out for every cluster, else 1."""
    return 0 if all(outcome["ok"] for outcome in answer.get("outcomes") or []) else 1
