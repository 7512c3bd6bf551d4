"""Whom the kernel ends when memory runs out."""

from __future__ import annotations

from pathlib import Path

from servers import sleeper

from pgsupervisor.system import oom


def test_a_child_is_lowered_but_never_raised() -> None:
    """A child is made less likely to be ended; one that is so already stays as it is."""
    own = oom.ordinary()
    with sleeper() as process:
        file = Path(f"/proc/{process.pid}/oom_score_adj")
        file.write_text("1000")
        oom.lower(process.pid, own)
        assert int(file.read_text()) == own
        oom.lower(process.pid, 1000)
        assert int(file.read_text()) == own
