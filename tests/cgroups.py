"""Cgroups for the tests: one as systemd delegates it, below the one that we are in, of which nothing is left."""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgsupervisor.errors import CgroupError
from pgsupervisor.system.delegation import locate

LIMIT = 30.0


def ours() -> Path | None:
    """Return the directory of the cgroup that we are in; None where there is no cgroup v2."""
    try:
        return locate(*(Path("/proc/self", name).read_text() for name in ("cgroup", "mountinfo")))
    except CgroupError:
        return None


def _why_not() -> str:
    within = ours()
    if os.geteuid() != 0:
        return "only root can make a cgroup and hand it down"
    if within is None or not os.access(within, os.W_OK):
        return "cgroup v2 is not mounted here, or read-only"
    return ""


with_cgroups = pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "has cgroups")


@contextlib.contextmanager
def new_cgroup(*, delegated: bool = True) -> Iterator[Path]:
    """Have a cgroup, as `Delegate=yes` makes it unless told otherwise; whoever is in it in the end is killed."""
    within = ours()
    assert within is not None
    base = Path(tempfile.mkdtemp(prefix="pgs-", dir=within))
    try:
        if delegated:
            os.setxattr(base, "trusted.delegate", b"1")
        yield base
    finally:
        (base / "cgroup.kill").write_text("1")
        wait_until_empty(base)
        for directory, _, _ in os.walk(base, topdown=False):
            os.rmdir(directory)


def wait_until_empty(directory: Path) -> None:
    """Wait until no process is in a cgroup, or below it."""
    with (directory / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            assert poll.poll(LIMIT * 1000)
            events.seek(0)


def entering(directory: Path, *, last: str = "") -> list[str]:
    """Return the beginning of a command line: the program that follows is in this cgroup from its first moment.

    `last` is what its command line ends with.
    """
    return ["sh", "-c", f'echo $$ > "{directory}/cgroup.procs" && exec "$@" {last}', "sh"]


def inside(directory: Path) -> set[int]:
    """Return the processes in a cgroup itself."""
    return {int(each) for each in (directory / "cgroup.procs").read_text().split()}


def hands_down_huge_pages() -> bool:
    """Tell whether the cgroup that we are in can give limits by a controller that nobody uses."""
    within = ours()
    return within is not None and "hugetlb" in (within / "cgroup.controllers").read_text().split()


with_huge_pages = pytest.mark.skipif(
    bool(_why_not()) or not hands_down_huge_pages(), reason="needs a controller of cgroup v2 that can be had here"
)


@contextlib.contextmanager
def huge_pages() -> Iterator[None]:
    """Have the cgroup that we are in give limits by this controller, and not any more if it did not before.

    It is one that cgroup v2 has also where v1 has those that we use.
    """
    within = ours()
    assert within is not None
    control = within / "cgroup.subtree_control"
    before = control.read_text().split()
    control.write_text("+hugetlb")
    try:
        yield
    finally:
        if "hugetlb" not in before:
            control.write_text("-hugetlb")


def fake_cgroup(directory: Path, controllers: str, *groups: str) -> Path:
    """Make what looks like a cgroup, with groups in it for which the kernel has made the files of these controllers.

    A file that is not there is not made by whoever writes it, as in a cgroup.
    """
    for each in (directory, directory / "daemon", directory / "clusters"):
        each.mkdir(exist_ok=True)
        (each / "cgroup.procs").write_text("")
        (each / "cgroup.controllers").write_text(controllers)
    for group in groups:
        made = directory / "clusters" / group
        made.mkdir()
        for file in ("cgroup.procs", "memory.max", "memory.current", "cpu.weight", "pids.max", "cpu.stat"):
            if file.partition(".")[0] in {"cgroup", *controllers.split()} or file == "cpu.stat":
                (made / file).write_text("")
    return directory
