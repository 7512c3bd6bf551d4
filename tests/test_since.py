"""Where a log begins for one who asks what was written since a moment, and in which messages speak of other times."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from pgsupervisor.postgres.logline import moment
from pgsupervisor.system.logparts import Part, first_since

HOUR = 1_795_014_000
"""A full hour, as a Unix time."""

CONTINUED = (b"\t(1, '2001-01-01 00:00:00 UTC'),\n", b"\t(2, '2099-01-01 00:00:00 UTC');\n")
"""The rest of a statement, as a log of plain text has it."""

AS_SENT = (b"(1, '2001-01-01 00:00:00 UTC'),\n", b"(2, '2099-01-01 00:00:00 UTC');\"\n")
"""The same in a csvlog."""


@pytest.mark.parametrize(
    ("message", "rest", "csv"),
    [(b" [1] LOG:  statement: insert into t values\n", CONTINUED, False), (b',,1,LOG,,,"insert\n', AS_SENT, True)],
    ids=["stderr", "csvlog"],
)
def test_other_lines_of_a_message(tmp_path: Path, message: bytes, rest: Sequence[bytes], *, csv: bool) -> None:
    """The times that a message of several lines speaks of are not taken for the time at which it was written."""
    log = tmp_path / "log"
    minutes = [b"2026-11-18 15:%02d:00.000 UTC" % minute for minute in range(60)]
    log.write_bytes(b"".join(b"".join((minute, message, *rest * 4)) for minute in minutes))
    part = Part(str(log), 0, log.stat().st_size, partial(log.open, "rb"))
    begins = [
        first_since([part], HOUR + 60 * minute, partial(moment, zone=None, csv=csv)) for minute in range(len(minutes))
    ]
    assert begins == [log.read_bytes().index(minute) for minute in minutes]
