"""A cluster in our care: its spec, its keeper, its postmaster; and what is asked of whoever makes the postmaster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.supervision.configuration import Prospects, Setting
from pgsupervisor.supervision.keeper import Keeper, Post, Postmaster
from pgsupervisor.supervision.life import Life
from pgsupervisor.values import frozen

Assignments: TypeAlias = Mapping[str, str | None]
"""Settings by name, with the values that they are to have in a file; None: not to be set there."""

Undo: TypeAlias = Callable[[], Awaitable[None]]
"""Puts a file back as it was. Raises ConfigurationError if somebody else has changed it meanwhile, and OSError."""


class HostedConfiguration(Protocol):
    """A cluster's configuration: where its settings stand, how they are changed, what a start would make of them."""

    async def prospects(self, spec: ClusterSpec) -> Prospects:
        """Return what a start by this spec would meet."""

    async def settings(self) -> Sequence[Setting]:
        """Return where every setting stands that a file sets or the server knows, by name.

        Raises OSError if the files cannot be read, and ProbeError if a server runs that cannot be asked.
        """

    async def write(self, changes: Assignments) -> Undo:
        """Set (or with None take out) settings in its postgresql.conf, and return what puts it back as it was.

        Raises ConfigurationError if a setting cannot be changed there, or PostgreSQL refuses it, ValueError for what
        no file can say, and OSError if the file cannot be written; it is as it was then.
        """


@frozen
class LogStart:
    """Where to begin in a log.

    At the `position` where somebody has left off, else at the first line that was written `since` a Unix time, else
    `lines` before the end, but no more than the last `most` bytes.
    """

    lines: int
    most: int | None = None
    since: float | None = None
    position: str | None = None


LogSource: TypeAlias = Literal["logfile", "collector"]
"""Where a server logs to: the file that the inventory names, and the files of its logging collector."""


@frozen
class LogPiece:
    """A piece of a log, and the position after it. It may begin and end in the middle of a line."""

    source: LogSource
    text: bytes
    position: str


class HostedLog(Protocol):
    """A cluster's log, with its archives; of a server with a logging collector also the collector's files."""

    @property
    def trouble(self) -> str:
        """What there is to say of its rotation; empty if nothing."""

    async def open(self, start: LogStart, *, follow: bool) -> Sequence[AsyncGenerator[LogPiece, None]]:
        """Return what yields the log from there on; to `follow` it, also what is written later.

        A server with a logging collector writes to two places, and what is in these comes from two iterators. They end
        when the cluster is kept no more.

        Raises OSError if it cannot be read, LogUntimedError if no line says when it was written, and ValueError if
        there is no such position. The iterators raise OSError, and LogLostError if it is rotated away unread.
        """


@frozen
class Usage:
    """What a cluster uses: bytes of memory now, and seconds of CPU time since its server began; None: nobody knows."""

    memory: int | None = None
    cpu: float | None = None


class HostedPostmaster(Postmaster, Protocol):
    """A postmaster as the supervisor's host makes it: a keeper can move it, and it can be asked where it is."""

    def renew(self, spec: ClusterSpec) -> None:
        """Go by this spec from the next start on."""

    @property
    def version(self) -> str | None:
        """The PostgreSQL version of the installation, such as `15.18`; None if it has not been looked at yet."""

    @property
    def port(self) -> int | None:
        """The port that the server uses, or, while none runs, would use as far as the inventory says."""

    @property
    def socket_directory(self) -> str | None:
        """The directory of the running server's Unix socket."""

    @property
    def polled(self) -> str:
        """Why its configuration files have to be polled; empty if they need not be."""

    @property
    def limits(self) -> str:
        """What keeps the limits that the inventory sets from being in force; empty if nothing does."""

    @property
    def counted(self) -> bool:
        """Whether anybody counts what it uses."""

    def usage(self) -> Usage:
        """Return what all processes of the cluster use; to be called in a thread."""

    @property
    def configuration(self) -> HostedConfiguration:
        """Its configuration."""

    @property
    def log(self) -> HostedLog:
        """Its log."""

    @property
    def at_work(self) -> bool:
        """Whether something is done to it that must not be cut off: a start, a look at how it ended, a question."""

    async def rest(self) -> None:
        """Wait until that is done."""


Host: TypeAlias = Callable[[ClusterSpec, Post], HostedPostmaster]
"""Makes a cluster's postmaster, which posts its facts."""

Report: TypeAlias = Callable[[str, Life], None]
"""Is told of each life that an order's clusters go through."""


@dataclass(slots=True)
class Kept:
    """A cluster in our care: what the inventory says, the keeper of its life, its postmaster.

    `ordered_down` is whether it is to be down by the last order: what we start unasked, we do not start against that.
    """

    spec: ClusterSpec
    keeper: Keeper
    postmaster: HostedPostmaster
    task: asyncio.Task[None]
    configuring: asyncio.Lock = field(default_factory=asyncio.Lock)
    ordered_down: bool = False

    @property
    def life(self) -> Life:
        """The cluster's life at this moment."""
        return self.keeper.life

    @property
    def busy(self) -> bool:
        """Whether something is under way that must not be cut off, or that the life does not show yet."""
        return self.configuring.locked() or self.keeper.behind or self.postmaster.at_work

    async def rest(self) -> None:
        """Wait until that is done; something else may be under way by then."""
        async with self.configuring:
            await self.postmaster.rest()
            await self.keeper.catch_up()
