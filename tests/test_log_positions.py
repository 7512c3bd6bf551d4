"""At which positions of a log somebody may ask to go on: what he sends may be anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import SPEC

from pgsupervisor.daemon.logstart import readers
from pgsupervisor.supervision.kept import LogStart


@pytest.mark.parametrize("position", ["", "null", "[" * 50_000, '{"logfile": 1}', '{"collector": "-1 ONE"}'])
def test_no_position(tmp_path: Path, position: str) -> None:
    """What is no position is refused as such, however it is wrong."""
    (tmp_path / "current_logfiles").write_text(f"stderr {tmp_path}/log/one.log\n")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "one.log").write_text("one\n")
    spec = replace(SPEC, data_directory=str(tmp_path))
    with pytest.raises(ValueError, match=r"position|Expecting value"):
        readers(None, spec, LogStart(0, position=position.replace("ONE", f"{tmp_path}/log/one.log")), follow=False)
