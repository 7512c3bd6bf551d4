"""A postmaster on its way from one version of the daemon to the next: as the document has it, and as it is held."""

from __future__ import annotations

from dataclasses import replace

from pgsupervisor.daemon.handover import Server, StartedBy
from pgsupervisor.daemon.running import Running
from pgsupervisor.inventory.spec import ClusterSpec, FrozenMapping
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.system.offspring import Inherited
from pgsupervisor.system.process import Process


def carried(running: Running) -> Server:
    """Return what is to be known of a server that is held."""
    spec = running.spec
    return Server(
        pid=running.process.pid,
        pidfd=running.process.pidfd,
        child=running.child is not None,
        started_by=StartedBy(
            data_directory=spec.data_directory,
            user=spec.user,
            port=spec.port,
            settings=dict(spec.settings),
            config_file=spec.config_file,
            logfile=spec.logfile,
        ),
        installation=running.installation.info,
        log_offset=running.log_offset,
        owner=running.owner,
        port=running.port,
        socket_directory=running.socket_directory,
        recovery=running.recovery,
        standby=running.standby,
        memory=running.memory,
        told_to_stop=running.told_to_stop,
        in_force=running.in_force,
    )


def resumed(server: Server, spec: ClusterSpec) -> Running:
    """Hold a server as it was held before; `spec` is what the inventory says of its cluster now."""
    by = server.started_by
    started_by = replace(
        spec,
        data_directory=by.data_directory,
        user=by.user,
        port=by.port,
        settings=FrozenMapping(by.settings),
        config_file=by.config_file,
        logfile=by.logfile,
    )
    installation = Installation(server.installation)
    return Running(
        started_by,
        installation,
        Cluster(installation, by.data_directory, user=by.user, config_file=by.config_file),
        Process(server.pid, server.pidfd),
        Inherited(server.pid) if server.child else None,
        server.log_offset,
        server.owner,
        port=server.port,
        socket_directory=server.socket_directory,
        recovery=server.recovery,
        standby=server.standby,
        memory=server.memory,
        told_to_stop=server.told_to_stop,
        in_force=server.in_force,
    )
