"""What is done to have a server: look who is there, make the data directory ready, start the program.

All functions here block, and run in threads. What they find wrong they raise, in words that say what to do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Container, Sequence
from typing import BinaryIO

from pgsupervisor.daemon.enclosure import Enclosure
from pgsupervisor.daemon.files import Picture
from pgsupervisor.daemon.logfile import log_of
from pgsupervisor.daemon.running import Running
from pgsupervisor.daemon.shortage import absence
from pgsupervisor.errors import CannotStartError, HinderedError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import command, datalock, pidfile, preflight
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.datalock import Obstacle
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.orphans import left_behind, postmaster_among, segment_of
from pgsupervisor.postgres.owner import run_as, touched_by
from pgsupervisor.system import journal, oom
from pgsupervisor.system.guarded import read_once
from pgsupervisor.system.identity import User, as_ourselves
from pgsupervisor.system.logfile import open_for_append
from pgsupervisor.system.process import Process
from pgsupervisor.system.rotation import RotatedLog, end_of
from pgsupervisor.system.safepath import weakness
from pgsupervisor.system.standard import STANDARD_ERROR
from pgsupervisor.system.trail import Place


def adopt(
    installation: Installation, spec: ClusterSpec, expect: Callable[[], Sequence[Place]], enclosure: Enclosure
) -> tuple[Running | None, Sequence[Place]]:
    """Hold the server that runs already, in its cgroup; None if there is none, or one that is shutting down.

    Where none runs, one may be started next: so the places are returned that are to be watched for that.
    """
    _refuse_anothers(spec)
    found = _server(_cluster(installation, spec), spec, enclosure)
    if isinstance(found, Running):
        return found, ()
    if found is not None:
        found.close()
    return None, expect()


def _server(cluster: Cluster, spec: ClusterSpec, enclosure: Enclosure) -> Running | Obstacle | None:
    """Find the server that runs. One that is shutting down, by whomever it was told to, cannot be called off."""
    process = cluster.postmaster()
    if process is None:
        return None
    written = pidfile.read(spec.data_directory)
    if written is not None and (written.pid, written.status) == (process.pid, "stopping"):
        how = "it may be waiting for its clients, which `pg_ctl stop -m fast` disconnects"
        return Obstacle(
            f"a server is shutting down on {spec.data_directory}, with the pid {process.pid}; {how}", process
        )
    if pidfile.of_pg_upgrade(process):
        process.close()
        raise CannotStartError(f"pg_upgrade is at work on {spec.data_directory}; start it when that is done")
    enclosure.prepare()
    enclosure.enclose(process.pid, whole=False)
    log, owner = log_of(spec), touched_by(spec.data_directory, spec.user)
    offset = 0 if log is None else log.end()
    return Running(spec, cluster.installation, cluster, process, None, offset, owner)


def _look_around(
    cluster: Cluster, spec: ClusterSpec, enclosure: Enclosure
) -> tuple[Running | Obstacle | None, list[Process]]:
    """Find the server that runs, or who has the data directory, or else what a killed server has left behind."""
    _refuse_anothers(spec)
    # Its shared memory has to be known before it is found that none runs: what is written later is another's.
    leftover = pidfile.read(spec.data_directory)
    # Before any orphans: a server in another container may look like some.
    found = _server(cluster, spec, enclosure) or datalock.obstacle(spec.data_directory)
    if found is not None or (leftover is not None and leftover.pid < 0):
        return found, []
    segment = segment_of(spec.data_directory) if leftover is None else leftover.shared_memory
    left = left_behind(spec.data_directory, segment)
    server = postmaster_among(left, None if leftover is None else leftover.pid)
    if server is None:
        return None, left
    for process in left:
        if process is not server:
            process.close()
    why = "and cannot be told by its postmaster.pid and its program, which must have been moved; stop it"
    return Obstacle(f"a server works on {spec.data_directory}, with the pid {server.pid}, {why}", server), []


def _refuse_anothers(spec: ClusterSpec) -> None:
    """Refuse a cluster that is another user's affair, before anything else is found out about it.

    What is empty is nobody's: a disk that is not mounted leaves a directory of root's.
    """
    if absence(spec.data_directory) is not None:
        return
    anothers = preflight.ownership_problem(spec.data_directory, run_as(spec.data_directory, spec.user))
    if anothers is not None:
        raise CannotStartError(anothers)


def begin(
    installation: Installation,
    spec: ClusterSpec,
    look: Callable[[], Picture],
    seen: Container[str],
    enclosure: Enclosure,
) -> tuple[Running | Obstacle | None, list[Process]]:
    """Start the server and hold it, or find who is there already, or refuse what would keep it from starting.

    There may be the server that runs, or who has the data directory, or else what a killed server has left behind.
    Nothing at all is found where something is to be done first: the configuration leads to files that have to be
    watched before a server reads them. So it is as well where the cluster was not there yet, and has been made; but a
    data directory that was `seen` before is not made again when it is gone.
    """
    cluster = _cluster(installation, spec)
    found, left = _look_around(cluster, spec, enclosure)
    if found is not None or left:
        return found, left
    with read_once():
        if look().heard and not _prepare(cluster, spec, seen):
            return _start(cluster, spec, enclosure), []
    return None, []


def _prepare(cluster: Cluster, spec: ClusterSpec, seen: Container[str]) -> bool:
    """Make the cluster if it is not there yet, and tell whether; refuse what would keep a server from starting."""
    missing = spec.init and not os.path.lexists(spec.data_directory)
    if missing:
        if spec.data_directory in seen:
            raise HinderedError(
                f"{spec.data_directory} was there and is gone: bring it back (is its disk mounted?), or make a new "
                "cluster there with initdb"
            )
        cluster.init()
    absent = absence(spec.data_directory)
    if absent is not None:
        raise HinderedError(absent)
    problems = preflight.problems(
        cluster.installation,
        spec.data_directory,
        run_as=cluster.run_as,
        config_file=spec.config_file,
        settings=spec.server_settings,
    )
    if problems:
        raise CannotStartError("; ".join(problems))
    return missing


def _start(cluster: Cluster, spec: ClusterSpec, enclosure: Enclosure) -> Running:
    """Start the server, and hold it, in its cgroup."""
    owner = touched_by(spec.data_directory, spec.user)
    with _output(spec, cluster.run_as) as log:
        offset = end_of(log.fileno())
        with as_ourselves():
            enclosure.prepare()
            environment = command.oom_environment(oom.ordinary()) | dict(spec.environment)
        cluster.start(log, spec.server_settings, environment=environment, detach=True)
    child = cluster.daemon_process
    if child is None:
        raise CannotStartError(f"somebody else started a server on {spec.data_directory} at this moment")
    with as_ourselves():
        enclosure.enclose(child.pid, whole=True)
        try:
            process = Process(child.pid)
        except OSError:
            # No descriptor is left. Nobody could hold it, or hear of its end: then rather none, and later another.
            child.send_signal(signal.SIGQUIT)
            child.wait()
            raise
        oom.lower(child.pid, oom.PROTECTED)
    return Running(spec, cluster.installation, cluster, process, child, offset, owner)


def _cluster(installation: Installation, spec: ClusterSpec) -> Cluster:
    return Cluster(installation, spec.data_directory, user=spec.user, config_file=spec.config_file)


def _output(spec: ClusterSpec, owner: User | None) -> BinaryIO | socket.socket:
    """Open what the server writes into, as its inventory has it."""
    log = log_of(spec)
    if log is not None:
        return _open_log(log, owner)
    match spec.logfile:
        case "journal":
            return _connect_to_journal(spec.journal_identifier)
        case "inherit":
            return os.fdopen(os.dup(STANDARD_ERROR), "wb", buffering=0)
        case _:
            return open(os.devnull, "wb", buffering=0)


def _connect_to_journal(identifier: str) -> socket.socket:
    try:
        with as_ourselves():
            return journal.stream(identifier)
    except OSError as error:
        why = f"{journal.STREAM}: {error.strerror or error}; start systemd-journald, or choose another `logfile`"
        raise HinderedError(f"cannot write the log to the journal: {why}") from error


def _open_log(log: RotatedLog, owner: User | None) -> BinaryIO:
    try:
        with log.accessed():
            return open_for_append(log.path, owner)
    except OSError as error:
        why = "it is a symlink, which is refused" if error.errno == errno.ELOOP else _refusal(error, log)
        what_next = "mend that, or choose another `logfile`"
        raise HinderedError(f"cannot write the log {log.path}: {why}; {what_next}") from error


@as_ourselves()
def _refusal(error: OSError, log: RotatedLog) -> str:
    """Say why a log cannot be opened; and if it is not root who tries, why not."""
    with contextlib.suppress(OSError):
        weak = weakness(os.path.dirname(log.path))
        if weak is not None and os.geteuid() == 0 and isinstance(error, PermissionError):
            return f"{error.strerror} for the server's user (and root does not write where {weak.why})"
    return error.strerror or str(error)
