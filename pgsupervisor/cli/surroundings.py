"""What else on this machine would meddle with a cluster: what `pgsupctl check` remarks, and an administrator mends.

None of it keeps a server from starting now. It shows weeks later: when somebody logs out, when /tmp is cleaned, when
the machine comes up again. Each function looks below a `root` directory, which is "/" but for tests.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from glob import glob

from pgsupervisor.errors import ClusterError, ConfigurationError
from pgsupervisor.inventory.check import configured_by_files
from pgsupervisor.inventory.spec import ClusterSpec, Inventory
from pgsupervisor.postgres.addresses import split_list
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.owner import as_owner, run_as
from pgsupervisor.system.safepath import user_name

_CLEANED = ("/tmp", "/var/tmp")  # noqa: S108  # nothing is put there

_LAST_OF_SYSTEM = 999
"""The last number of a system's user, for systemd as for login.defs(5), where that does not say otherwise."""


def remarks(inventory: Inventory) -> Iterator[tuple[str | None, str]]:
    """Yield what there is to remark, each with the name of the cluster that it is about; None: about the daemon."""
    if remark := lock_removed(inventory.daemon.socket):
        yield None, remark
    for name, spec in inventory.clusters.items():
        for remark in (memory_removed(_uid(spec)), sockets_removed(spec), *rivals(spec.data_directory)):
            if remark:
                yield name, remark


def lock_removed(socket: str) -> str:
    """Say what becomes of the lock of the control socket where old files are removed; empty if it is elsewhere.

    systemd-tmpfiles(8) spares sockets that somebody listens at, but no files beside them, not even locked ones.
    """
    if _cleaned(os.path.dirname(socket)) is None:
        return ""
    return (
        f"daemon.socket: {socket} is where old files are removed (tmpfiles.d(5)), and so would be {socket}.lock, which "
        "keeps a second daemon from starting; name a `socket` below /run, or leave it out"
    )


def memory_removed(uid: int, root: str = "/") -> str:
    """Say that logind removes the shared memory of a user who logs out, which his servers use; empty if it does not.

    It does so with those who are no users of the system's (RemoveIPC= in logind.conf(5)), unless they linger
    (PostgreSQL's manual, "systemd RemoveIPC").
    """
    name = user_name(uid)
    # Made by systemd alone, where it is the first process (sd_booted(3)).
    if not os.path.isdir(os.path.join(root, "run/systemd/system")):
        return ""
    lingers = os.path.exists(os.path.join(root, "var/lib/systemd/linger", name))
    if uid <= _last_of_system(root) or lingers or not _removes_memory(root):
        return ""
    return (
        f"its server loses its shared memory when {name} logs out, who is no user of the system's (RemoveIPC, "
        "logind.conf(5)); write a file with [Login] and RemoveIPC=no into /etc/systemd/logind.conf.d and restart "
        f"systemd-logind, or do `loginctl enable-linger {name}`"
    )


def sockets_removed(spec: ClusterSpec) -> str:
    """Say that a directory for a server's sockets is removed with whatever is old; empty if none is.

    /tmp itself stays, and what a server has there it touches every hour (TouchSocketLockFiles in miscinit.c). But a
    directory in there goes when the machine comes up, or while the server is down. Who has the data there as well
    knows that nothing lasts.
    """
    name = "unix_socket_directories"
    listed = spec.settings.get(name) or (configured_by_files(spec, (name,)) or {}).get(name) or ""
    for directory in split_list(listed):
        place = _cleaned(directory)
        if place not in {None, directory, _cleaned(spec.data_directory)}:
            return (
                f"its {name} are in {directory}, which is removed when the machine comes up, or when it is old "
                "(tmpfiles.d(5)), and then the server cannot start; choose a directory elsewhere, such as in /run"
            )
    return ""


def rivals(data_directory: str, root: str = "/") -> Iterator[str]:
    """Say which units of Debian's have a data directory as well, and are started with the machine.

    They are those of /etc/postgresql/VERSION/NAME, unless its start.conf says otherwise (pg_createcluster(1)).
    """
    for directory in sorted(glob(os.path.join(root, "etc/postgresql/*/*"))):
        version, name = directory.split("/")[-2:]
        unit = f"postgresql@{version}-{name}.service"
        remedy = _starts(unit, directory, root)
        if remedy and _same(_data_directory_of(directory), data_directory):
            yield f"{unit} has this data directory, too, and whoever is first starts its server; {remedy}"


def _uid(spec: ClusterSpec) -> int:
    """Return the number of the user that a server runs as."""
    with contextlib.suppress(ClusterError):
        user = run_as(spec.data_directory, spec.user)
        if user is not None:
            return user.uid
    return os.geteuid()


def _cleaned(path: str) -> str | None:
    """Return which of the places that are cleaned a path is in; None if it is in none."""
    return next((place for place in _CLEANED if f"{path}/".startswith(f"{place}/")), None)


def _last_of_system(root: str) -> int:
    found = re.search(r"^\s*SYS_UID_MAX\s+(\d+)", _text(os.path.join(root, "etc/login.defs")), re.MULTILINE)
    return int(found[1]) if found else _LAST_OF_SYSTEM


def _removes_memory(root: str) -> bool:
    """Tell what logind's files say, the last one by name winning; one in /etc hides those of its name elsewhere."""
    files: dict[str, str] = {}
    for place in ("usr/lib", "usr/local/lib", "run", "etc"):
        for path in glob(os.path.join(root, place, "systemd/logind.conf.d/*.conf")):
            files[os.path.basename(path)] = path
    main = os.path.join(root, "etc/systemd/logind.conf")
    said = "\n".join(map(_text, [main, *(files[name] for name in sorted(files))]))
    values = re.findall(r"^\s*RemoveIPC\s*=\s*(\S+)", said, re.MULTILINE)
    return not values or values[-1].lower() not in {"no", "n", "false", "f", "off", "0"}


def _starts(unit: str, directory: str, root: str) -> str:
    """Return what keeps a unit from being started by itself; empty if nothing starts it."""
    units = os.path.join(root, "etc/systemd/system")
    said = [line.partition("#")[0].strip() for line in _text(os.path.join(directory, "start.conf")).splitlines()]
    start = next(filter(None, said), "auto")
    if start == "disabled" or os.path.realpath(os.path.join(units, unit)) == "/dev/null":
        return ""
    if glob(os.path.join(units, f"*.wants/{unit}")):
        return f"do `systemctl disable {unit}`"
    if start == "auto" and glob(os.path.join(units, "*.wants/postgresql.service")):
        return f"write `manual` into {directory}/start.conf, and do `systemctl daemon-reload`"
    return ""


def _data_directory_of(directory: str) -> str:
    """Return the data directory that a configuration of Debian's names; empty if nobody can tell."""
    try:
        with as_owner(directory, None):
            named = ConfigFile(os.path.join(directory, "postgresql.conf")).getset(("data_directory",))
    except (OSError, ConfigurationError):
        return ""
    return named["data_directory"] or ""


def _same(one: str, other: str) -> bool:
    return bool(one) and os.path.realpath(one) == os.path.realpath(other)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
