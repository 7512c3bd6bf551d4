"""Which keys an inventory has, what may stand in them, and what they are when nobody writes them.

This is the one place where a key's type, its limits and its default are written down. Each type describes itself in
words (`Meta(description=...)`): "it must be {description}" is then the error, whichever way it is missed.

Tables whose keys are names (clusters, installations, settings, environment) are dictionaries of anything here. Their
entries are converted one by one (`load`, `resolve`), as msgspec does not tell which entry of a dictionary is wrong.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pgsupervisor.inventory.spec import LogFormat, OnExit, RestartPolicy, StopMode
from pgsupervisor.quantities import A_DURATION, A_SIZE


class Seconds(float):
    """A duration in seconds, written as `pgsupervisor.quantities` reads it."""


class Bytes(int):
    """A size in bytes, written as `pgsupervisor.quantities` reads it."""


class FilePath(str):
    """An absolute path; a relative one is relative to the file that it is written in, and `~` is a home directory."""

    __slots__ = ()


class LogPath(FilePath):
    """Such a path, or one of the words for what is no file of a cluster's own (`spec.Elsewhere`), as it is."""

    __slots__ = ()


Flag = Annotated[bool, Meta(description="true or false")]
Number = Annotated[int, Meta(description="a whole number")]
Count = Annotated[int, Meta(ge=0, description="a whole number, 0 or more")]
Positive = Annotated[int, Meta(ge=1, description="a whole number, 1 or more")]
Weight = Annotated[int, Meta(ge=1, le=10_000, description="a whole number from 1 to 10000")]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port number from 1 to 65535")]
Duration = Annotated[Seconds, Meta(description=A_DURATION)]
Size = Annotated[Bytes, Meta(description=A_SIZE)]
Directory = Annotated[FilePath, Meta(description="the path of a directory")]
File = Annotated[FilePath, Meta(description="the path of a file")]
LogFile = Annotated[LogPath, Meta(description='the path of a file, "journal", "inherit" or "none"')]
Mode = Annotated[str, Meta(pattern=r"\A0?[0-7]{3}\Z", description='a file mode, octal and in quotes, such as "0660"')]
Pattern = Annotated[
    str, Meta(pattern=r"\A[^\x00]+\Z", description='the path of a file, or a pattern such as "conf.d/*.toml"')
]
Reference = Annotated[str, Meta(description="the name of an [installations.NAME]")]
Table = Annotated[dict[str, object], Meta(description="a table")]

_A_NAME = 'a name of at most 63 letters, digits, ".", "_" and "-", not beginning with "." or "-", and not "all"'
Name = Annotated[str, Meta(pattern=r"\A(?!all\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", max_length=63, description=_A_NAME)]
SettingName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?\Z",
        description="the name of a setting of PostgreSQL",
    ),
]
SettingText = Annotated[str, Meta(pattern=r"\A[^\x00\r\n]*\Z")]
SettingValue = Annotated[
    SettingText | int | float | bool, Meta(description="a string of one line, a number, true or false")
]
VariableName = Annotated[str, Meta(pattern=r"\A[^\x00=]+\Z", description="the name of an environment variable")]

_ACCOUNT = r"[^\s:@\x00]+"
User = Annotated[
    str,
    Meta(
        pattern=rf"\A(?!root\Z){_ACCOUNT}\Z",
        description="the name of an OS user other than root, whom PostgreSQL refuses",
    ),
]
Group = Annotated[
    str,
    Meta(pattern=rf"\A({_ACCOUNT})?\Z", description='the name of an OS group, or "" for none'),
]
Allowed = Annotated[
    str,
    Meta(pattern=rf"\A@?{_ACCOUNT}\Z", description="the name of a user, or of a group as @NAME"),
]


class DaemonTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[daemon]`. What is None depends on who runs the daemon, and on which machine."""

    socket: File | None = None
    socket_mode: Mode = "0660"
    admin_group: Group = "pgsupervisor"
    log_directory: Directory | None = None
    log_format: LogFormat = "auto"
    start_concurrency: Positive | None = None
    on_exit: OnExit = "stop"


class InstallationTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[installations.NAME]`."""

    pg_config: File | None = None
    bindir: Directory | None = None
    embedded: Flag = False


class DefaultsTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[defaults]`: the keys of a cluster that several clusters may share."""

    installation: Reference | None = None
    # Not true by default: initdb must not fill the mount point of a disk that is late.
    init: Flag = False
    user: User | None = None
    settings: Table = {}
    environment: Table = {}
    config_file: File | None = None
    logfile: LogFile | None = None
    logfile_maxbytes: Size = Bytes(50 << 20)
    logfile_backups: Count = 10
    logfile_compress: Flag = False
    memory_max: Size = Bytes(0)
    cpu_weight: Weight = 100
    tasks_max: Count = 0
    priority: Number = 10
    watch: Flag = True
    reload_delay: Duration = Seconds(0.3)
    autostart: Flag = True
    restart: RestartPolicy = "on-failure"
    restart_delay: Duration = Seconds(0.1)
    restart_max_delay: Duration = Seconds(60)
    start_retries: Count = 3
    restart_limit: Count = 10
    stable_after: Duration = Seconds(10)
    stop_mode: StopMode = "fast"
    stop_timeout: Duration = Seconds(60)
    allow: list[Allowed] = []


class ClusterTable(DefaultsTable, forbid_unknown_fields=True, kw_only=True):
    """`[clusters.NAME]`."""

    data_directory: Directory
    port: Port | None = None


class IncludedFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """What an included file may hold."""

    installations: Table = {}
    clusters: Table = {}


class MainFile(IncludedFile, forbid_unknown_fields=True, kw_only=True):
    """What the main file may hold."""

    include: list[Pattern] = []
    daemon: Table = {}
    defaults: Table = {}
