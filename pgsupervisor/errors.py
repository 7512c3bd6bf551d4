"""Every error that pgsupervisor raises on purpose.

Each one is a mistake of the user's or a fact of the machine, told in words that say what to do next, and
carries its facts as attributes. Besides, the library raises Python's own errors where they say it all (ValueError and
TypeError for an argument, OSError for a file)::

    PgSupervisorError
    ├── InstallationError              no PostgreSQL there, or none that fits
    ├── ConfigurationError             a configuration file that PostgreSQL would not read
    ├── ClusterError                   something about one data directory
    │   ├── ClusterInitializationError     initdb is missing, or the directory cannot be used
    │   │   └── InitDBError                initdb ran and failed
    │   ├── ClusterStartupError            the server ended before it was ready
    │   │   └── ClusterLockedError             it was not started: somebody else has the data directory
    │   ├── ClusterNotRunningError         there is no server to talk about
    │   └── ClusterTimeoutError            it did not happen in time
    ├── CannotStartError               a daemon's server would not start, as things stand
    ├── HinderedError                  a daemon's server cannot start for want of something outside of its cluster
    ├── ProbeError                     a running server could not be asked
    ├── InventoryError                 a mistake in the inventory
    ├── NoSuchClusterError             a name that the inventory does not have
    ├── LogUntimedError                a log that does not say when its lines were written
    ├── LogLostError                   what comes next in a log is not kept any more
    ├── CgroupError                    no part of the tree of cgroups is ours to divide
    ├── UpgradeError                   a daemon cannot become another version
    ├── ServiceError                   this installation cannot be made a service
    └── ControlError                   something about the control socket
        ├── DaemonUnreachableError         nobody answers there
        ├── DaemonRunningError             somebody else answers there already
        ├── RemoteError                    the daemon answered with an error of the interface
        └── MalformedMessageError          bytes that are no message of the control protocol
"""

from __future__ import annotations

from collections.abc import Mapping


class PgSupervisorError(Exception):
    """The root of all errors that pgsupervisor raises on purpose."""


class InstallationError(PgSupervisorError):
    """There is no PostgreSQL installation at that place, or it cannot be used."""


class ConfigurationError(PgSupervisorError):
    """A configuration file says something that PostgreSQL would refuse to read.

    `path` is the file and `line` the number of the line in it, counted from 1 (0: the file as a whole).
    """

    def __init__(self, path: str, line: int, why: str) -> None:
        super().__init__(f"{path}:{line}: {why}" if line else f"{path}: {why}")
        self.path = path
        self.line = line
        self.why = why


class ClusterError(PgSupervisorError):
    """Something about one cluster (data directory).

    `details` holds the facts behind the message, such as `command`, `returncode` or `stderr`.
    """

    def __init__(self, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, object] = dict(details or {})


class ClusterInitializationError(ClusterError):
    """The cluster could not be initialised."""


class InitDBError(ClusterInitializationError):
    """The program initdb ran, and failed; `details` has `command`, `returncode`, `stdout` and `stderr`."""


class ClusterStartupError(ClusterError):
    """The server could not be started, or ended before it was ready; then `details` has `command` and `returncode`."""


class ClusterLockedError(ClusterStartupError):
    """The server was not started, since somebody else has the data directory, or its lock file is in the way."""


class ClusterNotRunningError(ClusterError):
    """No server runs on this data directory."""


class ClusterTimeoutError(ClusterError):
    """What was waited for did not happen in time; the server was left as it is."""


class CannotStartError(PgSupervisorError):
    """A server would not start, as things stand: trying again would not help."""


class HinderedError(PgSupervisorError):
    """A server cannot start for want of something outside of its cluster, which may be there the next time."""


class ProbeError(PgSupervisorError):
    """A running server could not be asked over a connection; the text says why, in psql's words if it has any."""


class InventoryError(PgSupervisorError):
    """A mistake in the inventory: in the file `path`, at the key `key` (dotted; may be empty), because of `why`."""

    def __init__(self, path: str, key: str, why: str) -> None:
        super().__init__(f"{path}: {key}: {why}" if key else f"{path}: {why}")
        self.path = path
        self.key = key
        self.why = why


class NoSuchClusterError(PgSupervisorError):
    """No cluster in the inventory has this `name`, or matches this glob."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no such cluster: {name}")
        self.name = name


class LogUntimedError(PgSupervisorError):
    """No line of the log `path` says when it was written."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no line of {path} says when it was written; have log_line_prefix begin with %m")
        self.path = path


class LogLostError(PgSupervisorError):
    """Who reads the log `path` is so far behind that what comes next has been removed with the oldest archives."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} has been rotated away faster than it was read; keep more of it (`logfile_backups`)")
        self.path = path


class CgroupError(PgSupervisorError):
    """No part of the tree of cgroups is ours to divide."""


class UpgradeError(PgSupervisorError):
    """A daemon cannot become another version, because of `why`; it goes on as the one that it is."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ServiceError(PgSupervisorError):
    """This installation cannot be made a service of systemd's; the text says why, and what to do."""


class ControlError(PgSupervisorError):
    """Something about the control socket."""


class DaemonUnreachableError(ControlError):
    """Nobody answers at the control socket `path`, because of `why`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot reach pgsupervisord at {path}: {why}")
        self.path = path
        self.why = why


class DaemonRunningError(ControlError):
    """Another daemon, with the process id `pid`, answers at the control socket `path` already."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(
            f"pgsupervisord already runs at {path}, with pid {pid}; ask it with `pgsupctl -s {path} status`"
        )
        self.path = path
        self.pid = pid


class RemoteError(ControlError):
    """The daemon answered with an error; `name` is its full Varlink name and `parameters` what came with it."""

    def __init__(self, name: str, parameters: Mapping[str, object]) -> None:
        facts = ", ".join(f"{key}={value}" for key, value in parameters.items())
        super().__init__(f"{name.rpartition('.')[2]}: {facts}" if facts else name.rpartition(".")[2])
        self.name = name
        self.parameters = dict(parameters)


class MalformedMessageError(ControlError):
    """Bytes came over the control socket that are no message, because of `why`."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not a message of the control protocol: {why}")
        self.why = why
