"""Cluster: one data directory, and the server on it.

This is what py-postgresql calls `postgresql.cluster.Cluster`, with the same names and the same meaning, and without
its traps. Here is what concerns the data directory; what concerns its server is in `server`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from pgsupervisor.errors import ClusterError, ClusterInitializationError, ClusterTimeoutError
from pgsupervisor.postgres import command
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.initdb import PASSWORD_FILE, LogFile, initialize
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.postgres.removal import remove_cluster, require_data_directory
from pgsupervisor.postgres.server import Server
from pgsupervisor.system.identity import our_uid


class Cluster(Server):
    """A data directory in the hands of an installation; the directory need not exist yet.

    `installation`, `data_directory` (absolute) and `config_file` are what was given. `config_file` is given where
    postgresql.conf lies outside the data directory, as with Debian.

    All programs run as the OS user named `user`; None means ourselves or, for root, the owner of the data directory,
    since PostgreSQL refuses to run as root. Only root can ask for another user than itself.

    As a context manager it sees to it that a server runs and is ready; a server that it had to start is shut
    down (fast) in the end, one that it found running is left alone.

    Methods that look at the server raise PermissionError if the data directory or the server is not ours to look at
    or to signal. Times are in seconds.
    """

    def __init__(
        self,
        installation: Installation,
        data_directory: str | os.PathLike[str],
        *,
        user: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(installation, data_directory, user=user, config_file=config_file)
        self._entered: list[bool] = []

    @cached_property
    def settings(self) -> ConfigFile:
        """The settings in the cluster's configuration files, as a mapping; always the same object."""
        return ConfigFile(
            self.config_file or Path(self.data_directory, "postgresql.conf"),
            auto_file=Path(self.data_directory, "postgresql.auto.conf"),
        )

    @property
    def hba_file(self) -> str:
        """The path of its pg_hba.conf: the setting `hba_file` as it is written, or its default."""
        return self.settings.get("hba_file") or str(Path(self.data_directory, "pg_hba.conf"))

    def initialized(self) -> bool:
        """Tell whether the directory looks like a data directory: with a postgresql.conf, and a directory `base`."""
        return Path(self.settings.path).exists() and Path(self.data_directory, "base").is_dir()

    def init(
        self,
        *,
        encoding: str | None = "UTF8",
        user: str | None = None,
        password: str | None = None,
        authentication: str | None = None,
        locale: str | None = None,
        timeout: float | None = None,
        extra_arguments: Iterable[object] = (),
        logfile: LogFile | None = None,
    ) -> None:
        """Make the cluster with initdb, and return when it is there.

        `user` is the name of the database superuser; initdb's default is the OS user's. `password` is his, one line.
        `encoding` is that of the databases (None: UTF8), `locale` their locale; initdb's default is the environment's.
        `authentication` is the method for connections in pg_hba.conf. `extra_arguments` come last on initdb's command
        line; what it prints goes to `logfile`. See the PostgreSQL manual, "initdb".

        Raises InitDBError if initdb fails, ClusterTimeoutError if it is not done after `timeout` seconds (then it is
        ended), and ClusterInitializationError if there is no initdb or the directory cannot be used; the directory
        is then as it was. Raises ValueError for a password with a line end or a NUL in it.
        """
        program = self.installation.initdb
        if program is None:
            raise ClusterInitializationError(
                f"{self.installation.version} has no initdb; install the package of its server, or choose another"
            )
        run_as = self.run_as
        if run_as is None and our_uid() == 0:
            raise ClusterInitializationError(
                f"PostgreSQL refuses to run as root: name the user that {self.data_directory} shall belong to"
            )
        arguments = command.initdb_command(
            program,
            self.data_directory,
            encoding=encoding or "UTF8",
            user=user,
            authentication=authentication,
            locale=locale,
            password_file=None if password is None else PASSWORD_FILE,
            extra_arguments=[str(argument) for argument in extra_arguments],
        )
        initialize(
            arguments, Path(self.data_directory), run_as=run_as, password=password, timeout=timeout, logfile=logfile
        )

    def drop(self, *, timeout: float = 10) -> None:
        """Shut the server down, kill it if it is not gone after `timeout` seconds, and remove the cluster's files.

        A `pg_wal` and tablespaces that lie elsewhere are removed too. A data directory that does not exist is none
        to remove: nothing is done.

        Raises ClusterError, and removes nothing, if the directory does not look like a data directory or has a
        link in it to what belongs to another user. Raises OSError if something cannot be removed.
        """
        path = Path(self.data_directory)
        if not path.exists():
            return
        with self.as_owner():
            require_data_directory(path)
        self.shutdown()
        try:
            self.wait_until_stopped(timeout)
        except ClusterTimeoutError:
            self.kill()
            self.wait_until_stopped()
        remove_cluster(path, self.run_as)

    def __enter__(self) -> Self:
        found = self.running()
        self.start()
        try:
            self.wait_until_started()
        except ClusterError:
            if not found:
                self.shutdown()
                self.wait_until_stopped()
            raise
        self._entered.append(not found)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered.pop():
            self.shutdown()
            self.wait_until_stopped()
