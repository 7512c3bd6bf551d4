"""The cgroup that a cluster's server lives in, with all of its processes, and the limits that the inventory sets to it.

Where no part of the tree of cgroups is ours (`system.delegation`), there is none. All else works then, and whoever has
set limits is told why they are off.

Python starts no program in another cgroup than its own: for that, code would have to run between fork and exec. So a
postmaster is moved as soon as it runs, which is before it starts anybody, and as a rule before it makes its shared
memory. The little that it has touched until then goes on to be counted where the daemon is. Whatever it should have
started already, as a server has that somebody started by hand, is moved after it (`Group.take_in`). Either way all of
them are inside when it is held, and none comes out by itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TypeAlias

from pgsupervisor.errors import CgroupError
from pgsupervisor.inventory.lookup import limits_of
from pgsupervisor.inventory.spec import ClusterSpec
from pgsupervisor.supervision.kept import Usage
from pgsupervisor.system.cgroup import CONTROLLERS, Group, Tree
from pgsupervisor.system.delegation import delegated_to_us
from pgsupervisor.system.follow import Followed
from pgsupervisor.system.watch import Watcher

Ground: TypeAlias = Tree | str
"""The cgroup that we may divide, or why there is none."""


def ground(*, limiting: bool) -> Ground:
    """Take the cgroup that is ours to divide; with `limiting`, its groups can be given limits."""
    try:
        tree = Tree(delegated_to_us(), limiting=limiting)
    except CgroupError as error:
        return str(error)
    try:
        tree.occupy()
    except OSError as error:
        return f"the cgroup {tree.base} cannot be divided: {error.strerror}"
    return tree


def end_limits() -> None:
    """Leave servers that run on without limits, so that systemd can start us again beside them.

    It puts a service's process into the service's cgroup itself, also where `DelegateSubgroup=` names one below it, and
    the kernel lets nobody in there who gives limits to others (`system.cgroup`). What is started next gives them anew.

    Raises CgroupError if no cgroup is ours, or the kernel refuses.
    """
    tree = Tree(delegated_to_us(), limiting=False)
    try:
        tree.call_off()
    except OSError as error:
        raise CgroupError(f"the limits in {tree.base} cannot be ended: {error.strerror}") from error


def limits_off(within: Ground, controllers: frozenset[str] = CONTROLLERS) -> str:
    """Say why there are no limits by these controllers, and what to do; empty if there can be."""
    return within if isinstance(within, str) else within.missing(controllers)


class Enclosure:
    """The cgroup of a cluster.

    `whole` if the memory of its server is counted from the server's beginning; None while there is no server in it.
    """

    def __init__(self, spec: ClusterSpec, within: Ground, watcher: Watcher) -> None:
        self.whole: bool | None = None
        self._spec = spec
        self._limited_by = limits_of(spec).controllers
        self._within = within
        self._watcher = watcher
        self._group: Group | None = None if isinstance(within, str) else within.group(spec.name)
        self._outside = ""
        self._refusal = ""
        self._limiting = threading.Lock()
        self._events: Followed | None = None

    @property
    def limits(self) -> str:
        """What keeps the limits of the inventory from being in force, and what to do; empty if nothing does."""
        if not self._limited_by:
            return ""
        if why := limits_off(self._within, self._limited_by) or self._outside or self._refusal:
            return f"limits are off: {why}"
        if self._spec.memory_max and self.whole is False:
            return "memory_max does not count what the server had before this daemon came; restart it to have it count"
        return ""

    def renew(self, spec: ClusterSpec) -> None:
        """Go by this spec; `limit` brings its limits into force."""
        self._spec = spec
        self._limited_by = limits_of(spec).controllers

    def prepare(self) -> None:
        """Have the cgroup ready for a server, with the limits in force. Blocks for some 10 ms."""
        self.whole, self._outside = False, ""
        if self._group is not None:
            # What keeps us from it keeps the server from coming in, too, and is told then.
            with contextlib.suppress(OSError):
                self._group.make()
                self.limit()

    def enclose(self, pid: int, *, whole: bool) -> None:
        """Have a server and its processes in the cgroup that is ready for it; `whole` if it has just begun. Blocks.

        What keeps us from it keeps no server from running: it is said in `limits`.
        """
        self.whole = whole
        if self._group is not None:
            try:
                self._group.take_in(pid)
            except OSError as error:
                self._outside = f"the server cannot be moved into {self._group.path}: {error.strerror}"

    def limit(self) -> None:
        """Bring the limits of the inventory into force, at once. Blocks while memory is taken from a server."""
        if self._group is None:
            return
        with self._limiting:  # so that what was said last is written last
            self._refusal = ""
            try:
                self._group.limit(limits_of(self._spec))
            except FileNotFoundError:
                return  # no server is in it; the next one comes with its limits
            except OSError as error:
                self._refusal = f"the kernel refuses them: {error.strerror}"

    def kill(self) -> None:
        """End whatever is in the cgroup, so that nothing of the cluster is left."""
        # Without it, those that are known are killed one by one, as where there is no cgroup.
        with contextlib.suppress(OSError):
            if self._group is not None:
                self._group.kill()

    @property
    def counted(self) -> bool:
        """Whether the kernel counts what the cluster uses: its server is in a cgroup."""
        return self._group is not None and self.whole is not None and not self._outside

    def usage(self) -> Usage:
        """Return what the cluster uses. Blocks for less than a millisecond."""
        if self._group is None or not self.counted:
            return Usage()
        return Usage(self._group.memory() if self.whole else None, self._group.cpu())

    def leave(self) -> None:
        """Remove the cgroup of a server that has ended as soon as it is empty; to be called in the event loop."""
        self.whole = None
        self.close()
        if self._group is not None and not self._group.remove():
            # Some process takes its time to end, or was made to outlive the server: the kernel tells when it is gone.
            self._events = Followed(self._watcher, os.path.join(self._group.path, "cgroup.events"), self._retry)
            self._retry()

    def close(self) -> None:
        """Leave the cgroup as it is."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _retry(self) -> None:
        if self.whole is None and self._group is not None and self._group.remove():
            self.close()
