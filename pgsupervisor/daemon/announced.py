"""What a server says of itself: in postmaster.pid, and in pg_control of recovery."""

from __future__ import annotations

from collections.abc import Iterator

from pgsupervisor.daemon.running import Running
from pgsupervisor.postgres import controldata
from pgsupervisor.supervision.life import Fact, Ready, Recovering, Reinitialized


def news(running: Running, *, control: bool) -> Iterator[Fact]:
    """Yield what a server says now and had not said when it was looked at last; that is noted in `running`.

    A server that starts writes a few lines to postmaster.pid, and some times to pg_control. Each is read when it was
    written to, the latter if `control`, and both where one says that there is news in the other.

    Raises OSError if that cannot be read.
    """
    if control and controldata.recovery(running.spec.data_directory) == running.recovery:
        return
    # As long as it lives, nobody else can have its number, and what is there under it is its own.
    written = running.cluster.announced_by(running.process) if running.process.alive() else None
    if written is None:
        return
    up = written.status in {"ready", "standby"}
    recovery = controldata.recovery(running.spec.data_directory) if up or control else running.recovery
    running.port, running.socket_directory = written.port, written.socket_directory
    # A postmaster whose processes crashed makes its shared memory anew, and stays `ready` all the while.
    crashed = running.ready and None not in {written.shared_memory, running.memory}
    if crashed and written.shared_memory != running.memory:
        yield Reinitialized()
    running.memory = written.shared_memory or running.memory
    standby = recovery == "archive"
    # With hot_standby off, `standby` is said in crash recovery too, since PostgreSQL 15. That comes to an end.
    if written.status == "ready" or (written.status == "standby" and standby):
        if running.standby is not standby:
            running.standby = standby
            yield Ready(standby=standby)
    elif recovery is not None and recovery != running.recovery and not running.ready:
        running.recovery = recovery
        yield Recovering(recovery)
