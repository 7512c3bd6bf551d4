"""The rights of one caller: what decides about them is looked up when he asks, and as far as it matters.

The database of users may be a slow server on the network, and so may a data directory's disk: both are asked in
threads that do nothing else, and neither for root and the daemon's own user, who may do everything. What the inventory
says (`admin_group`, `allow`) is read at the moment of each decision, so an update counts at once. Of users and groups a
call that streams goes by what was so when it began, as a file that is open stays open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import Executor

from pgsupervisor.control.access import Peer, Who, Whose, groups_of, may, owner_of, user_of
from pgsupervisor.supervision.kept import Kept
from pgsupervisor.supervision.supervisor import Supervisor
from pgsupervisor.values import frozen

_CONTROL = "io.pgsupervisor.Start"
"""A method for all those that are about a cluster."""

_EVERYTHING = "io.pgsupervisor.StopDaemon"
"""A method that is only for those who may do everything."""


@frozen
class Seen:
    """What a caller may see whole: `everything`, or the clusters with these names, and what happened to them."""

    everything: bool
    yours: frozenset[str]

    def whole(self, cluster: str | None) -> bool:
        """Tell whether he may see all that there is to say of a cluster, or of the daemon itself (None)."""
        return self.everything or cluster in self.yours


class Rights:
    """What one caller may do; `learn` first about which clusters.

    `database` has the threads in which users, groups and owners are looked up.
    """

    def __init__(self, peer: Peer, supervisor: Supervisor, database: Executor) -> None:
        self._peer = peer
        self._supervisor = supervisor
        self._database = database
        self._who = Who(peer.uid, "")
        self._owners: dict[str, int | None] = {}

    @property
    def user(self) -> str:
        """The caller's name, or his number if he has none; to be asked of those only who may not do everything."""
        return self._who.name

    async def learn(self, clusters: Iterable[Kept]) -> None:
        """Look up what decides about these clusters, and is not known yet."""
        if self.everything:
            return
        loop = asyncio.get_running_loop()
        if not self._who.name:
            self._who = await loop.run_in_executor(self._database, _look_up, self._peer)
        # An ordinary user's daemon runs all its servers as that user.
        unsettled = [each for each in clusters if each.spec.user is None and not self.may(_CONTROL, each)]
        unknown = {each.spec.data_directory for each in unsettled} - self._owners.keys()
        if unknown and os.geteuid() == 0:
            self._owners |= await loop.run_in_executor(self._database, _owners, unknown)

    def may(self, method: str, cluster: Kept | None = None) -> bool:
        """Tell whether the caller may call a method for a cluster, or (None) for all there is."""
        return may(
            method,
            self._who,
            None if cluster is None else self._whose(cluster),
            daemon_uid=os.geteuid(),
            admin_group=self._supervisor.inventory.daemon.admin_group,
        )

    @property
    def everything(self) -> bool:
        """Whether the caller may do everything, as far as is known."""
        return self.may(_EVERYTHING)

    def seen(self, clusters: Iterable[Kept]) -> Seen:
        """Return what of these clusters the caller may see whole."""
        if self.everything:
            return Seen(everything=True, yours=frozenset())
        return Seen(everything=False, yours=frozenset(each.spec.name for each in clusters if self.may(_CONTROL, each)))

    def _whose(self, cluster: Kept) -> Whose:
        spec = cluster.spec
        user = self._owners.get(spec.data_directory) if spec.user is None else spec.user
        # An update may be stopping other servers before it gets to this one.
        newest = self._supervisor.inventory.clusters.get(spec.name, spec)
        return Whose(user, newest.allow)


def _look_up(peer: Peer) -> Who:
    return Who(peer.uid, user_of(peer), groups_of(peer))


def _owners(directories: Iterable[str]) -> dict[str, int | None]:
    return {each: owner_of(each) for each in directories}
