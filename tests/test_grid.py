"""The state grid in CONTRIBUTING.md is what the code does.

`python tests/test_grid.py --write` writes it there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fakes import FakePolicy
from lives import NOW, ORPHAN_ROWS, ROWS

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.life import (
    Event,
    Exited,
    FilesChanged,
    Kill,
    Life,
    Orphaned,
    Ready,
    Recovering,
    Reinitialized,
    Reload,
    Reloaded,
    Restart,
    Signal,
    SignalOrphans,
    Spawn,
    Spawned,
    SpawnFailed,
    Start,
    Stop,
    TellToReload,
    Timeout,
    Unlocked,
)
from pgsupervisor.supervision.machine import step

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
BEGIN, END = "<!-- grid -->\n```\n", "```\n<!-- /grid -->\n"

COLUMNS: tuple[Event, ...] = (
    Start(),
    Stop(),
    Restart(),
    Reload(),
    Kill(),
    Spawned(43),
    SpawnFailed("no", hopeless=False, jitter=1.0),
    Unlocked(),
    Recovering("crash"),
    Ready(standby=False),
    Reinitialized(),
    Exited("ended", clean=False, hopeless=False, jitter=1.0),
    Orphaned(0),
    FilesChanged(),
    Reloaded(42, Report()),
    Timeout(),
)


def _cell(before: Life, event: Event) -> str:
    after, actions = step(FakePolicy(), before, event, NOW)
    text = after.state.value if after.state is not before.state else "=" * (after != before)
    for action in actions:
        match action:
            case Spawn():
                text += "*"
            case Signal(number) | SignalOrphans(number):
                text += f"!{number.name.removeprefix('SIG')}"
            case TellToReload():
                text += "!HUP"
    return text or "."


def _grid() -> str:
    rows = [["", *(type(event).__name__ for event in COLUMNS)]]
    rows += [[name, *(_cell(life, event) for event in COLUMNS)] for name, life in (ROWS | ORPHAN_ROWS).items()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (" ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def test_the_grid_in_the_page_is_what_the_code_does() -> None:
    """Nobody can change what a state does with an event without showing it in CONTRIBUTING.md."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0] == _grid(), "write it with `python tests/test_grid.py --write`"


def _write() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{_grid()}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    _write()
