"""When there has been quiet enough to look at what was saved."""

from __future__ import annotations

import pytest

from pgsupervisor.daemon.files import quiet_at


@pytest.mark.parametrize(
    ("first", "last", "delay", "due"),
    [
        (100.0, 100.0, 0.3, 100.3),
        (100.0, 101.0, 0.3, 101.3),
        (100.0, 102.9, 0.3, 103.0),
        (100.0, 200.0, 0.3, 103.0),
        (100.0, 100.0, 0.0, 100.0),
    ],
)
def test_quiet(first: float, last: float, delay: float, due: float) -> None:
    """It is quiet a delay after the last change, or else ten delays after the first."""
    assert quiet_at(first, last, delay) == pytest.approx(due)
