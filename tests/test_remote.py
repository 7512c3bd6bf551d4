"""Filesystems of other machines, told by the mount table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsupervisor.system.remote import mounted_type, remote_filesystem

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:45 / /srv/a\040-\040b rw,relatime shared:7 master:1 - nfs4 filer:/srv rw,vers=4.2,addr=10.0.0.1
29 27 0:4 / /run rw,nosuid - tmpfs tmpfs rw,mode=755
29 27 0:47 /a /home/me/{breaks} rw - tmpfs tmpfs rw
30 27 0:46 / /mnt rw - fuse.sshfs me@there: rw,user_id=0
""".strip().replace("{breaks}", "a\rb\vc\x85d")


@pytest.mark.parametrize(
    ("major", "minor", "kind"),
    [(254, 0, "ext4"), (0, 45, "nfs4"), (0, 4, "tmpfs"), (0, 46, "fuse.sshfs"), (0, 5, None), (45, 0, None)],
)
def test_type_by_device(major: int, minor: int, kind: str | None) -> None:
    """A filesystem is found by its device number, whatever else is in its line."""
    assert mounted_type(MOUNTS, os.makedev(major, minor)) == kind


def test_a_mount_point_of_several_lines() -> None:
    """A mount point may have nearly anything in its name."""
    assert mounted_type(MOUNTS, os.makedev(0, 47)) == "tmpfs"


def test_this_machine() -> None:
    """The kernel's own table is read aright, and what lives in memory or on a disk here is not another machine's."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    assert mounted_type(mounts, os.stat("/proc").st_dev) == "proc"
    assert {path: remote_filesystem(os.stat(path).st_dev) for path in ("/", "/proc", "/dev/shm")} == {
        "/": None,
        "/proc": None,
        "/dev/shm": None,
    }
