"""Groups of processes that the kernel keeps (cgroup v2): named, counted, limited, and ended at once.

A process is in one group, and whatever it starts is in the same: no fork, no new session and no adoption by init leads
out of it, so a group knows its processes better than any search by parents could. It is a directory, and its files say
and set all that there is to it (Documentation/admin-guide/cgroup-v2.rst in the kernel's source).

The kernel gives limits (memory, cpu, pids: its *controllers*) to the children of a group only if no process is in the
group itself. So whoever divides a group moves to a leaf of it first. It also means that nobody can be put into the
divided group any more, as systemd does to start a service again whose processes it was told to leave: that
fails ("Device or resource busy"), until somebody has called the controllers off (`Tree.call_off`). Names, counts of
CPU time and the end of all at once need no controllers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from pgsupervisor.system.delegation import LEAF, absent
from pgsupervisor.system.identity import as_ourselves
from pgsupervisor.system.process import descendants, hold, is_zombie
from pgsupervisor.values import frozen

BRANCH = "clusters"
"""The cgroup, in the one that is delegated to us, that has the groups by name in it."""

CONTROLLERS = frozenset({"memory", "cpu", "pids"})

_KERNELS_OWN = frozenset(
    {"cgroup", "cpu", "cpuacct", "cpuset", "debug", "devices", "dmem", "freezer", "hugetlb", "io", "irq", "memory"}
    | {"misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"}
)
"""What the kernel's own files in a cgroup begin with, before a dot: a directory of such a name could not be made."""

_ROUNDS = 10
"""How often we look for processes that are still outside; a group that brings forth others faster than that is left."""


@frozen
class Limits:
    """What a group may use: bytes of memory, a number of tasks (0: any), and its share of the CPU (100: as others)."""

    memory_max: int = 0
    cpu_weight: int = 100
    tasks_max: int = 0

    @property
    def files(self) -> Mapping[str, str]:
        """The files of a cgroup that set this, with what they are to say."""
        return {
            "memory.max": str(self.memory_max or "max"),
            "cpu.weight": str(self.cpu_weight),
            "pids.max": str(self.tasks_max or "max"),
        }

    @property
    def controllers(self) -> frozenset[str]:
        """The controllers without which this is not in force."""
        ordinary = Limits().files
        return frozenset(file.partition(".")[0] for file, text in self.files.items() if text != ordinary[file])


class Tree:
    """The cgroup in the directory `base`, which is ours to divide; with `controllers` if it is `limiting`."""

    def __init__(self, base: Path, *, limiting: bool, controllers: frozenset[str] = CONTROLLERS) -> None:
        self.base = base
        self.limiting = limiting
        self.controllers: frozenset[str] = frozenset()
        self._wanted = controllers
        self._refusal = ""

    @as_ourselves()
    def occupy(self) -> None:
        """Move to a leaf of it, with whatever else is in the cgroup itself, and have it give limits to its groups.

        Raises OSError if it cannot be divided.
        """
        leaf, branch = self.base / LEAF, self.base / BRANCH
        for directory in (leaf, branch):
            directory.mkdir(exist_ok=True)
        for _ in range(_ROUNDS):
            # A process of another namespace, which has no number here, is written as 0.
            inside = [pid for pid in _numbers(self.base / "cgroup.procs") if pid]
            for pid in inside:
                _move(pid, leaf)
            if not inside:
                break
        for group in branch.iterdir():
            _remove(group)  # what is left of servers that have ended while nobody looked
        if self.limiting:
            self._hand_down(branch)

    def _hand_down(self, branch: Path) -> None:
        for name in sorted(self._wanted & _names(self.base / "cgroup.controllers")):
            try:
                for directory in (self.base, branch):
                    _write(directory / "cgroup.subtree_control", f"+{name}")
            except OSError as error:
                self._refusal = f"the kernel does not give {name} to the groups in {self.base}: {error.strerror}"
        self.controllers = self._wanted & _names(branch / "cgroup.subtree_control")

    @as_ourselves()
    def call_off(self) -> None:
        """Give no limits any more, so that a process can be put into the cgroup itself; from below, as the kernel asks.

        What the groups' memory was counted by is gone then: if it is given again, it is counted from nothing.

        Raises OSError if the kernel refuses.
        """
        for directory in (self.base / BRANCH, self.base):
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(_names(directory / "cgroup.subtree_control")):
                    _write(directory / "cgroup.subtree_control", f"-{name}")

    def missing(self, controllers: frozenset[str]) -> str:
        """Say why there are no limits by these controllers, and what to do; empty if there can be."""
        missing = controllers - self.controllers
        if not missing:
            return ""
        if not self.limiting:
            return "pgsupervisord was started without --limits"
        return self._refusal or absent(missing, _proc_cgroup())

    def group(self, name: str) -> Group:
        """Return the group of that name, which need not be there yet."""
        return Group(self.base / BRANCH / directory_name(name), self)


class Group:
    """One group of processes, in the directory `path`."""

    def __init__(self, path: Path, tree: Tree) -> None:
        self.path = path
        self._tree = tree

    @as_ourselves()
    def make(self) -> None:
        """Make it, if it is not there, and have the kernel ready to move a process into it.

        For the first move in a while the kernel waits some 10 ms, until all processors have heard of it
        (cgroup_threadgroup_rwsem in its source), and with the next ones it is done at once. So we make one that moves
        nobody: ourselves, to where we are.

        Raises OSError.
        """
        self.path.mkdir(exist_ok=True)
        ourselves, leaf = os.getpid(), self._tree.base / LEAF
        if ourselves in _numbers(leaf / "cgroup.procs"):
            _move(ourselves, leaf)

    @as_ourselves()
    def take_in(self, pid: int) -> None:
        """Move a process into it, with all that it has brought forth.

        What a process starts that is inside, is inside. So from the first move on those that are outside can only
        become fewer: children from before, and what these start until it is their turn. We look again until there are
        none. A number that has just become free is not given to another process before all others were, so it is this
        process's that is written.

        Memory that it has touched already goes on to be counted where it was, so a process should come soon.

        Raises OSError if it may not be moved.
        """
        for _ in range(_ROUNDS):
            outside = self._outside(pid)
            for each in outside:
                _move(each, self.path)
            if not outside:
                break

    def _outside(self, pid: int) -> list[int]:
        inside = set(self.members())
        family = [pid, *descendants(pid)]
        return [each for each in family if each not in inside and not is_zombie(each)]

    def members(self) -> list[int]:
        """Return the ids of its processes."""
        try:
            return _numbers(self.path / "cgroup.procs")
        except FileNotFoundError:
            return []

    @as_ourselves()
    def kill(self) -> None:
        """End all of its processes at once, with whatever they are about to start; does not wait for their ends.

        Raises OSError.
        """
        with contextlib.suppress(FileNotFoundError):
            _write(self.path / "cgroup.kill", "1")
            return
        # Before Linux 5.14, or if there is no such group.
        told: set[int] = set()
        for _ in range(_ROUNDS):
            for pid in set(self.members()) - told:
                process = hold(pid)
                if process is not None:
                    with process:
                        if pid in self.members():  # so it is this process that is held
                            process.signal(Signals.SIGKILL)
                told.add(pid)

    @as_ourselves()
    def limit(self, limits: Limits) -> None:
        """Limit what it may use, at once, as far as there are controllers; one that has more memory is made smaller.

        Raises OSError if the kernel refuses.
        """
        for file, text in limits.files.items():
            if file.partition(".")[0] in self._tree.controllers:
                _write(self.path / file, text)

    @as_ourselves()
    def memory(self) -> int | None:
        """Return how many bytes of memory it has, the pages of files that it has read among them; None: not counted."""
        with contextlib.suppress(OSError):
            return _numbers(self.path / "memory.current")[0]
        return None

    @as_ourselves()
    def cpu(self) -> float | None:
        """Return how many seconds of CPU time it has used since it was made; None if it is not there."""
        with contextlib.suppress(OSError):
            said = dict(line.split() for line in (self.path / "cpu.stat").read_text(encoding="ascii").splitlines())
            return int(said["usage_usec"]) / 1e6
        return None

    @as_ourselves()
    def remove(self) -> bool:
        """Remove it if no process is in it, and tell whether it is gone."""
        return _remove(self.path)


def directory_name(name: str) -> str:
    """Return the name of a group's directory, in which the kernel has files of its own beside it.

    >>> directory_name("shop.eu"), directory_name("memory.max"), directory_name("_shop")
    ('shop.eu', '_memory.max', '__shop')

    An underscore makes the difference, as with systemd (`cg_escape` in its source).
    """
    prefix, dot, _ = name.partition(".")
    return f"_{name}" if name.startswith("_") or (dot and prefix in _KERNELS_OWN) else name


def _remove(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _move(pid: int, path: Path) -> None:
    """Move a process; one that has ended is where it belongs."""
    with contextlib.suppress(ProcessLookupError):
        _write(path / "cgroup.procs", str(pid))


def _write(path: Path, text: str) -> None:
    """Write a file that is there: one system call is one order, and the kernel makes no others."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def _numbers(path: Path) -> list[int]:
    return [int(each) for each in path.read_text(encoding="ascii").split()]


def _names(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="ascii").split())


def _proc_cgroup() -> str:
    return os.fsdecode(Path("/proc/self/cgroup").read_bytes())
