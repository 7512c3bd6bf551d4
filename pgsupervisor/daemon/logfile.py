"""The log file of a cluster, and as whom it is touched."""

from __future__ import annotations

from functools import partial

from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres.owner import touched_by
from pgsupervisor.system.rotation import RotatedLog


def log_of(spec: ClusterSpec) -> RotatedLog | None:
    """Return the log of a cluster; None if it is in no file."""
    if spec.log_path is None:
        return None
    return RotatedLog(spec.log_path, partial(touched_by, spec.data_directory, spec.user))
