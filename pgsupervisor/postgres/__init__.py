"""What PostgreSQL is: installations, clusters and their files. A public library; its calls block.

>>> from pgsupervisor.postgres import Cluster, Installation
>>> cluster = Cluster(Installation.from_bindir("/usr/lib/postgresql/15/bin"), "/srv/pg/shop")
>>> cluster.init(user="shop")
>>> cluster.settings.update({"port": "5433", "listen_addresses": "localhost"})
>>> with cluster:
...     cluster.pid()
4711

It carries over the cluster management of py-postgresql: `Installation` and `Cluster` have the same methods there.
"""

from pgsupervisor.errors import (
    ClusterError,
    ClusterInitializationError,
    ClusterLockedError,
    ClusterNotRunningError,
    ClusterStartupError,
    ClusterTimeoutError,
    ConfigurationError,
    InitDBError,
    InstallationError,
    ProbeError,
)
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.configfile import ConfigFile
from pgsupervisor.postgres.discovery import discover
from pgsupervisor.postgres.installation import Installation, default_pg_config, pg_config_dictionary

__all__ = [
    "Cluster",
    "ClusterError",
    "ClusterInitializationError",
    "ClusterLockedError",
    "ClusterNotRunningError",
    "ClusterStartupError",
    "ClusterTimeoutError",
    "ConfigFile",
    "ConfigurationError",
    "InitDBError",
    "Installation",
    "InstallationError",
    "ProbeError",
    "default_pg_config",
    "discover",
    "pg_config_dictionary",
]
