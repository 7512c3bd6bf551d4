"""Removing a cluster: its data directory, and what of it lies elsewhere.

Two things of a cluster may lie outside its data directory, behind symbolic links (PostgreSQL manual, "Database
File Layout"): the write-ahead log, `pg_wal`, and the tablespaces, `pg_tblspc/OID`. The location of a tablespace is
not the cluster's alone: each cluster has a directory of its own in it, named after its version, such as
`PG_15_202209061`.

A removal that was interrupted can be taken up again: what makes a directory look like a data directory goes last.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

from pgsupervisor.errors import ClusterError
from pgsupervisor.system.guarded import beginning_of
from pgsupervisor.system.identity import User, acting_as
from pgsupervisor.system.safepath import acting_in

_MARKS = ("global", "PG_VERSION")
"""What a data directory is known by, in the order in which it is removed."""

_VERSION = 64
"""Bytes of PG_VERSION that are read."""

_MAJOR = re.compile(r"[0-9.]+")
"""What stands there: a number, or two until PostgreSQL 9.6."""

_CATALOG_VERSION = slice(12, 16)
"""Where that is in pg_control."""


def require_data_directory(path: Path) -> None:
    """Make sure that something is a data directory, and nothing else that would be lost.

    Raises ClusterError if it is not.
    """
    missing = [name for name in ("PG_VERSION", "global/pg_control") if not (path / name).is_file()]
    if missing:
        raise ClusterError(
            f"{path} does not look like a data directory: it has no {' and no '.join(missing)}; "
            "nothing was removed, remove it by hand if it shall go",
            {"data_directory": str(path), "missing": missing},
        )


def remove_cluster(path: Path, run_as: User | None) -> None:
    """Remove a data directory on which no server runs, with its write-ahead log and its part of the tablespaces.

    If `path` is a symbolic link, the directory that it means is removed, and the link. It is done as the user `run_as`
    (None: as ourselves), but where root alone can do it and nobody else can exchange anything.

    Raises ClusterError, before anything is removed, if a symbolic link in it leads to what is not the cluster's:
    otherwise the owner of a data directory could have root remove what is not his. Raises OSError if something
    cannot be removed; the rest can be removed later.
    """
    with acting_as(run_as):
        owner = path.stat().st_uid
        log = _write_ahead_log(path)
        if log is not None and not (log / "archive_status").is_dir():
            raise ClusterError(f"{path}/pg_wal leads to {log}, which is no write-ahead log; nothing was removed")
        outside = [place for place in (*([log] if log else []), *_tablespaces(path)) if place.is_dir()]
        for place in outside:
            _require_owner(place, place.stat().st_uid, owner)
        for place in outside:
            _remove_emptied(place, owner)
        real = path.resolve()
        _remove_contents(real, owner)
    with acting_in(str(real.parent), run_as):
        real.rmdir()
    if path.is_symlink():
        with acting_in(str(path.parent), run_as):
            path.unlink()


def remove_unfinished(path: Path) -> None:
    """Remove what an initdb that was killed has left in a directory that was empty before; the directory stays."""
    owner = path.stat().st_uid
    log = _write_ahead_log(path)
    if log is not None:
        _remove_emptied(log, owner)
    _remove_contents(path.resolve(), owner)


def _remove_emptied(path: Path, owner: int) -> None:
    """Remove a directory outside the data directory."""
    _remove_contents(path, owner)
    # Its parent may not be ours to write, or it may be a mount point. Empty, it does no harm.
    with contextlib.suppress(OSError):
        path.rmdir()


def _remove_contents(path: Path, owner: int) -> None:
    """Remove all that is in a directory of that owner, a data directory's own marks last, following no link.

    The owner is that of the very directory that is emptied: it is held open, and nobody can exchange it any more.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_owner(path, os.fstat(directory).st_uid, owner)
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: _MARKS.index(entry.name) if entry.name in _MARKS else -1)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, dir_fd=directory)
            else:
                os.unlink(entry.name, dir_fd=directory)
    finally:
        os.close(directory)


def _require_owner(path: Path, found: int, owner: int) -> None:
    """Make sure that a directory belongs to whom the data directory belongs."""
    if found != owner:
        raise ClusterError(
            f"{path} belongs to the user with the number {found} and not, as the data directory that links to it, "
            f"to {owner}; it was not touched, look whose it is",
            {"directory": str(path), "owner": found},
        )


def _write_ahead_log(path: Path) -> Path | None:
    """Return where the write-ahead log is, if that is elsewhere, and there."""
    link = path / "pg_wal"
    return link.resolve() if link.is_symlink() and link.is_dir() else None


def _tablespaces(path: Path) -> list[Path]:
    """Return the directories that the cluster has in the locations of its tablespaces."""
    links = path / "pg_tblspc"
    if not links.is_dir():
        return []
    name = _version_directory(path)
    return [link.resolve() / name for link in links.iterdir() if link.is_symlink()]


def _version_directory(path: Path) -> str:
    """Return the name of the cluster's directory in each tablespace (TABLESPACE_VERSION_DIRECTORY in relpath.h).

    It is made of the major version and the catalog version; the latter is the second 32-bit number after the
    8 bytes of the system identifier at the beginning of pg_control, where it is in every version (pg_control.h).

    Raises ClusterError if these two do not say it.
    """
    major = os.fsdecode(beginning_of(str(path / "PG_VERSION"), _VERSION).strip())
    control = beginning_of(str(path / "global/pg_control"), _CATALOG_VERSION.stop)
    if _MAJOR.fullmatch(major) is None or len(control) < _CATALOG_VERSION.stop:
        raise ClusterError(f"{path} has a PG_VERSION or a global/pg_control that is none; nothing was removed")
    return f"PG_{major}_{int.from_bytes(control[_CATALOG_VERSION], sys.byteorder)}"
