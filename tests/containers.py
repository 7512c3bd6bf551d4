"""A container for tests: other process ids and other shared memory, as far as this machine lets us make one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from daemons import LIMIT

CONTAINER = ("unshare", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
"""What makes of a program the first process of a container, which ends with the process that is ours."""


def need_containers() -> None:
    """Skip the test where no container can be made."""
    tried = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True, check=False, timeout=LIMIT)
    if tried.returncode != 0:
        pytest.skip(f"no container can be made: {tried.stderr.strip()}")


def first_of(container: int) -> int:
    """Return the pid, as seen from here, of the first process of a container that the process `container` keeps."""
    (first,) = Path(f"/proc/{container}/task/{container}/children").read_text(encoding="ascii").split()
    return int(first)
