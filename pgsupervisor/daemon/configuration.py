"""What can be asked of a cluster's configuration, and done to it. All of it blocks, and runs in threads.

The server itself is asked wherever it can answer: what it refuses, it says better than anybody else could.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgsupervisor.daemon import verdict
from pgsupervisor.errors import ConfigurationError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.lexer import fold
from pgsupervisor.postgres.lint import lint
from pgsupervisor.supervision.configuration import Setting
from pgsupervisor.supervision.supervisor import Assignments
from pgsupervisor.system.rewrite import rewrite


def objections(cluster: Cluster, spec: ClusterSpec) -> Sequence[str]:
    """Return why the next start would fail, as far as that can be told now."""
    return lint(cluster, spec.server_settings).fatal


def settings(cluster: Cluster) -> Sequence[Setting]:
    """Return where every setting stands that a file sets or the server knows."""
    written = {assignment.name: assignment for assignment in cluster.settings.assignments()}
    return verdict.settings(written, probe.inspect(cluster) if cluster.ready_for_connections() else None)


def write(cluster: Cluster, spec: ClusterSpec, changes: Assignments) -> Callable[[], None]:
    """Change settings in postgresql.conf, and return what puts it back as it was.

    PostgreSQL judges the file as soon as it is written, before any server is told of it.
    """
    config = cluster.settings
    before = _content(config.path)
    wrong_before = _judge(cluster, spec)
    config.update(changes)
    after = _content(config.path)

    def undo() -> None:
        rewrite(config.path, put_back)

    def put_back(content: bytes) -> bytes:
        if content != after:
            why = "somebody else has changed it meanwhile, so it is not put back as it was; look at it"
            raise ConfigurationError(config.path, 0, why)
        return before

    wrong = _judge(cluster, spec)
    # What was wrong before is no reason to refuse a change, which may be there to mend it.
    if wrong is not None and (wrong_before is None or any(f'"{fold(name)}"' in wrong for name in changes)):
        undo()
        raise ConfigurationError(config.path, 0, f"put back as it was, since PostgreSQL refuses the change: {wrong}")
    return undo


def _judge(cluster: Cluster, spec: ClusterSpec) -> str | None:
    return preflight.configuration_problem(
        cluster.installation,
        spec.data_directory,
        run_as=cluster.run_as,
        config_file=spec.config_file,
        settings=spec.server_settings,
    )


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
