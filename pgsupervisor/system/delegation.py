"""Which part of the tree of cgroups is ours to divide: the one that was delegated to us, and no other.

Every cgroup has one owner, and whoever changes another's is at war with it (systemd, "Control Group APIs and
Delegation"). systemd gives a service its cgroup for free use by `Delegate=yes`, and says so in an extended attribute of
the directory. A service that systemd runs as another user is known by the owner, too: the directory is that user's, and
the one above it is not.

Only cgroup v2 counts (cgroups(7)). The kernel says in which cgroup a process is, and what is mounted where; how these
two fit together is a matter of text. In a container, or a cgroup namespace, they may not fit: what is above the
namespace's root is written as `/..`, and cannot be found.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pgsupervisor.errors import CgroupError

LEAF = "daemon"
"""The cgroup, in the one that is delegated, for whoever divides it: in one that has others in it, nobody may be."""

CONTROL = ".control"
"""Where systemd starts the commands of a service that divides its cgroup, such as ExecStopPost=."""

_ATTRIBUTES = ("user.delegate", "trusted.delegate")
"""Set by systemd; the second is older, and for root's eyes only."""

_PROC = Path("/proc/self")


def delegated_to_us(proc: Path = _PROC) -> Path:
    """Return the directory of the cgroup that is ours to divide; we are in it, or in a leaf of it.

    Raises CgroupError if there is none, with the reason.
    """
    directory = locate(_text(proc / "cgroup"), _text(proc / "mountinfo"))
    if directory.name in {LEAF, CONTROL} and is_delegated(directory.parent):
        return directory.parent
    if is_delegated(directory):
        return directory
    raise CgroupError(f"the cgroup {directory} is not delegated to the daemon: have systemd run it with Delegate=yes")


def locate(cgroup: str, mountinfo: str) -> Path:
    """Return the directory of a process's cgroup, by its /proc/PID/cgroup and /proc/PID/mountinfo.

    Raises CgroupError if it has none in cgroup v2, or that is not mounted where the process could see it.
    """
    ours = next((line.removeprefix("0::") for line in cgroup.splitlines() if line.startswith("0::")), None)
    if ours is None:
        raise CgroupError("this kernel has no cgroup v2")
    mounts = dict(_mounts(mountinfo))
    if not mounts:
        raise CgroupError("cgroup v2 is not mounted: mount it at /sys/fs/cgroup")
    for point, root in reversed(mounts.items()):
        if ".." not in PurePosixPath(ours).parts and PurePosixPath(ours).is_relative_to(root):
            return Path(point, PurePosixPath(ours).relative_to(root))
    raise CgroupError(f"the cgroup {ours} is not in what is mounted of cgroup v2: {', '.join(mounts)}")


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Yield where cgroup v2 is mounted, and which cgroup is there; of two mounts in one place the last one counts."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ", 1)[0] == "cgroup2":
            root, point = before.split(" ")[3:5]
            yield _unescaped(point), _unescaped(root)


def _unescaped(path: str) -> str:
    r"""Return a path of mountinfo, which has blanks and the like as \040 (proc_pid_mountinfo(5))."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)


def kept_by_v1(cgroup: str) -> frozenset[str]:
    """Return the controllers that are in a cgroup of v1, by a /proc/PID/cgroup, and so in none of v2."""
    hierarchies = (line.split(":", 2)[1] for line in cgroup.splitlines() if line.count(":") > 1)
    return frozenset(name for each in hierarchies for name in each.split(",") if name and "=" not in name)


def absent(controllers: frozenset[str], cgroup: str) -> str:
    """Say of controllers that cgroup v2 does not have here why that is, by /proc/PID/cgroup, and what to do."""
    names = " and ".join(sorted(controllers))
    if controllers & kept_by_v1(cgroup):
        what_next = "boot with systemd.unified_cgroup_hierarchy=1"
        return f"this machine has {names} in cgroup v1, where it cannot be delegated: {what_next}"
    return f"{names} is not handed down to this cgroup: see Delegate= of the service, and cgroup.controllers above it"


def hindrance(controllers: frozenset[str], proc: Path = _PROC) -> str:
    """Say what on this machine keeps a service from using controllers, whoever we are; empty if nothing does."""
    try:
        cgroup = _text(proc / "cgroup")
        mounts = dict(_mounts(_text(proc / "mountinfo")))
    except CgroupError as error:
        return str(error)
    missing = controllers & kept_by_v1(cgroup)
    if missing:
        return absent(missing, cgroup)
    return "" if mounts else "cgroup v2 is not mounted: mount it at /sys/fs/cgroup"


def is_delegated(directory: Path) -> bool:
    """Tell whether a cgroup was delegated to us."""
    for name in _ATTRIBUTES:
        with contextlib.suppress(OSError):
            return os.getxattr(directory, name) == b"1"
    ours = os.geteuid()
    with contextlib.suppress(OSError):
        return ours != 0 and directory.stat().st_uid == ours != directory.parent.stat().st_uid
    return False


def _text(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError as error:
        raise CgroupError(f"{path} cannot be read: {error.strerror}") from error
