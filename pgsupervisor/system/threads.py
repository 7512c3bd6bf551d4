"""Threads that are there when they are needed.

A pool of the standard library starts a thread when there is work for it. When the limit of processes is hit, which
counts threads too, that fails, and the work is done all the same, later, by a thread that is free again, when nobody
waits for what comes of it any more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from pgsupervisor.errors import PgSupervisorError


def started_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads all run already.

    Raises PgSupervisorError if there cannot be so many.
    """
    pool = ThreadPoolExecutor(threads, name)
    everybody = Barrier(threads)
    try:
        started = [pool.submit(everybody.wait) for _ in range(threads)]
    except RuntimeError as error:
        everybody.abort()
        raise PgSupervisorError(f"{error}: raise the limit of processes (ulimit -u, TasksMax, pids.max)") from error
    for thread in started:
        thread.result()
    return pool
