"""What a daemon hands over when its process executes another version of it: a document, and open descriptors. Pure.

It stays the same process, with the same children and the same monotonic clock, and what it has open stays open where
that is asked for. So all that a new version must be told is what those descriptors are, and what is known of each
cluster. The inventory is none of it: that is read anew, and is the same for both, or nothing is handed over.

The two versions may differ, so the document says in which format it is. A field that is added with a default makes no
other format, nor does one that is not read any more. Of another format nobody is expected to make sense: the daemon has
to be ended and started then, and adopts its servers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain

import msgspec

from pgsupervisor.control.conversations import Handed
from pgsupervisor.errors import UpgradeError
from pgsupervisor.postgres.controldata import RecoveryKind
from pgsupervisor.postgres.sources import Sources
from pgsupervisor.supervision.events import Event
from pgsupervisor.supervision.life import Life
from pgsupervisor.system.identity import User
from pgsupervisor.system.sharedmemory import Segment
from pgsupervisor.values import frozen

FORMAT = 1


@frozen
class StartedBy:
    """What the inventory said of a cluster when its server was started, of what counts until it is started again."""

    data_directory: str
    user: str | None
    port: int | None
    settings: Mapping[str, str]
    config_file: str | None
    logfile: str


@frozen
class Server:
    """A postmaster that is held by its `pidfd`, and what is known of it (`daemon.running.Running`).

    `child` if its exit status is ours to ask for, and `installation` in the shape of pg_config's output.
    """

    pid: int
    pidfd: int
    child: bool
    started_by: StartedBy
    installation: Mapping[str, str]
    log_offset: int
    owner: User | None
    port: int | None
    socket_directory: str | None
    recovery: RecoveryKind | None
    standby: bool | None
    memory: Segment | None
    told_to_stop: bool
    in_force: Mapping[str, str]


@frozen
class Cluster:
    """A cluster: its life, its server if one is held, and what is known besides (`daemon.hosting.HostedPostmaster`).

    `orphans` are the processes that outlived its postmaster, with their pidfds. `told` is what its server was told of
    its configuration last, and `also` what it uses besides that. `whole` if the memory of its server is counted
    from the server's beginning.
    """

    life: Life
    server: Server | None
    orphans: tuple[tuple[int, int], ...]
    version: str | None
    seen: tuple[str, ...]
    told: Sources
    also: tuple[str, ...]
    whole: bool | None = None

    @property
    def pidfds(self) -> tuple[int, ...]:
        """The descriptors of all processes."""
        orphans = tuple(pidfd for _, pidfd in self.orphans)
        return orphans if self.server is None else (self.server.pidfd, *orphans)


@frozen
class Handover:
    """Everything.

    `version` is that of the daemon that hands over, `started` when it was first started (Unix time). `endpoint` are the
    descriptors of the control socket at the path `socket` and of its lock, and `signals` those of the signals' pipe.
    `events` are the last ones; the next one goes on from their numbers.
    """

    version: str
    started: float
    socket: str
    endpoint: tuple[int, int]
    signals: tuple[int, int]
    clients: tuple[Handed, ...]
    clusters: Mapping[str, Cluster]
    events: tuple[Event, ...] = ()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All descriptors that go along."""
        clients = (each.connection for each in self.clients)
        pidfds = chain.from_iterable(each.pidfds for each in self.clusters.values())
        return (*self.endpoint, *self.signals, *clients, *pidfds)


@frozen
class _Document:
    """A handover, and how it is written."""

    format: int
    handover: object


def encode(handover: Handover) -> bytes:
    """Return the document of a handover."""
    # Python's json also takes a name or a word that is no UTF-8 (PEP 383).
    return json.dumps(msgspec.to_builtins(_Document(FORMAT, handover))).encode("ascii")


def decode(document: bytes) -> Handover:
    """Read a document.

    Raises UpgradeError if it is in another format.
    """
    try:
        written = msgspec.convert(json.loads(document), _Document)
        if written.format != FORMAT:
            raise UpgradeError(f"it is handed over in format {written.format}, and format {FORMAT} is understood")
        return msgspec.convert(written.handover, Handover)
    except (ValueError, msgspec.ValidationError) as error:
        raise UpgradeError(f"what is handed over is not understood: {error}") from error
