"""The daemon from its first moment to its last: connect the parts, wait for the end, take them down again.

The order matters. The control socket is taken first, so that a second daemon ends before it has touched a server.
Signals are handled before servers are started. The socket goes last, so that one can look at what a stop waits for.

A daemon may begin where another version of it, which this process executed before, has left off (`upgrade`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn
from weakref import WeakValueDictionary

from structlog.typing import FilteringBoundLogger

from pgsupervisor import __version__
from pgsupervisor.control.conversations import Conversations, Handed
from pgsupervisor.control.endpoint import Endpoint
from pgsupervisor.control.entrance import Entrance
from pgsupervisor.control.protocol import Reply
from pgsupervisor.control.server import ControlServer
from pgsupervisor.daemon.enclosure import ground, limits_off
from pgsupervisor.daemon.handover import Handover
from pgsupervisor.daemon.hosting import HostedPostmaster
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.daemon.log import HostedLog
from pgsupervisor.daemon.notifying import Notifier
from pgsupervisor.daemon.program import Program
from pgsupervisor.daemon.reporting import Reporter
from pgsupervisor.daemon.upgrade import Upgrade
from pgsupervisor.daemon.watchdog import Progress, Watchdog
from pgsupervisor.errors import InventoryError, UpgradeError
from pgsupervisor.inventory import load
from pgsupervisor.inventory.spec import ClusterSpec, Inventory
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.keeper import Post
from pgsupervisor.supervision.kept import Kept, Report
from pgsupervisor.supervision.life import Event, Life
from pgsupervisor.supervision.selection import ALL
from pgsupervisor.supervision.supervisor import Supervisor, Updated
from pgsupervisor.system.offspring import adopt_orphans, reap_orphans
from pgsupervisor.system.poweroff import goes_down
from pgsupervisor.system.process import abandon
from pgsupervisor.system.safepath import make_safe_directory
from pgsupervisor.system.sdnotify import NotifySocket, watchdog_interval
from pgsupervisor.system.signals import SignalPipe
from pgsupervisor.system.threads import started_pool
from pgsupervisor.system.watch import Watcher

_WORKING_AT_ONCE = 8
"""How many servers are started or looked at in one moment; that takes milliseconds, but for an initdb."""

_ASKED_AT_ONCE = 32
"""How many servers are asked at a time: one that answers is done in milliseconds, one that hangs takes ten seconds."""

_ROTATED_AT_ONCE = 2
"""How many logs are rotated or compressed at a time: the disk is the limit, and no start waits for it."""

_LOOKED_UP_AT_ONCE = 4
"""How many clients it is looked up for at a time who they are; a slow user database keeps nothing else waiting."""


class Service:
    """A daemon at work on one inventory; it goes on from what was handed over `before`, if anything was.

    What it logs are its `events`. `program` is what it executes to be upgraded; without one it cannot be. If it is
    `limiting`, clusters are given the limits of the inventory where a cgroup allows it.
    """

    def __init__(
        self,
        inventory: Inventory,
        log: FilteringBoundLogger,
        events: Events,
        *,
        endpoint: Endpoint,
        signals: SignalPipe,
        program: Program | None,
        before: Handover | None,
        limiting: bool,
    ) -> None:
        self.started = time.time() if before is None else before.started
        self.inventory_path = inventory.path
        self._log = log
        self._endpoint = endpoint
        self._signals = signals
        self._before = before
        self._known = {} if before is None else dict(before.clusters)
        self._hosted: WeakValueDictionary[str, HostedPostmaster] = WeakValueDictionary()
        self._reporter = Reporter(log)
        self._watcher = Watcher(asyncio.get_running_loop(), refused=self._reporter.polled)
        self._installations = Installations()
        # Before any thread of ours starts a program: what is started is where we are.
        self._ground = ground(limiting=limiting)
        asyncio.get_running_loop().set_default_executor(started_pool(_WORKING_AT_ONCE, "work"))
        self._asking = started_pool(_ASKED_AT_ONCE, "ask")
        self._rotating = started_pool(_ROTATED_AT_ONCE, "rotate")
        self._database = started_pool(_LOOKED_UP_AT_ONCE, "who")
        self._counting = started_pool(1, "count")
        self._supervisor = Supervisor(inventory, self._host, self._changed, self._reporter.mistake, events)
        notify = NotifySocket(os.environ)
        self._notifier = Notifier(notify, self._everybody)
        interval = watchdog_interval(os.environ, os.getpid())
        self._watchdog = Watchdog(notify, interval, Progress(self._everybody), self._reporter.hung)
        control = ControlServer(
            self._supervisor, self, self._reporter, database=self._database, counting=self._counting
        )
        self._conversations = Conversations(control.answer, self._reporter.mistake)
        self._entrance = Entrance(
            endpoint.socket, self._conversations.serve, lambda error: self._reporter.mistake("connection", error)
        )
        self._upgrade: Upgrade | None = None
        if program is not None:
            self._upgrade = Upgrade(
                program, self._supervisor, self._conversations, self._entrance, self._handover, lambda: self.ending, log
            )
        self._leave = False
        self._end = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def cgroup(self) -> str | None:
        """The directory of the cgroup that has the clusters' own in it; None if there is none."""
        return None if isinstance(self._ground, str) else str(self._ground.base)

    @property
    def limits(self) -> str:
        """Why clusters can be given no limits, and what to do; empty if they can."""
        return limits_off(self._ground)

    @property
    def ending(self) -> bool:
        """Whether the daemon is on its way out."""
        return self._end.is_set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until the end is asked for; `ready` is called when orders are taken and servers are being started."""
        asyncio.get_running_loop().set_exception_handler(self._reporter.loop_mistake)
        self._signals.listen(self._signalled)
        adopt_orphans()
        what = {"pid": os.getpid(), "socket": self._endpoint.path, "inventory": self.inventory_path}
        self._entrance.open()
        self._watchdog.open()
        self._notifier.open()
        # What is there by now stays: to look through it again and again would keep clients waiting for 20 ms each time.
        gc.freeze()
        gc.enable()
        if self._before is None:
            self._log.info("daemon started", **what)
            started = await self._supervisor.begin()
        else:
            self._log.info("daemon upgraded", was=self._before.version, now=__version__, **what)
            started = await self._go_on(self._before)
        self._notifier.begun(started)
        gc.freeze()
        ready()
        await self._end.wait()
        # Asked in the one thread that neither a disk nor a user database can keep for ever.
        if self._leave and await asyncio.get_running_loop().run_in_executor(self._counting, goes_down, os.environ):
            self._leave = False  # nobody could adopt them afterwards
        self._log.info("daemon stopping", servers="left running" if self._leave else "stopped")
        self._notifier.ending()
        await self._supervisor.end(leave=self._leave)
        await self._conversations.close()
        self._entrance.shut()
        self._watcher.close()
        for pool in (self._asking, self._rotating, self._database, self._counting):
            pool.shutdown(wait=False, cancel_futures=True)
        abandon()
        self._watchdog.close()
        self._notifier.close()
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
        if dry_run:
            return self._supervisor.plan(await asyncio.to_thread(load, self.inventory_path))
        with self._notifier.rereading():
            return await self._reread(report)

    async def _reread(self, report: Report) -> Updated:
        try:
            new = await asyncio.to_thread(load, self.inventory_path)
            _make_log_directory(new)
        except InventoryError as error:
            self._log.error("inventory refused", path=error.path, key=error.key, reason=error.why)
            raise
        updated = await self._supervisor.update(new, report, self._reporter.counts)
        changes = [f"{each.action} {each.name}" for each in updated.plan]
        self._log.info("inventory applied", changes=changes, daemon=updated.daemon)
        return updated

    async def upgrade(self) -> NoReturn:
        """Become the installed version of this program; the process, its children and its clients stay.

        Raises UpgradeError if that cannot be; everything goes on as it was then.
        """
        if self._upgrade is None:
            raise UpgradeError("a demonstration is not upgraded; end it, and begin another one")
        await self._upgrade.carry_out()

    async def _go_on(self, before: Handover) -> list[Kept]:
        """Begin where another version has left off, tell those who have asked for that, and return what is started."""
        started = await self._supervisor.begin({name: each.life for name, each in before.clusters.items()})
        for name, each in self._known.items():
            self._log.warning("cluster forgotten", cluster=name, reason="it is not in the inventory any more")
            for pidfd in each.pidfds:
                os.close(pidfd)
        self._reap()  # a short program of the other version may have outlived it
        upgraded = {"was": before.version, "version": __version__, "pid": os.getpid()}
        self._conversations.take_over(before.clients, Reply(upgraded))
        return started

    def _handover(self, clients: Sequence[Handed]) -> Handover:
        lives = {kept.spec.name: kept.life for kept in self._everybody()}
        return Handover(
            version=__version__,
            started=self.started,
            socket=self._endpoint.path,
            endpoint=self._endpoint.descriptors,
            signals=self._signals.descriptors,
            clients=tuple(clients),
            clusters={name: self._hosted[name].carried(life) for name, life in lives.items()},
            events=self._supervisor.events.kept,
        )

    def _everybody(self) -> list[Kept]:
        return self._supervisor.select([ALL])

    def _changed(self, name: str, before: Life, event: Event, after: Life) -> None:
        self._reporter.changed(name, before, event, after)
        self._notifier.changed(name, before, event, after)

    def _host(self, spec: ClusterSpec, post: Post) -> HostedPostmaster:
        log = HostedLog(spec, self._watcher, self._rotating, partial(self._reporter.rotated, spec.name))
        hosted = HostedPostmaster(
            spec, post, self._watcher, self._installations, asking=self._asking, log=log, ground=self._ground
        )
        if spec.name in self._known:
            hosted.resume(self._known.pop(spec.name))
        self._hosted[spec.name] = hosted
        return hosted

    def _signalled(self, number: signal.Signals) -> None:
        """End on SIGTERM and SIGINT; on a second SIGINT, an impatient Ctrl-C, do not wait for checkpoints."""
        if number is signal.SIGCHLD:
            self._reap()
        elif number is signal.SIGHUP:
            self._update_soon()
        elif self.ending and number is signal.SIGINT and not self._leave:
            self._log.warning("immediate stop", reason="second SIGINT")
            self._supervisor.hasten()
        elif not self.ending:
            self.end(leave=None)

    def _reap(self) -> None:
        """Reap what came to us and has ended; in a thread, since whoever starts a child keeps that waiting."""
        asyncio.get_running_loop().run_in_executor(None, reap_orphans)

    def _update_soon(self) -> None:
        task = asyncio.create_task(self._update_by_signal())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _update_by_signal(self) -> None:
        with contextlib.suppress(InventoryError):  # the log has it
            await self.update(lambda _name, _life: None, dry_run=False)


async def serve(
    inventory: Inventory,
    log: FilteringBoundLogger,
    events: Events,
    *,
    ready: Callable[[], None] = lambda: None,
    program: Program | None = None,
    before: Handover | None = None,
    limiting: bool = False,
) -> None:
    """Be the daemon of an inventory until a signal or an order ends it; if it is `limiting`, in a cgroup with limits.

    Raises DaemonRunningError if one serves this socket already, ControlError if the socket cannot be made, and
    InventoryError if the directory of the logs cannot be.
    """
    with SignalPipe(None if before is None else before.signals) as signals, _endpoint(inventory, before) as endpoint:
        _make_log_directory(inventory)
        service = Service(
            inventory,
            log,
            events,
            endpoint=endpoint,
            signals=signals,
            program=program,
            before=before,
            limiting=limiting,
        )
        await service.run(ready)


def _endpoint(inventory: Inventory, before: Handover | None) -> Endpoint:
    daemon = inventory.daemon
    if before is None:
        return Endpoint(daemon.socket, daemon.socket_mode, _group(daemon.admin_group))
    # The socket stays where it is, also if the inventory names another place: that counts from the next start on.
    return Endpoint(before.socket, daemon.socket_mode, None, before.endpoint)


def _make_log_directory(inventory: Inventory) -> None:
    path = inventory.daemon.log_directory
    weak = None
    try:
        if not os.path.isdir(path):
            weak = make_safe_directory(path)
    except OSError as error:
        raise InventoryError(
            inventory.path, "daemon.log_directory", f"cannot make {path}: {error.strerror}; make it, or name another"
        ) from error
    if weak is not None:
        why = f"it is not made, since {weak.why}: {weak.remedy}, or make {path} for the user of the servers"
        raise InventoryError(inventory.path, "daemon.log_directory", why)


def _group(name: str | None) -> int | None:
    """Return the number of the group that the socket belongs to: only root can give it away."""
    if name is None or os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
