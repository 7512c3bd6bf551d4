"""The hand that does what is planned: clients that give orders, somebody who breaks things, a parent for the daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never

from chaos.disk import Disk
from chaos.plan import (
    INCLUDED,
    RULES,
    Act,
    Fill,
    Free,
    KillChild,
    KillDaemon,
    Order,
    Orphan,
    Plan,
    Save,
    Strike,
)
from chaos.stage import psql
from daemons import Site
from servers import owned

from pgsupervisor.control.client import Client
from pgsupervisor.control.protocol import CONFIGURATION_NOT_READABLE, CONFIGURATION_REFUSED, UPGRADING
from pgsupervisor.errors import DaemonUnreachableError, RemoteError
from pgsupervisor.postgres import command, pidfile
from pgsupervisor.system.process import Process, children

_REFUSALS = {CONFIGURATION_NOT_READABLE, CONFIGURATION_REFUSED, UPGRADING}
"""What may become of an order that is right: a bad value, a server that cannot be asked, an upgrade meanwhile."""

_BUSY = "do $$ begin raise notice 'busy'; loop end loop; end $$"


class Hand:
    """Does to a site what is planned. What it has left behind is gone when it is left."""

    def __init__(self, site: Site, disk: Disk) -> None:
        self._site = site
        self._disk = disk
        self._directories = {name: Path(str(keys["data_directory"])) for name, keys in site.clusters.items()}
        self._first = {
            directory / file: (directory / file).read_text()
            for directory in self._directories.values()
            for file in (INCLUDED, RULES)
        }
        self._sessions = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sessions.close()

    def carry_out(self, plan: Plan) -> None:
        """Do everything, each actor in a thread of its own; return when the last is done."""
        begin = time.monotonic()
        with ThreadPoolExecutor(len(plan.actors)) as threads:
            played = [threads.submit(self._play, acts, begin) for acts in plan.actors]
        for each in played:
            each.result()

    def mend(self) -> None:
        """Take back what lasts: broken files, a full disk."""
        self._disk.free()
        for path in self._first:
            self._save(path, "", in_place=False)

    def _play(self, acts: Iterable[Act], begin: float) -> None:
        for act in acts:
            time.sleep(max(0, begin + act.at - time.monotonic()))
            print(f"{datetime.now(UTC):%T.%f} {act}")  # noqa: T201  # beside the daemon's log, after a failure
            self._do(act)

    def _do(self, act: Act) -> None:
        match act:
            case Order():
                self._order(act)
            case Strike():
                with self._postmaster(act.cluster) as postmaster:
                    if postmaster is not None:
                        postmaster.signal(act.number)
            case KillChild():
                self._kill_child(act)
            case Orphan():
                self._orphan(act)
            case Save():
                # There may be no room for it.
                with contextlib.suppress(OSError):
                    self._save(self._directories[act.cluster] / act.file, act.text, in_place=act.in_place)
            case Fill():
                self._disk.fill()
            case Free():
                self._disk.free()
            case KillDaemon():
                assert self._site.daemons[-1].end(signal.SIGKILL) == -signal.SIGKILL
                self._site.start()
            case _:
                assert_never(act)

    def _order(self, order: Order) -> None:
        """Call the daemon, which may be gone, or answer too late for us."""
        with contextlib.suppress(DaemonUnreachableError), Client(self._site.socket, order.patience) as client:
            try:
                client.call(order.method, **order.parameters)
            except RemoteError as refused:
                if refused.name not in _REFUSALS:
                    raise

    @contextlib.contextmanager
    def _postmaster(self, name: str) -> Iterator[Process | None]:
        """Hold the postmaster of a cluster, if it runs."""
        held = pidfile.postmaster(str(self._directories[name]))
        with contextlib.nullcontext() if held is None else held as process:
            yield process

    def _kill_child(self, act: KillChild) -> None:
        with self._postmaster(act.cluster) as postmaster, contextlib.ExitStack() as held:
            found = [] if postmaster is None else [held.enter_context(each) for each in children(postmaster)]
            for child in found[int(act.which * len(found)) :][:1]:
                child.signal(signal.SIGKILL)

    def _orphan(self, act: Orphan) -> None:
        session = subprocess.Popen(
            psql(self._site, act.cluster, "-c", _BUSY),
            env=command.environment(os.environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._sessions.enter_context(session)
        self._sessions.callback(session.kill)
        assert session.stderr is not None
        if b"busy" in session.stderr.readline():
            self._do(Strike(act.at, act.cluster, signal.SIGKILL))

    def _save(self, path: Path, text: str, *, in_place: bool) -> None:
        """Save a file as it was at first, with a text added."""
        written = path if in_place else path.with_name(f"{path.name}.new")
        written.write_text(self._first[path] + text)
        owned(written, path.parent)
        if not in_place:
            written.rename(path)
