"""Whether all that runs on this machine is about to end, as systemd has it.

Who leaves processes behind has to know: nobody comes back to them, and at last systemd ends them in its own way, in
whatever order, with disks gone already (systemd-shutdown(8)).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from pgsupervisor.system.process import run

_PATIENCE = 10.0
"""Seconds that systemd has to answer, which takes milliseconds."""


def goes_down(environment: Mapping[str, str]) -> bool:
    """Tell whether the systemd that has this process as a service stops everything; if nobody can tell, it does not.

    Blocks. A user's own systemd stops everything, too, when that user logs out; its services know it by MANAGERPID
    (systemd.exec(5)).
    """
    if "NOTIFY_SOCKET" not in environment:
        return False
    manager = ["--user"] if "MANAGERPID" in environment else []
    try:
        asked = run(["systemctl", *manager, "is-system-running"], environment=environment, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() == "stopping"
