"""The words in which the heart speaks: a cluster's life, the events that move it on, the actions that follow.

All of them are frozen values without behaviour; what they mean together is `machine.step`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from signal import Signals
from typing import Literal, Protocol, TypeAlias

from pgsupervisor.supervision.configuration import Report
from pgsupervisor.values import frozen

StopMode: TypeAlias = Literal["smart", "fast", "immediate"]
"""How a server is asked to stop (PostgreSQL manual, "Shutting Down the Server")."""

RecoveryKind: TypeAlias = Literal["crash", "archive"]
"""Why a server replays WAL: it, or its machine, crashed; or it is a standby, or recovers to a point in time."""


class State(StrEnum):
    """What a postmaster does, in the words that users of supervisord know."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    BACKOFF = "BACKOFF"
    FATAL = "FATAL"


class Rung(IntEnum):
    """The ladder of a stop; a harder rung overtakes a softer one, never the other way round."""

    SMART = 1
    FAST = 2
    IMMEDIATE = 3
    KILL = 4

    @property
    def signal(self) -> Signals:
        """The signal that asks a postmaster for this (PostgreSQL manual, "Shutting Down the Server")."""
        return {
            Rung.SMART: Signals.SIGTERM,
            Rung.FAST: Signals.SIGINT,
            Rung.IMMEDIATE: Signals.SIGQUIT,
            Rung.KILL: Signals.SIGKILL,
        }[self]


class Policy(Protocol):
    """What the inventory says about keeping a cluster; durations in seconds."""

    @property
    def restart(self) -> Literal["on-failure", "always", "never"]:
        """When a server that ended unasked is started again."""

    @property
    def restart_delay(self) -> float:
        """The wait before the second restart in a row; it doubles with each further one."""

    @property
    def restart_max_delay(self) -> float:
        """The longest such wait."""

    @property
    def start_retries(self) -> int:
        """How often a server that never became ready is tried again before we give up."""

    @property
    def restart_limit(self) -> int:
        """How many failures in a row make us give up; 0 is never."""

    @property
    def stable_after(self) -> float:
        """A server that has run this long is forgiven its past failures."""

    @property
    def stop_mode(self) -> StopMode:
        """How a server is asked to stop."""

    @property
    def stop_timeout(self) -> float:
        """How long each rung of the ladder may take."""


@frozen
class Recovery:
    """A server that is not ready yet replays WAL, since a moment in the seconds of the clock that `step` is given."""

    kind: RecoveryKind
    since: float


@frozen
class Life:
    """Everything that is known and wanted of one cluster at one moment; replaced, never changed.

    `since` is when the state was entered and `deadline` when the state has its say (`machine`), both in the
    seconds of the clock that `step` is given. `backoff` is the last wait before a restart: None after a
    stable run, which makes the next restart immediate. `reloading` while the server reads its files again and is asked
    what it made of them, `reload_due` if that is still to be done, and `report` is what came of it last;
    `continued` if that was a moment ago, so that whoever waits is told what came of both. `crashes` is how often this
    server has had to begin anew because one of its processes crashed, and `crashed` when it last did. `recovery` while
    it replays WAL before it is ready; `standby` if it goes on with that for ever. `orphans` is how many processes of a
    server whose postmaster has ended still keep its shared memory, and `beyond` the life that follows when the last of
    them is gone. `outside` if it is in BACKOFF for a cause that lies outside of it (`Exited`).
    """

    state: State = State.STOPPED
    want_up: bool = False
    pid: int | None = None
    since: float = 0.0
    deadline: float | None = None
    failures: int = 0
    early_exits: int = 0
    backoff: float | None = 0.0
    restarts: int = 0
    rung: Rung | None = None
    rung_timeout: float = 0.0
    reloading: bool = False
    reload_due: bool = False
    continued: bool = False
    report: Report | None = None
    recovery: Recovery | None = None
    standby: bool = False
    crashes: int = 0
    crashed: float = 0.0
    orphans: int = 0
    beyond: Life | None = None
    outside: bool = False
    reason: str = ""

    @property
    def locked(self) -> bool:
        """Whether somebody else has the data directory, so that a start waits until that is over."""
        return self.state is State.BACKOFF and self.deadline is None and self.beyond is None


# Orders: what the administrator asks for.


@frozen
class Start:
    """The server shall run."""


@frozen
class Stop:
    """The server shall not run. `mode` and `timeout` (seconds for each rung) are the policy's unless given."""

    mode: StopMode | None = None
    timeout: float | None = None


@frozen
class Restart:
    """The server shall stop, as by `Stop`, and run again; if it would not come up again, only with `force`."""

    mode: StopMode | None = None
    timeout: float | None = None
    force: bool = False


@frozen
class Reload:
    """The server shall read its configuration files again."""


@frozen
class Kill:
    """The server shall end at once and stay down; its next start begins with crash recovery."""


# Facts: what happened.


@frozen
class Spawned:
    """A postmaster runs: we started it, or it ran before we came (adoption)."""

    pid: int


@frozen
class SpawnFailed:
    """No postmaster was started. `hopeless`: nor would trying again help, as the data directory stands.

    `orphans`: so many processes of the server before it are in the way, which have to end first.
    `locked`: somebody else has the data directory, and Unlocked will tell when that is over. `outside` as in `Exited`.
    """

    reason: str
    hopeless: bool
    jitter: float
    orphans: int = 0
    locked: bool = False
    outside: bool = False


@frozen
class Unlocked:
    """What kept a server from starting on the data directory (`SpawnFailed.locked`) is gone, or has changed."""


@frozen
class Recovering:
    """The server has begun to replay WAL, and is not ready before that is done, or, on a standby, far enough."""

    kind: RecoveryKind


@frozen
class Ready:
    """The server accepts connections, or, as a standby that does not allow them, is as ready as it gets.

    One that was ready and is so again with another `standby` was promoted.
    """

    standby: bool


@frozen
class Reinitialized:
    """A process of the server crashed; the postmaster ended the others, recovers, and goes on as the same process."""


@frozen
class Exited:
    """The postmaster has ended.

    `clean`: after an orderly shutdown, by the word of pg_control. `hopeless`: its configuration is refused, and it
    would end the same way again. `jitter` is the random factor (0.8 to 1.2) for the wait that may follow, so
    that servers which fell together do not all come back at the same moment. `outside`: what it died of is no mistake
    in the cluster, but may pass by itself, such as a disk that is full or a limit of processes. `orphans` processes of
    it live on.
    """

    reason: str
    clean: bool
    hopeless: bool
    jitter: float
    orphans: int = 0
    outside: bool = False


@frozen
class Orphaned:
    """Of the processes that outlived a postmaster, `count` are left."""

    count: int


@frozen
class FilesChanged:
    """The cluster's configuration files say something else than the server was told, or it is not known what it was."""


@frozen
class Reloaded:
    """The server `pid` was told to read its files again, and this is what it made of them."""

    pid: int
    report: Report


@frozen
class Timeout:
    """The deadline has passed."""


Order: TypeAlias = Start | Stop | Restart | Reload | Kill
Fact: TypeAlias = (
    Spawned
    | SpawnFailed
    | Unlocked
    | Recovering
    | Ready
    | Reinitialized
    | Exited
    | Orphaned
    | FilesChanged
    | Reloaded
    | Timeout
)
Event: TypeAlias = Order | Fact


# Actions: what is to be done about it.


@frozen
class Spawn:
    """Start a postmaster, or adopt the one that runs; the outcome is Spawned or SpawnFailed."""


@frozen
class Signal:
    """Send this to the postmaster. With none yet, a stop signal calls off the start that is under way.

    SIGHUP has a server that starts read its files; what came of it is not asked.
    """

    number: Signals


@frozen
class TellToReload:
    """Have the postmaster read its configuration files, and ask what it made of them; the outcome is Reloaded."""


@frozen
class SignalOrphans:
    """Send this to the processes that outlived a postmaster; each that ends is told by Orphaned."""

    number: Signals


Action: TypeAlias = Spawn | Signal | TellToReload | SignalOrphans
