"""Which cgroup is ours to divide: told by what the kernel says of it, in all the ways in which it may be mounted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from cgroups import new_cgroup, with_cgroups
from people import as_root, somebody_else

from pgsupervisor.errors import CgroupError
from pgsupervisor.system.delegation import absent, delegated_to_us, hindrance, is_delegated, locate

SERVICE = "/system.slice/pgsupervisor.service"

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
"""

V1 = f"9:name=systemd:{SERVICE}\n4:memory:{SERVICE}\n2:cpu,cpuacct:/\n"

WHERE = {
    "unified": (f"0::{SERVICE}\n", UNIFIED, f"/sys/fs/cgroup{SERVICE}"),
    "hybrid": (f"{V1}0::{SERVICE}\n", HYBRID, f"/sys/fs/cgroup/unified{SERVICE}"),
    "hybrid, the root": ("4:memory:/\n0::/\n", HYBRID, "/sys/fs/cgroup/unified"),
    "a namespace of its own": ("0::/\n", UNIFIED, "/sys/fs/cgroup"),
    "a container, where a part is mounted": (
        "0::/machine.slice/libpod-1.scope/a\n",
        "40 39 0:26 /machine.slice/libpod-1.scope /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        "/sys/fs/cgroup/a",
    ),
    "a part and the whole": (
        f"0::{SERVICE}\n",
        UNIFIED + "41 40 0:26 /user.slice /mnt/users rw - cgroup2 cgroup rw\n",
        f"/sys/fs/cgroup{SERVICE}",
    ),
    "one mounted over another": (
        f"0::{SERVICE}\n",
        UNIFIED.replace(" / ", " /user.slice ", 1) + UNIFIED,
        f"/sys/fs/cgroup{SERVICE}",
    ),
    "names with blanks": ("0::/a b\n", "30 23 0:26 / /sys/my\\040groups rw - cgroup2 c rw\n", "/sys/my groups/a b"),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "directory"), WHERE.values(), ids=WHERE)
def test_where_a_cgroup_is(cgroup: str, mountinfo: str, directory: str) -> None:
    assert locate(cgroup, mountinfo) == Path(directory)


NOWHERE = {
    "v1 alone": (V1, HYBRID, "this kernel has no cgroup v2"),
    "v2 not mounted": (f"{V1}0::/\n", "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "mount it"),
    "above the namespace": ("0::/../daemon\n", UNIFIED, "/../daemon is not in what is mounted"),
    "a mount from before the namespace": ("0::/\n", UNIFIED.replace(" / ", " /../.. ", 1), "is not in what is mounted"),
    "a part that it is not in": (f"0::{SERVICE}\n", UNIFIED.replace(" / ", " /user.slice ", 1), "/sys/fs/cgroup"),
}


@pytest.mark.parametrize(("cgroup", "mountinfo", "why"), NOWHERE.values(), ids=NOWHERE)
def test_where_there_is_none(cgroup: str, mountinfo: str, why: str) -> None:
    with pytest.raises(CgroupError) as raised:
        locate(cgroup, mountinfo)
    assert why in str(raised.value)


def proc(directory: Path, cgroup: Path) -> Path:
    """Make a /proc/self of a process that is in a cgroup."""
    directory.mkdir()
    (directory / "cgroup").write_text(f"0::{cgroup}\n")
    (directory / "mountinfo").write_text("30 23 0:26 / / rw - cgroup2 cgroup2 rw\n")
    return directory


@with_cgroups
def test_what_systemd_delegates(tmp_path: Path) -> None:
    """The cgroup with the mark is ours, also from the leaf that we moved to and that of a service's commands."""
    with new_cgroup() as base:
        for leaf in ("daemon", ".control", "other"):
            (base / leaf).mkdir()
        assert is_delegated(base)
        assert delegated_to_us(proc(tmp_path / "a", base)) == base
        assert delegated_to_us(proc(tmp_path / "b", base / "daemon")) == base
        assert delegated_to_us(proc(tmp_path / "c", base / ".control")) == base
        with pytest.raises(CgroupError) as raised:
            delegated_to_us(proc(tmp_path / "d", base / "other"))
        assert str(raised.value).endswith("other is not delegated to the daemon: have systemd run it with Delegate=yes")


@with_cgroups
def test_what_is_not_delegated(tmp_path: Path) -> None:
    """Root may do anything to any cgroup, and leaves those alone that nobody gave to it."""
    with new_cgroup(delegated=False) as base:
        assert not is_delegated(base)
        with pytest.raises(CgroupError, match="not delegated"):
            delegated_to_us(proc(tmp_path / "a", base))
        os.setxattr(base, "user.delegate", b"0")
        assert not is_delegated(base)


@as_root
def test_what_an_older_systemd_gives_to_a_user() -> None:
    """Where no mark can be read, it is the user's own in what is not the user's; what is below is systemd's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        slices, base = Path(directory), Path(directory, "service")
        (base / "session").mkdir(parents=True)
        slices.chmod(0o755)
        for each in (base, base / "session"):
            os.chown(each, 65534, 65534)
        with somebody_else(65534, 65534):
            assert (is_delegated(base), is_delegated(base / "session"), is_delegated(slices)) == (True, False, False)
        assert not is_delegated(base)


def test_why_there_are_no_limits(tmp_path: Path) -> None:
    """Controllers that cgroup v1 has are told from those that are not handed down; each says what to do."""
    memory, pids = frozenset({"memory"}), frozenset({"pids"})
    assert absent(memory, V1) == (
        "this machine has memory in cgroup v1, where it cannot be delegated: "
        "boot with systemd.unified_cgroup_hierarchy=1"
    )
    assert absent(pids | memory, "0::/\n").startswith("memory and pids is not handed down to this cgroup")
    here = tmp_path / "self"
    here.mkdir()
    (here / "cgroup").write_text(f"{V1}0::/\n")
    (here / "mountinfo").write_text(HYBRID)
    assert (hindrance(memory, here), hindrance(pids, here)) == (absent(memory, V1), "")
    (here / "mountinfo").write_text("")
    assert hindrance(pids, here) == "cgroup v2 is not mounted: mount it at /sys/fs/cgroup"
