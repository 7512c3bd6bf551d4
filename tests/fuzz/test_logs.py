"""Fuzzers of logs: of positions that somebody says he has been at, and of archives that somebody has put there."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from fakes import SPEC
from fuzzing import NUMBERS, TEXTS, examples, mangled
from hypothesis import given
from hypothesis import strategies as st
from logs import TEXT

from pgsupervisor.daemon.logstart import readers
from pgsupervisor.errors import LogLostError, LogUntimedError
from pgsupervisor.inventory.spec import FrozenMapping
from pgsupervisor.supervision.kept import LogStart
from pgsupervisor.system.rotation import RotatedLog

PLACES = st.fixed_dictionaries(
    {}, optional={"logfile": TEXTS | NUMBERS.map(str), "collector": TEXTS | st.builds("{} {}".format, NUMBERS, TEXTS)}
)
POSITIONS = (
    PLACES.map(json.dumps) | TEXTS | st.sampled_from(("[" * 9000, '{"a":' * 9000, "[]", '{"logfile": 1}', "1e999"))
)
STARTS = st.builds(
    LogStart, st.integers(0, 10**6), since=st.none() | st.floats(allow_nan=False), position=st.none()
) | (st.builds(LogStart, st.integers(0, 9), position=POSITIONS))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for a log and a data directory."""
    made = tmp_path_factory.mktemp("logs")
    (made / "data" / "log").mkdir(parents=True)
    return made


class Stage(NamedTuple):
    """What is there to be read: None where it is not."""

    log: bytes | None
    begin: bytes | None
    archives: Sequence[bytes]
    ending: str
    current_logfiles: bytes | None

    def set_up(self, directory: Path) -> None:
        """Write all of it, in the place of what was there."""
        for each in (*directory.glob("shop.log*"), directory / "data" / "current_logfiles"):
            each.unlink(missing_ok=True)
        if self.log is not None:
            (directory / "shop.log").write_bytes(self.log)
            if self.begin is not None:
                os.setxattr(directory / "shop.log", "user.pgsupervisor.begin", self.begin)
        for number, content in enumerate(self.archives, 1):
            (directory / f"shop.log.{number}{self.ending}").write_bytes(content)
        (directory / "data" / "log" / "1.log").write_bytes(TEXT[:500])
        if self.current_logfiles is not None:
            (directory / "data" / "current_logfiles").write_bytes(self.current_logfiles)


STAGES = st.builds(
    Stage,
    st.none() | mangled(TEXT[:2000]),
    st.none() | st.binary(max_size=20),
    st.lists(mangled(gzip.compress(TEXT[:3000]), gzip.compress(b""), TEXT[:3000]), max_size=3),
    st.sampled_from(("", ".gz")),
    st.none() | mangled(b"stderr log/1.log\n"),
)


@given(stage=STAGES, start=STARTS, zone=TEXTS)
@examples(80)
def test_where_to_begin(directory: Path, stage: Stage, start: LogStart, zone: str) -> None:
    """Whatever is asked for, and whatever is there: it is read to its end, or told why not."""
    stage.set_up(directory)
    spec = replace(SPEC, data_directory=str(directory / "data"), settings=FrozenMapping({"log_timezone": zone}))
    log = RotatedLog(str(directory / "shop.log"))
    with contextlib.suppress(OSError, LogLostError, LogUntimedError), contextlib.ExitStack() as opened:
        try:
            reading = readers(log, spec, start, follow=True)
        except ValueError:
            assert start.position is not None
            return
        for reader in reading.values():
            opened.callback(reader.close)
            while reader.read():
                pass
