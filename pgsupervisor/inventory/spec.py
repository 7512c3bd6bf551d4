"""What the administrator wants, as frozen values.

Everything is resolved: defaults are applied, names of installations have become the installations, paths are
absolute, durations are seconds (float) and sizes are bytes (int). Two values are equal when they say the same,
which is all that the plan of an update (`pgsupervisor.supervision.plan`) needs to tell what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar, get_args

from pgsupervisor.values import frozen

RestartPolicy = Literal["on-failure", "always", "never"]
StopMode = Literal["smart", "fast", "immediate"]
LogFormat = Literal["auto", "console", "json"]
OnExit = Literal["stop", "leave"]

Elsewhere = Literal["journal", "inherit", "none"]
"""What a cluster's `logfile` is where its server does not write into a file of its own: systemd's journal, the daemon's
standard error, or nothing at all."""

ELSEWHERE: tuple[str, ...] = get_args(Elsewhere)

Value = TypeVar("Value")


class FrozenMapping(Mapping[str, Value]):
    """A mapping that nobody can change: compared by value, in whatever order, and hashable.

    >>> FrozenMapping({"a": 1, "b": 2}) == {"b": 2, "a": 1}
    True
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Value] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, name: str) -> Value:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenMapping({self._items!r})"


@frozen(kw_only=True)
class InstallationSpec:
    """Where a PostgreSQL is: exactly one of a `pg_config` program, a `bindir`, or the `embedded` wheel."""

    name: str
    pg_config: str | None = None
    bindir: str | None = None
    embedded: bool = False


@frozen(kw_only=True)
class ClusterSpec:
    """One cluster, and how its server is to be kept.

    The fields are the keys of `[clusters.NAME]`, which etc/inventory.toml explains one by one. `user` is None for
    the default (the daemon's own; for root the owner of the data directory), `port` and `config_file` are None
    where PostgreSQL's own configuration decides. `settings` are in the server's spelling (`on`, not `true`),
    their names in lower case. `logfile` is an absolute path, or one of the words of `Elsewhere`. Durations are seconds,
    sizes are bytes. `memory_max` and `tasks_max` are 0 where there is no limit.
    """

    name: str
    installation: InstallationSpec
    data_directory: str
    init: bool
    user: str | None
    port: int | None
    settings: Mapping[str, str]
    environment: Mapping[str, str]
    config_file: str | None
    logfile: str
    logfile_maxbytes: int
    logfile_backups: int
    logfile_compress: bool
    memory_max: int
    cpu_weight: int
    tasks_max: int
    priority: int
    watch: bool
    reload_delay: float
    autostart: bool
    restart: RestartPolicy
    restart_delay: float
    restart_max_delay: float
    start_retries: int
    restart_limit: int
    stable_after: float
    stop_mode: StopMode
    stop_timeout: float
    allow: tuple[str, ...]

    @property
    def server_settings(self) -> Mapping[str, str]:
        """What goes onto the server's command line: `settings`, and the port if the inventory has it."""
        return self.settings if self.port is None else {"port": str(self.port), **self.settings}

    @property
    def log_path(self) -> str | None:
        """The file that the server writes its log into; None if it is none of its own."""
        return None if self.logfile in ELSEWHERE else self.logfile

    @property
    def journal_identifier(self) -> str:
        """What the journal knows the server by (SYSLOG_IDENTIFIER), if it writes there."""
        return f"pgsupervisor/{self.name}"

    @property
    def log_elsewhere(self) -> str:
        """Where a log is that is in no file, and what to do to see it, as words that follow "it" or "its log"."""
        match self.logfile:
            case "journal":
                return f"is in the journal: journalctl -t {self.journal_identifier}"
            case "inherit":
                return "goes to the daemon's standard error"
            case _:
                return "is thrown away; choose another `logfile` to have it"


@frozen(kw_only=True)
class DaemonSpec:
    """The daemon itself: the keys of `[daemon]`. `admin_group` is None when no group may do everything."""

    socket: str
    socket_mode: int
    admin_group: str | None
    log_directory: str
    log_format: LogFormat
    start_concurrency: int
    on_exit: OnExit


@frozen(kw_only=True)
class Inventory:
    """A whole inventory, read from the main file `path`; `files` are all the files that it was read from, in order."""

    path: str
    files: tuple[str, ...]
    daemon: DaemonSpec
    installations: Mapping[str, InstallationSpec]
    clusters: Mapping[str, ClusterSpec]
