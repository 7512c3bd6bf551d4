"""Standard streams that a program was started without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CODE = """
import os, sys
from pgsupervisor.system import standard
standard.occupy()
def opened():
    return [os.readlink(f"/proc/self/fd/{each}") for each in sorted(map(int, os.listdir("/proc/self/fd")))[:-1]]
with open(sys.argv[1], "w") as told:
    print(*opened(), *map(os.get_inheritable, range(standard.BEYOND)), file=told)
"""
"""A program that opens what is closed, and tells what it has open besides what it tells that with."""


@pytest.mark.parametrize("closed", ["", "2", "0 2", "0 1 2"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    """Whatever is closed is /dev/null afterwards, also for programs that it executes; the rest is as it was."""
    given, said = tmp_path / "given", tmp_path / "said"
    given.touch()
    closing = " ".join(f"{number}>&-" for number in closed.split())
    script = f'exec 0<"$0" 1>"$0" 2>"$0"; exec "$@" {closing}'
    arguments = ["sh", "-c", script, str(given), sys.executable, "-c", CODE, str(said)]
    subprocess.run(arguments, cwd=ROOT, env=os.environ, check=True, timeout=60)
    expected = ["/dev/null" if number in closed.split() else str(given) for number in "012"]
    assert said.read_text().split() == [*expected, str(said), "True", "True", "True"]
