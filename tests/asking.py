"""What tests need that ask a running server about its files: a way in, and hands on the files."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from servers import sql

from pgsupervisor.postgres import Cluster
from pgsupervisor.postgres.probe import Inspection, inspect

LIMIT = 60
"""Seconds after which something hangs."""


def start(cluster: Cluster) -> None:
    """Start a server that lets in the user who runs it."""
    cluster.start()
    cluster.wait_until_started(LIMIT)
    if who(cluster) != "postgres":
        sql(cluster, f'create role "{who(cluster)}" superuser login')


def restart(cluster: Cluster, settings: Mapping[str, str] | None = None) -> None:
    """Stop a server if it runs, and start it again, with these settings."""
    cluster.shutdown()
    cluster.wait_until_stopped(LIMIT)
    cluster.start(settings=settings)
    cluster.wait_until_started(LIMIT)


def who(cluster: Cluster) -> str:
    """Return the name of the user who runs a server."""
    return pwd.getpwuid(os.geteuid()).pw_name if cluster.run_as is None else cluster.run_as.name


def reloaded(cluster: Cluster) -> Inspection:
    """Have the server read its files again, and ask it."""
    cluster.reload()
    return inspect(cluster, patience=LIMIT)


def path(cluster: Cluster, name: str = "postgresql.conf") -> Path:
    """Return the path of a file in the data directory."""
    return Path(cluster.data_directory, name)


def add(cluster: Cluster, text: str, name: str = "postgresql.conf") -> int:
    """Add text to a file, and return the number of its first line there."""
    file = path(cluster, name)
    before = file.read_bytes() if file.exists() else b""
    file.write_bytes(before + text.encode("utf-8", "surrogateescape") + b"\n")
    return before.count(b"\n") + 1
