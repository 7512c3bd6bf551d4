"""What was measured: a figure has the samples of each contestant, and what its medians must reach."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

Samples: TypeAlias = Mapping[str, Sequence[float]]
"""What was measured of each contestant, run by run."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that must be `at_most` (or, if that is None, `at_least`) so much, and what was `reached`."""

    what: str
    reached: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is so."""
        if self.at_most is not None and self.reached > self.at_most:
            return False
        return self.at_least is None or self.reached >= self.at_least

    @property
    def bound(self) -> str:
        """The bound in words."""
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A `title`, the `unit` of all samples, and the goals."""

    title: str
    unit: str
    samples: Samples
    goals: Sequence[Goal]

    @property
    def medians(self) -> dict[str, float]:
        """The median of each contestant."""
        return {name: statistics.median(samples) for name, samples in self.samples.items()}

    @property
    def document(self) -> dict[str, object]:
        """All of it, for JSON."""
        goals = [asdict(goal) | {"met": goal.met} for goal in self.goals]
        samples = {name: [round(each, 6) for each in samples] for name, samples in self.samples.items()}
        return {"title": self.title, "unit": self.unit, "medians": self.medians, "samples": samples, "goals": goals}


def ratio(samples: Samples, name: str, to: str) -> float:
    """Return the ratio of two contestants' medians."""
    return statistics.median(samples[name]) / statistics.median(samples[to])
