"""pg_control: what a data directory says of itself, also while no server runs on it.

How a server went down is not told by its exit status: it is 0 after a fast shutdown, and 0 as well after an
immediate one, which leaves a crash recovery to the next start. The control file, global/pg_control, tells them apart
(PostgreSQL's src/include/catalog/pg_control.h, DBState).

pg_controldata reads it for us, all but one number: whether a server is in recovery is asked whenever it has written
something, and a program would be too much for that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Literal

from pgsupervisor.errors import ClusterError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.guarded import beginning_of
from pgsupervisor.system.identity import User
from pgsupervisor.system.process import run

_PATIENCE = 10.0
"""Seconds that pg_controldata may take to read one file."""

_CLEAN = ("shut down", "shut down in recovery")

RecoveryKind = Literal["crash", "archive"]
"""Why a server replays WAL: it, or its machine, crashed; or it is a standby, or recovers to a point in time."""

_STATE = slice(16, 20)
"""Where DBState is in pg_control; a system identifier and two version numbers come before it (PostgreSQL 12 to 18)."""

_RECOVERIES: dict[int, RecoveryKind] = {4: "crash", 5: "archive"}
"""DB_IN_CRASH_RECOVERY and DB_IN_ARCHIVE_RECOVERY."""


def control_file(data_directory: str) -> str:
    """Return the path of the control file."""
    return os.path.join(data_directory, "global", "pg_control")


def recovery(data_directory: str) -> RecoveryKind | None:
    """Return what recovery the server on a data directory is in, which a standby always is; None if in none.

    A server writes it down before it replays anything, and at the end before it says that it is ready. Until the former
    it is what the last server left: in recovery, if it was killed in that.

    Raises OSError if the file cannot be read.
    """
    state = beginning_of(control_file(data_directory), _STATE.stop)[_STATE]
    return _RECOVERIES.get(int.from_bytes(state, sys.byteorder))


def controldata(installation: Installation, data_directory: str, run_as: User | None) -> dict[str, str]:
    """Return what pg_controldata prints, such as `{"Database cluster state": "shut down", ...}`, in English.

    Raises ClusterError if there is no control file that it could read, and InstallationError without the program.
    """
    asked = command.controldata_command(installation.require("pg_controldata"), data_directory)
    environment = command.environment(os.environ, run_as=run_as, extra={"LC_ALL": "C"})
    try:
        finished = run(asked, environment=environment, run_as=run_as, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{asked[0]} did not answer within {_PATIENCE:.0f} s", {"command": asked}) from error
    if finished.returncode != 0:
        raise ClusterError(
            finished.stderr.strip() or f"{asked[0]} ended with status {finished.returncode}",
            {"command": asked, "returncode": finished.returncode, "stderr": finished.stderr},
        )
    pairs = (line.split(":", 1) for line in finished.stdout.splitlines() if ":" in line)
    return {name: value.strip() for name, value in pairs}


def clean_shutdown(installation: Installation, data_directory: str, run_as: User | None) -> bool:
    """Tell whether the last server on the data directory was shut down cleanly, so that no crash recovery is due.

    Raises ClusterError if there is no control file to tell, and InstallationError without pg_controldata.
    """
    return controldata(installation, data_directory, run_as).get("Database cluster state") in _CLEAN
