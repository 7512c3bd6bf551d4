"""From tables to specs: defaults laid under, names of installations looked up, settings in the server's spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pgsupervisor.inventory.convert import Place, convert, ensure, suggestion
from pgsupervisor.inventory.schema import (
    ClusterTable,
    DaemonTable,
    DefaultsTable,
    FilePath,
    InstallationTable,
    Name,
    SettingName,
    SettingValue,
    VariableName,
)
from pgsupervisor.inventory.spec import ClusterSpec, DaemonSpec, FrozenMapping, InstallationSpec
from pgsupervisor.inventory.users import refuse_whom_none_can_be
from pgsupervisor.paths import DefaultPaths
from pgsupervisor.postgres.secrets import objection
from pgsupervisor.values import frozen

_OWN_KEYS = ("config_file", "data_directory", "port")
"""Settings that the supervisor itself must know, because it finds the server by them."""

_LEAST_MEMORY = 16 << 20
"""Bytes that the smallest server needs; who writes less has forgotten the unit."""


@frozen
class Layer:
    """A table that clusters are made of, `[defaults]` or `[clusters.NAME]`: where it is, and what it says itself."""

    place: Place
    given: Mapping[str, object]
    settings: Mapping[str, str]
    environment: Mapping[str, str]


def layer(raw: object, kind: type[DefaultsTable], place: Place) -> Layer:
    """Read `[defaults]` or `[clusters.NAME]`.

    Raises InventoryError.
    """
    table = convert(raw, kind, place)
    written = raw if isinstance(raw, dict) else {}
    return Layer(
        place,
        {key: getattr(table, key) for key in written},
        dict(_settings(table.settings, place / "settings")),
        dict(_environment(table.environment, place / "environment")),
    )


def _settings(table: Mapping[str, object], place: Place) -> Iterator[tuple[str, str]]:
    """Yield the settings of a table, as the server spells them.

    Names are in lower case, as the server compares them without case. `auto_explain.log_analyze = true` without
    quotes is a table within the table to TOML; it means the setting of that qualified name.
    """
    seen: dict[str, str] = {}
    for written, value in _flat(table):
        here = place / written
        ensure(written, SettingName, here)
        name = written.lower()
        if name in _OWN_KEYS:
            raise here.error(f'is no setting to give; use the key "{name}" of the cluster')
        if name in seen:
            raise here.error(f'is the same setting as "{seen[name]}"')
        if why := objection(name, str(value)):
            raise here.error(why)  # before its value could be told
        ensure(value, SettingValue, here)
        seen[name] = written
        yield name, _spelled(value)


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _environment(table: Mapping[str, object], place: Place) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        here = place / name
        ensure(name, VariableName, here)
        if not isinstance(value, str) or "\0" in value:
            raise here.error("must be a string without NUL")  # it is not told what it is: it may be a password
        yield name, value


def installation_spec(name: str, raw: object, place: Place) -> InstallationSpec:
    """Read `[installations.NAME]`.

    Raises InventoryError.
    """
    ensure(name, Name, place)
    table = convert(raw, InstallationTable, place)
    if [table.pg_config is not None, table.bindir is not None, table.embedded].count(True) != 1:
        raise place.error("needs exactly one of pg_config, bindir, embedded = true")
    return InstallationSpec(
        name=name, pg_config=_plain(table.pg_config), bindir=_plain(table.bindir), embedded=table.embedded
    )


def daemon_spec(raw: object, place: Place, paths: DefaultPaths, cpus: int) -> DaemonSpec:
    """Read `[daemon]`; `paths` and the number of `cpus` are what the defaults depend on.

    Raises InventoryError.
    """
    table = convert(raw, DaemonTable, place)
    return DaemonSpec(
        socket=str(table.socket or paths.socket),
        socket_mode=int(table.socket_mode, 8),
        admin_group=table.admin_group or None,
        log_directory=str(table.log_directory or paths.log_directory),
        log_format=table.log_format,
        start_concurrency=table.start_concurrency or 2 * cpus,
        on_exit=table.on_exit,
    )


def cluster_spec(
    name: str,
    own: Layer,
    defaults: Layer,
    installations: Mapping[str, InstallationSpec],
    log_directory: str,
    *,
    uid: int,
) -> ClusterSpec:
    """Return the cluster `name`: its own values, those of `[defaults]` below them, and the schema's below those.

    `uid` is the user who shall keep it. Raises InventoryError.
    """
    ensure(name, Name, own.place)

    def at(key: str) -> Place:
        return (own if key in own.given or key not in defaults.given else defaults).place / key

    table = _cluster_table({**defaults.given, **own.given}, own.place, at, uid)
    return ClusterSpec(
        name=name,
        installation=_installation(table.installation, installations, at("installation")),
        data_directory=str(table.data_directory),
        init=table.init,
        user=table.user,
        port=table.port,
        settings=FrozenMapping({**defaults.settings, **own.settings}),
        environment=FrozenMapping({**defaults.environment, **own.environment}),
        config_file=_plain(table.config_file),
        logfile=str(table.logfile or f"{log_directory}/{name}.log"),
        logfile_maxbytes=int(table.logfile_maxbytes),
        logfile_backups=table.logfile_backups,
        logfile_compress=table.logfile_compress,
        memory_max=int(table.memory_max),
        cpu_weight=table.cpu_weight,
        tasks_max=table.tasks_max,
        priority=table.priority,
        watch=table.watch,
        reload_delay=float(table.reload_delay),
        autostart=table.autostart,
        restart=table.restart,
        restart_delay=float(table.restart_delay),
        restart_max_delay=float(table.restart_max_delay),
        start_retries=table.start_retries,
        restart_limit=table.restart_limit,
        stable_after=float(table.stable_after),
        stop_mode=table.stop_mode,
        stop_timeout=float(table.stop_timeout),
        allow=tuple(table.allow),
    )


def _cluster_table(given: Mapping[str, object], place: Place, at: Callable[[str], Place], uid: int) -> ClusterTable:
    """Read a cluster's table at a `place`, and refuse what cannot be; `at` returns the place of a key."""
    table = convert(given, ClusterTable, place)
    _refuse_what_contradicts(table, at)
    if table.user is not None:
        refuse_whom_none_can_be(table.user, at("user"), uid)
    return table


def _refuse_what_contradicts(table: ClusterTable, at: Callable[[str], Place]) -> None:
    """Refuse values that are well by themselves; `at` returns the place of a key."""
    if not table.stop_timeout:
        raise at("stop_timeout").error("must be longer than 0: it is the time that a server has to stop in peace")
    if 0 < table.memory_max < _LEAST_MEMORY:
        # The kernel takes it at its word, and ends whatever of a server is in the way.
        raise at("memory_max").error("must be 0, for no limit, or at least 16MB, which the smallest server needs")
    if table.restart_max_delay < table.restart_delay:
        raise at("restart_max_delay").error(
            f"must not be shorter than restart_delay, which is {float(table.restart_delay):g} seconds"
        )


def _installation(name: str | None, installations: Mapping[str, InstallationSpec], place: Place) -> InstallationSpec:
    if name is None:
        raise place.error("is missing; it must be the name of an [installations.NAME]")
    if name not in installations:
        raise place.error(f'no installation is named "{name}"; {suggestion(name, installations)}')
    return installations[name]


def _plain(path: FilePath | None) -> str | None:
    return None if path is None else str(path)
