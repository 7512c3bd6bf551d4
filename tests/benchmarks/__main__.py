"""The one command: `make bench`, or `make bench BENCH='boot idle'` for some of it.

What is measured is printed as a table; a run of everything is also written down, as results.json and results.svg.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.alone import flood, questions, reloads, rest
from benchmarks.answering import Judge
from benchmarks.chart import chart
from benchmarks.figures import Figure
from benchmarks.hosts import OURS
from benchmarks.many import many
from benchmarks.race import race
from benchmarks.report import machine, table
from benchmarks.widths import widths
from machine import STAGED

PARTS: dict[str, Callable[[Judge], list[Figure]]] = {
    "race": race,
    "widths": widths,
    "reload": reloads,
    "rest": rest,
    "flood": flood,
    "questions": questions,
    "many": many,
}

HERE = Path(__file__).parent


def main() -> int:
    """Measure, print, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument(
        "part", nargs="*", default=[*PARTS], help=f"what to measure, of {', '.join(PARTS)} (default: all)"
    )
    asked = parser.parse_args().part
    if unknown := set(asked) - set(PARTS):
        parser.error(f"there is no {', '.join(unknown)}")
    judge = Judge()
    figures: list[Figure] = []
    try:
        for part in asked:
            print(f"measuring: {part}", file=sys.stderr)
            found = PARTS[part](judge)
            print(table(found), flush=True)
            figures += found
    finally:
        judge.close()
        shutil.rmtree(STAGED)
    if set(asked) == set(PARTS):
        document = {**machine(), "figures": [figure.document for figure in figures]}
        (HERE / "results.json").write_text(json.dumps(document, indent=1) + "\n")
        (HERE / "results.svg").write_text(
            chart([each for each in figures if len(each.samples) > 1 and OURS in each.samples])
        )
    return 0 if all(goal.met for figure in figures for goal in figure.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
