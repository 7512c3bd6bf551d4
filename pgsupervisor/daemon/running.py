"""A postmaster that runs, or has just ended: what we know of it, what it makes of its files, and why it ended.

All functions here but `kill` block, and run in threads.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from signal import Signals

from pgsupervisor.daemon.last_words import last_words
from pgsupervisor.daemon.logfile import log_of
from pgsupervisor.daemon.shortage import names_shortage, passes, refusal
from pgsupervisor.daemon.verdict import Values
from pgsupervisor.errors import ClusterLockedError, HinderedError, PgSupervisorError, ProbeError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import orphans, pidfile, preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.controldata import RecoveryKind, clean_shutdown
from pgsupervisor.postgres.datalock import Obstacle
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.lint import tls_problems
from pgsupervisor.postgres.probe import Inspection
from pgsupervisor.postgres.space import full_disks
from pgsupervisor.supervision.life import Exited, SpawnFailed
from pgsupervisor.system.identity import User
from pgsupervisor.system.logreader import written_since
from pgsupervisor.system.offspring import Inherited, reap_orphans
from pgsupervisor.system.process import Process, children
from pgsupervisor.system.sharedmemory import Segment

_FAREWELL = 0.2
"""Seconds that the processes of a server have to notice that their postmaster is gone, before they count as orphans."""

_JITTER = 0.2
"""How much the wait before a restart varies, up and down."""


@dataclass(slots=True)
class Running:
    """A postmaster that runs, held by its pidfd; `child` if we started it, and may ask for its exit status.

    `log_offset` is the position in its log at which it began to write, as far as we know. `owner` is as whom its files
    are touched.
    `killed` are its processes that were killed with it. `in_force` is what it goes by of the settings in its files, as
    far as we know.
    """

    spec: ClusterSpec
    installation: Installation
    cluster: Cluster
    process: Process
    child: subprocess.Popen[bytes] | Inherited | None
    log_offset: int
    owner: User | None
    port: int | None = None
    socket_directory: str | None = None
    recovery: RecoveryKind | None = None
    standby: bool | None = None
    memory: Segment | None = None
    told_to_stop: bool = False
    killed: list[Process] = field(default_factory=list)
    in_force: Values = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the server has been ready once."""
        return self.standby is not None


def inspect(running: Running) -> tuple[Inspection, list[str]]:
    """Ask a server about its configuration, and look whether it could load its files for TLS, which it does not tell.

    Raises ProbeError, also if it goes by another file than the inventory says.
    """
    found = probe.inspect(running.cluster)
    used, ours = found.settings["config_file"].value, running.cluster.settings.path
    if os.path.realpath(used) != os.path.realpath(ours):
        raise ProbeError(f"it goes by {used}, and not by {ours}; say so in the inventory (config_file), or restart it")
    uses_tls = found.settings["ssl"].value == "on"
    return found, tls_problems(running.cluster, running.spec.server_settings) if uses_tls else []


def not_started(error: OSError | PgSupervisorError) -> SpawnFailed:
    """Say why no server was started."""
    if isinstance(error, OSError):
        return SpawnFailed(refusal(error), hopeless=False, jitter=_jitter(), outside=passes(error))
    # No program, no such user, data of another version: what we find wrong ourselves does not mend by itself.
    outside = isinstance(error, HinderedError | ClusterLockedError) or names_shortage(str(error))
    return SpawnFailed(str(error), hopeless=not outside, jitter=_jitter(), outside=outside)


def locked_out(obstacle: Obstacle) -> SpawnFailed:
    """Say who else has the data directory."""
    return SpawnFailed(f"{obstacle.why}; the server is started then", hopeless=False, jitter=1.0, locked=True)


def obstructed(left: Sequence[Process]) -> SpawnFailed:
    """Say that processes of a dead server have to end first."""
    why = "processes of the server before are in the way"
    return SpawnFailed(why, hopeless=False, jitter=1.0, orphans=len(left))


def kill(server: Process) -> list[Process]:
    """Kill a server with all its processes: one that lived on would keep the next server from starting.

    Returns these, held.
    """
    family: list[Process] = []
    # Where no descriptor is left to hold them by, those that live on are found when the server has ended.
    with contextlib.suppress(OSError):
        family = children(server)
    for process in (server, *family):
        process.signal(Signals.SIGKILL)
    return family


def post_mortem(running: Running) -> Exited:
    """Say how a server ended: by its exit status, what pg_control says, and what it wrote last."""
    status = None if running.child is None else running.child.wait()
    reap_orphans()
    if running.told_to_stop:
        return Exited(_ending(status), clean=False, hopeless=False, jitter=_jitter())
    spec, run_as = running.spec, running.cluster.run_as
    clean = not status and _shut_down(running)
    refused = None
    if not (clean or running.ready):
        refused = preflight.configuration_problem(
            running.installation,
            spec.data_directory,
            run_as=run_as,
            config_file=spec.config_file,
            settings=spec.server_settings,
        )
    reason = refused or _told(status, running, clean=clean)
    # Not by its words alone, whose language varies.
    full = [] if clean or refused else full_disks(spec.data_directory)
    outside = bool(full) or names_shortage(reason)
    reason = "; ".join([reason, *full])
    return Exited(reason, clean=clean, hopeless=refused is not None and not outside, jitter=_jitter(), outside=outside)


def unexplained(error: OSError | PgSupervisorError) -> Exited:
    """Say what kept us from seeing how a server ended."""
    failed = not_started(error)
    return Exited(f"ended, and {failed.reason}", clean=False, hopeless=False, jitter=_jitter(), outside=failed.outside)


def left_by(running: Running) -> list[Process]:
    """Hold the processes of a server that has ended which live on; most end by themselves in a moment."""
    left: dict[int, Process] = {}
    # One that the kernel is just taking apart is not to be found any more by what it works on.
    for process in (*running.killed, *orphans.left_behind(running.spec.data_directory, _memory(running))):
        if process.pid in left:
            left[process.pid].close()
        left[process.pid] = process
    deadline = time.monotonic() + _FAREWELL
    living = [process for process in left.values() if not process.wait(deadline - time.monotonic())]
    for process in left.values():
        if process not in living:
            process.close()
    return living


def lock_is_anothers(running: Running) -> bool:
    """Tell whether postmaster.pid is of another server than one that has ended, or may be."""
    try:
        written = pidfile.read(running.spec.data_directory)
    except OSError:
        return True
    return written is not None and written.pid != running.process.pid


def _memory(running: Running) -> Segment | None:
    """Return a server's shared memory, by its last word: a crash inside may have changed it a moment ago."""
    with contextlib.suppress(OSError):
        written = pidfile.read(running.spec.data_directory)
        if written is not None and written.pid == running.process.pid and written.shared_memory is not None:
            return written.shared_memory
    return running.memory


def _shut_down(running: Running) -> bool:
    try:
        return clean_shutdown(running.installation, running.spec.data_directory, running.cluster.run_as)
    except (OSError, PgSupervisorError):
        return False


def _told(status: int | None, running: Running, *, clean: bool) -> str:
    """Say how a server ended, with its last words, or where they are to be found."""
    spec = running.spec
    log = log_of(spec)
    if log is not None:
        words = last_words(written_since(log, running.log_offset))
        return ": ".join(part for part in (_ending(status), words) if part)
    return _ending(status) if clean else f"{_ending(status)}; its log {spec.log_elsewhere}"


def _ending(status: int | None) -> str:
    """Say an exit status in words; None is that of a process that was not our child."""
    if status is None:
        return "ended"
    if status < 0:
        # A real-time signal has no name.
        named = -status in set(Signals)
        return f"killed by {Signals(-status).name if named else f'signal {-status}'}"
    return f"exited with status {status}"


def _jitter() -> float:
    """Return the random factor for a wait before a restart."""
    return random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  # spreads restarts, guards nothing
