"""What can be asked of a cluster's configuration, and done to it.

All of it blocks, and runs in threads kept for it, as the cluster's user. Whoever asks the server must reckon with one
that hangs; so a cluster has one question at a time under way, and starts and stops have other threads.

A change is judged by PostgreSQL before it is made: a copy that lies beside the file, where what it includes is found,
has to please it. No server ever sees what was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from pgsupervisor.daemon import verdict
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.errors import ConfigurationError, PgSupervisorError
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.postgres import preflight, probe
from pgsupervisor.postgres.cluster import Cluster
from pgsupervisor.postgres.configtree import LIMIT
from pgsupervisor.postgres.lint import lint
from pgsupervisor.postgres.owner import as_owner
from pgsupervisor.supervision.configuration import Prospects, Setting
from pgsupervisor.supervision.kept import Assignments, Undo
from pgsupervisor.system.guarded import content_of
from pgsupervisor.system.rewrite import rewrite
from pgsupervisor.values import frozen

Answer = TypeVar("Answer")

_TRIES = 3
"""How often a change is judged anew, because somebody else has changed the file meanwhile."""


class Configuration:
    """The configuration of one cluster; made and used in the event loop."""

    def __init__(self, spec: ClusterSpec, installations: Installations, asking: Executor) -> None:
        self.spec = spec
        self._installations = installations
        self._asking = asking
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        """Have a thread answer a question."""
        async with self._one_at_a_time:
            return await asyncio.get_running_loop().run_in_executor(self._asking, self._asked, question)

    def _asked(self, question: Callable[[], Answer]) -> Answer:
        with as_owner(self.spec.data_directory, self.spec.user):
            return question()

    @property
    def at_work(self) -> bool:
        """Whether a question is under way."""
        return self._one_at_a_time.locked()

    async def rest(self) -> None:
        """Wait until it is answered."""
        async with self._one_at_a_time:
            pass

    async def prospects(self, spec: ClusterSpec) -> Prospects:
        """Return what a start by this spec would meet.

        By another spec than the present one, addresses are not looked at: they may change hands with others.
        """
        try:
            found = await self.ask(lambda: lint(self._cluster(spec), spec.server_settings, addresses=spec == self.spec))
        except (OSError, PgSupervisorError) as error:
            return Prospects((str(error),))
        return Prospects(found.fatal, found.others, found.unasked)

    async def settings(self) -> Sequence[Setting]:
        """Return where every setting stands that a file sets or the server knows."""
        return await self.ask(lambda: _settings(self._cluster(self.spec)))

    async def write(self, changes: Assignments) -> Undo:
        """Change settings in postgresql.conf, and return what puts it back as it was."""
        spec = self.spec
        written = await self.ask(lambda: _write(self._cluster(spec), spec, changes))
        return lambda: self.ask(written.undo)

    def _cluster(self, spec: ClusterSpec) -> Cluster:
        installation = self._installations.of(spec.installation)
        return Cluster(installation, spec.data_directory, user=spec.user, config_file=spec.config_file)


def _settings(cluster: Cluster) -> Sequence[Setting]:
    written = {assignment.name: assignment for assignment in cluster.settings.assignments()}
    return verdict.settings(written, probe.inspect(cluster) if cluster.running() else None)


@frozen
class _Rewriting:
    """A file that is to say something else; what it said before must still be what it says when it is rewritten."""

    path: str
    before: bytes
    after: bytes

    def do(self) -> None:
        """Rewrite the file; raises _MeanwhileError if somebody else has changed it."""
        rewrite(self.path, partial(_instead_of, self.before, self.after))

    def undo(self) -> None:
        """Put the file back as it was; raises ConfigurationError if somebody else has changed it since."""
        try:
            rewrite(self.path, partial(_instead_of, self.after, self.before))
        except _MeanwhileError:
            why = "somebody else has changed it meanwhile, so it is not put back as it was; look at it"
            raise ConfigurationError(self.path, 0, why) from None


class _MeanwhileError(Exception):
    """Somebody else has changed the file."""


def _instead_of(old: bytes, new: bytes, content: bytes) -> bytes:
    if content != old:
        raise _MeanwhileError
    return new


def _write(cluster: Cluster, spec: ClusterSpec, changes: Assignments) -> _Rewriting:
    config = cluster.settings
    for _ in range(_TRIES):
        before = content_of(config.path, LIMIT)
        rewriting = _Rewriting(config.path, before, config.edited(before, changes))
        refused = _refused(cluster, spec, rewriting, changes)
        if refused is not None:
            raise ConfigurationError(config.path, 0, f"left as it was, since PostgreSQL refuses the change: {refused}")
        # Judging takes a moment, in which an administrator may save: that must not be lost, nor go unjudged.
        with contextlib.suppress(_MeanwhileError):
            rewriting.do()
            return rewriting
    raise ConfigurationError(config.path, 0, "somebody else is changing it all the time; try again")


def _refused(cluster: Cluster, spec: ClusterSpec, rewriting: _Rewriting, changes: Assignments) -> str | None:
    """Return what PostgreSQL has against a change; None if nothing.

    What was wrong in the file before is no reason to refuse a change, which may be there to mend it. Then only the
    new values are judged, each for itself.
    """

    def judge(content: bytes) -> str | None:
        return _judge(cluster, spec, rewriting.path, content)

    wrong = judge(rewriting.after)
    if wrong is None or judge(rewriting.before) is None:
        return wrong
    alone = cluster.settings.edited(b"", {name: value for name, value in changes.items() if value is not None})
    return judge(alone) if judge(b"") is None else None


def _judge(cluster: Cluster, spec: ClusterSpec, path: str, content: bytes) -> str | None:
    """Return what PostgreSQL would have against this content of postgresql.conf."""
    # Beside it, whatever it links to, as includes are relative to that; the name is one that no include_dir takes up.
    with tempfile.NamedTemporaryFile(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path)) as copy:
        copy.write(content)
        copy.flush()
        wrong = preflight.configuration_problem(
            cluster.installation,
            spec.data_directory,
            run_as=cluster.run_as,
            config_file=copy.name,
            settings=spec.server_settings,
        )
        return None if wrong is None else wrong.replace(copy.name, path)
