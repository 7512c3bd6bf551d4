"""Filesystems of other machines, whose changes the kernel here does not see.

inotify is granted there as everywhere, and tells only of what this machine does itself (inotify(7)). A filesystem
without a disk of this machine has a device number with the major 0, so for all others nothing need be read; the mount
table tells which of these come over a network (proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import os
from pathlib import Path

_REMOTE = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    }
)

_MOUNTS = Path("/proc/self/mountinfo")


def remote_filesystem(device: int) -> str | None:
    """Return the type of a filesystem, `device` being a file's st_dev, if other machines can change it unseen."""
    if os.major(device) != 0:
        return None
    kind = filesystem(device)
    return kind if kind in _REMOTE else None


def filesystem(device: int) -> str | None:
    """Return the type of the filesystem with this st_dev; None if it cannot be told."""
    return mounted_type(os.fsdecode(_MOUNTS.read_bytes()), device)


def mounted_type(mounts: str, device: int) -> str | None:
    """Return the type of the filesystem with this st_dev by a mount table; None if it is not in there."""
    number = f"{os.major(device)}:{os.minor(device)}"
    # Not splitlines: a mount point can have in its name what that takes for the end of a line.
    for line in mounts.split("\n"):
        mount, _, filesystem = line.partition(" - ")
        if mount.split(" ")[2:3] == [number]:
            return filesystem.split(" ")[0]
    return None
