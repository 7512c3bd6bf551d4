"""What was measured, for people: a table of medians, and of what they had to reach; and on which machine that was."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure
from machine import INSTALLATIONS

from pgsupervisor import __version__


def machine() -> dict[str, object]:
    """Say what was measured, when, and on what."""
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "pgsupervisor": __version__,
        "postgresql": INSTALLATIONS[0].version,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "processor": _processor(),
        "root": os.geteuid() == 0,
    }


def table(figures: Sequence[Figure]) -> str:
    """Return figures as text."""
    lines = []
    for figure in figures:
        lines.append(f"\n{figure.title}")
        for name, median in figure.medians.items():
            samples = figure.samples[name]
            spread = f"  ({number(min(samples))} to {number(max(samples))})" if len(samples) > 1 else ""
            lines.append(f"    {name:32}{number(median):>12} {figure.unit}{spread}")
        for goal in figure.goals:
            verdict = "reached" if goal.met else "MISSED"
            lines.append(f"  > {goal.what:44}{number(goal.reached):>10} {goal.bound:10} {verdict}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a number with three digits that count, or all of a large one."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
