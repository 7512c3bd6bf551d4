"""The daemon from its first moment to its last: connect the parts, wait for the end, take them down again.

The order matters. The control socket is taken first, so that a second daemon ends before it has touched a server.
Signals are handled before servers are started. The socket goes last, so that one can look at what a stop waits for.
"""

from __future__ import annotations

import asyncio
import grp
import os
import signal
import time
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from pgsupervisor.control.endpoint import Endpoint
from pgsupervisor.control.server import ControlServer
from pgsupervisor.daemon.hosting import HostedPostmaster
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.daemon.reporting import Reporter
from pgsupervisor.errors import InventoryError
from pgsupervisor.inventory import load
from pgsupervisor.inventory.spec import ClusterSpec, Inventory
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.supervisor import Report, Supervisor, Updated
from pgsupervisor.system.offspring import adopt_orphans, reap_orphans
from pgsupervisor.system.process import abandon
from pgsupervisor.system.threads import started_pool
from pgsupervisor.system.watch import Watcher

_WORKING_AT_ONCE = 8
"""How many servers are started or looked at in one moment; that takes milliseconds, but for an initdb."""

_ASKED_AT_ONCE = 32
"""How many servers are asked at a time: one that answers is done in milliseconds, one that hangs takes ten seconds."""


class Service:
    """A daemon at work on one inventory."""

    def __init__(self, inventory: Inventory, log: FilteringBoundLogger) -> None:
        self.started = time.time()
        self.inventory_path = inventory.path
        self._log = log
        self._reporter = Reporter(log)
        self._watcher = Watcher(asyncio.get_running_loop(), refused=self._reporter.polled)
        self._installations = Installations()
        asyncio.get_running_loop().set_default_executor(started_pool(_WORKING_AT_ONCE, "work"))
        self._asking = started_pool(_ASKED_AT_ONCE, "ask")
        self._supervisor = Supervisor(inventory, self._host, self._reporter.changed, self._reporter.mistake)
        self._control = ControlServer(self._supervisor, self, self._watcher, self._reporter.mistake)
        self._leave = False
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ending(self) -> bool:
        """Whether the daemon is on its way out."""
        return self._end.is_set()

    async def run(self, endpoint: Endpoint, ready: Callable[[], None]) -> None:
        """Serve until the end is asked for; `ready` is called when orders are taken and servers are being started."""
        self._handle_signals()
        server = await asyncio.start_unix_server(self._control.connected, sock=endpoint.socket)
        self._log.info("daemon started", pid=os.getpid(), socket=endpoint.path, inventory=self.inventory_path)
        await self._supervisor.begin()
        ready()
        await self._end.wait()
        self._log.info("daemon stopping", servers="left running" if self._leave else "stopped")
        await self._supervisor.end(leave=self._leave)
        server.close()
        await self._control.close()
        self._watcher.close()
        self._asking.shutdown(wait=False, cancel_futures=True)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)  # there will be no threads for it
        abandon()
        self._log.info("daemon stopped")

    def end(self, *, leave: bool | None) -> None:
        """Begin to exit, leaving the servers running if `leave`; None is what the inventory says."""
        on_exit = self._supervisor.inventory.daemon.on_exit
        self._leave = on_exit == "leave" if leave is None else leave
        self._end.set()

    async def update(self, report: Report, *, dry_run: bool) -> Updated:
        """Read the inventory again, and apply it unless `dry_run`.

        Raises InventoryError; nothing is changed then.
        """
        new = await asyncio.to_thread(load, self.inventory_path)
        if dry_run:
            return self._supervisor.plan(new)
        _make_log_directory(new)
        updated = await self._supervisor.update(new, report)
        changes = [f"{each.action} {each.name}" for each in updated.plan]
        self._log.info("inventory applied", changes=changes, daemon=updated.daemon)
        return updated

    def _host(self, spec: ClusterSpec, post: Post) -> HostedPostmaster:
        return HostedPostmaster(spec, post, self._watcher, self._installations, self._asking)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._reporter.loop_mistake)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end_by_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._reread)
        # What outlives a postmaster comes to us; in a thread, since whoever starts a child keeps it waiting.
        loop.add_signal_handler(signal.SIGCHLD, loop.run_in_executor, None, reap_orphans)
        adopt_orphans()

    def _end_by_signal(self, number: signal.Signals) -> None:
        """End on the first signal; on a second SIGINT, an impatient Ctrl-C, do not wait for checkpoints."""
        if self.ending and number is signal.SIGINT and not self._leave:
            self._log.warning("immediate stop", reason="second SIGINT")
            self._supervisor.hasten()
        elif not self.ending:
            self.end(leave=None)

    def _reread(self) -> None:
        task = asyncio.create_task(self._update_by_signal())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _update_by_signal(self) -> None:
        try:
            await self.update(lambda _name, _life: None, dry_run=False)
        except InventoryError as error:
            self._log.error("inventory refused", path=error.path, key=error.key, why=error.why)


async def serve(inventory: Inventory, log: FilteringBoundLogger, ready: Callable[[], None] = lambda: None) -> None:
    """Be the daemon of an inventory until a signal or an order ends it.

    Raises DaemonRunningError if one serves this socket already, ControlError if the socket cannot be made, and
    InventoryError if the directory of the logs cannot be.
    """
    daemon = inventory.daemon
    with Endpoint(daemon.socket, daemon.socket_mode, _group(daemon.admin_group)) as endpoint:
        _make_log_directory(inventory)
        await Service(inventory, log).run(endpoint, ready)


def _make_log_directory(inventory: Inventory) -> None:
    path = inventory.daemon.log_directory
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise InventoryError(inventory.path, "daemon.log_directory", f"cannot make {path}: {error.strerror}") from error


def _group(name: str | None) -> int | None:
    """Return the number of the group that the socket belongs to: only root can give it away."""
    if name is None or os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
