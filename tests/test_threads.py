"""Threads that are there when they are needed."""

from __future__ import annotations

import threading

from servers import python

from pgsupervisor.system.threads import started_pool

_TOO_MANY = """
import resource
import threading
from pgsupervisor.errors import PgSupervisorError
from pgsupervisor.system.threads import started_pool

threading.stack_size(64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    started_pool(1000, "many")
except PgSupervisorError as error:
    print(error)
"""


def test_all_threads_run_from_the_beginning() -> None:
    """A pool has all its threads before there is any work for them, so that none has to be started for it."""
    before = threading.active_count()
    with started_pool(7, "seven"):
        assert threading.active_count() == before + 7
    assert threading.active_count() == before


def test_too_many_threads() -> None:
    """A pool that cannot have all its threads is refused; those that there were are let go, and it is said why."""
    finished = python(_TOO_MANY)
    refused = "can't start new thread: raise the limit of processes (ulimit -u, TasksMax, pids.max)\n"
    assert (finished.returncode, finished.stdout) == (0, refused), finished
