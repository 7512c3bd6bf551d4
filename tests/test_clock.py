"""The wall clock jumps (NTP, a virtual machine that is resumed, an administrator): nothing is decided by it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pgsupervisor"

SHOWN = {
    "cli/daemon.py",  # how long ago something was, for people
    "cli/logs.py",  # how long ago a line may have been written, as a person says it
    "cli/status.py",
    "cli/table.py",  # when something was, for people
    "control/records.py",  # when something was, for programs
    "daemon/reporting.py",  # when something happened
    "daemon/service.py",  # when the daemon began
    "postgres/logline.py",  # when a line was written, by its own word
}
"""Who may look at it, in order to show a time."""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_wall_clock_is_only_shown(path: Path) -> None:
    """Whoever waits or decides does it by a clock that only goes forward; the wall clock's time is shown, no more."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    looks = named & {"time.time", "time.time_ns", "time.localtime"} or imported & {"time_ns", "datetime"}
    assert not looks or str(path.relative_to(PACKAGE)) in SHOWN
