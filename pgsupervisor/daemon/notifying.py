"""What systemd is told of the daemon: that it is ready, reloads or stops, how its clusters are, and that it needs time.

READY=1 is told when every cluster that starts by itself has had its try: its server answers, or has failed to start. A
unit that is ordered after ours (`After=pgsupervisor.service`) wants servers that answer, and not a control socket; that
answers all the while. PostgreSQL tells its own readiness in the same way (manual, "Starting the Database Server").
Servers that replay an archive are not waited for, that is standbys, and those that recover to a point in time: they may
need a primary that is away, or a network that comes up after us, and would hold up the whole boot.

systemd limits how long a start, a reload and a stop may take. A crash recovery, or the checkpoint of a shutdown, takes
as long as it takes. So more time is asked for, again and again, while one of the three is under way. But not to wait
for a process that even SIGKILL does not end; nor for a keeper that makes no progress: with the limit, systemd puts off
the end of its patience with a daemon that hangs, too (`watchdog`; service_extend_timeout in systemd's service.c).

Nothing of this runs while nothing happens. And when hundreds of clusters change at once, that is told in a line or two.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from pgsupervisor.daemon.summary import summary
from pgsupervisor.daemon.watchdog import Progress
from pgsupervisor.errors import InventoryError
from pgsupervisor.escaping import escape
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.supervision.life import Event, Life, Rung, State
from pgsupervisor.system.sdnotify import NotifySocket, monotonic_usec

_PAUSE = 0.5
"""Seconds between one status and the next: each is a message on the bus to everybody who watches units."""

_MORE_TIME = 60
"""Seconds that are asked for."""

_AGAIN = 20.0
"""Seconds after which they are asked for again."""


class Notifier:
    """Tells systemd; lives in one event loop. `kept` returns the clusters in our care."""

    def __init__(self, notify: NotifySocket, kept: Callable[[], Sequence[Kept]]) -> None:
        self._notify = notify
        self._kept = kept
        self._progress = Progress(kept)
        self._awaited: set[str] | None = None  # who has not had its try yet; None while nobody knows
        self._ready = False
        self._rereading = 0
        self._ending = False
        self._refused = ""
        self._status = ""
        self._pause: asyncio.Handle | None = None
        self._patience: asyncio.Handle | None = None

    def open(self) -> None:
        """Begin: clusters are taken into care from now on."""
        self._have_time()

    def begun(self, started: Iterable[Kept]) -> None:
        """Note that all clusters are in our care, and that these are being started."""
        going = {each.spec.name for each in started if each.life.state is State.STOPPED}
        starting = {each.spec.name for each in self._kept() if each.spec.autostart and _is_awaited(each.life)}
        self._awaited = going | starting
        self._tell_if_ready()

    def changed(self, name: str, _before: Life, _event: Event, after: Life) -> None:
        """Note a change of a cluster's life."""
        if self._awaited is not None and not _is_awaited(after):
            self._awaited.discard(name)
        self._tell_if_ready()
        if self._pause is None and self._notify.heard:
            self._pause = asyncio.get_running_loop().call_soon(self._tell_status)

    @contextlib.contextmanager
    def rereading(self) -> Iterator[None]:
        """Be about to read the inventory again and to apply it; that it is refused (InventoryError) is told, too."""
        self._rereading += 1
        if self._in_service and self._rereading == 1:
            self._tell(RELOADING=1, MONOTONIC_USEC=monotonic_usec())
            self._have_time()
        try:
            yield
            self._refused = ""
        except InventoryError as error:
            self._refused = escape(f"inventory refused: {error}")
            raise
        finally:
            self._rereading -= 1
            if self._in_service and self._rereading == 0:
                self._tell(READY=1)

    def ending(self) -> None:
        """Note that the daemon is about to end."""
        self._ending = True
        self._tell(STOPPING=1)
        self._have_time()

    def close(self) -> None:
        """Tell no more."""
        for timer in (self._pause, self._patience):
            if timer is not None:
                timer.cancel()
        self._notify.close()

    @property
    def _in_service(self) -> bool:
        return self._ready and not self._ending

    def _tell_if_ready(self) -> None:
        if self._awaited is not None and not self._awaited and not self._ready and not self._ending:
            self._ready = True
            self._tell(READY=1)

    def _tell(self, **what: int) -> None:
        """Tell something that cannot wait, and how the clusters are."""
        self._status = self._line()
        self._notify.tell(**what, STATUS=self._status)

    def _tell_status(self) -> None:
        """Tell how the clusters are, if that is news, and then nothing for a while."""
        self._pause = None
        if self._line() != self._status:
            self._status = self._line()
            self._notify.tell(STATUS=self._status)
            self._pause = asyncio.get_running_loop().call_later(_PAUSE, self._tell_status)

    def _line(self) -> str:
        line = summary({each.spec.name: each.life for each in self._kept()})
        return f"{line}; {self._refused}" if self._refused else line

    def _have_time(self) -> None:
        """Ask for time now, and from now on while systemd waits for us."""
        if self._notify.heard:
            if self._patience is not None:
                self._patience.cancel()
            self._ask_for_time()

    def _ask_again(self) -> None:
        self._patience = None
        stuck = self._progress.stuck()
        if self._in_service and self._rereading == 0:
            return
        self._ask_for_time(in_vain=bool(stuck) or self._is_in_vain)

    def _ask_for_time(self, *, in_vain: bool = False) -> None:
        if not in_vain:
            self._notify.tell(EXTEND_TIMEOUT_USEC=_MORE_TIME * 1_000_000)
        self._patience = asyncio.get_running_loop().call_later(_AGAIN, self._ask_again)

    @property
    def _is_in_vain(self) -> bool:
        """Whether all that the end still waits for is processes that SIGKILL was sent to: nobody can do more."""
        rungs = [each.life.rung for each in self._kept() if each.life.state is State.STOPPING]
        return self._ending and set(rungs) == {Rung.KILL}


def _is_awaited(life: Life) -> bool:
    """Tell whether a server comes up, and nobody else is needed for that."""
    return life.state is State.STARTING and (life.recovery is None or life.recovery.kind == "crash")
