"""The cgroup of a cluster, on files that look like one: limits in force, limits that are not, and what is counted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cgroups import entering, fake_cgroup, new_cgroup, with_cgroups
from daemons import ROOT
from fakes import SPEC

from pgsupervisor.daemon.enclosure import Enclosure, ground, limits_off
from pgsupervisor.supervision.kept import Usage
from pgsupervisor.system.cgroup import CONTROLLERS, Tree
from pgsupervisor.system.watch import Watcher

GIGABYTE = 1 << 30


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A cgroup that gives limits, with one for the cluster `shop`."""
    made = Tree(fake_cgroup(tmp_path / "base", "cpu memory pids", "shop"), limiting=True)
    made.controllers = CONTROLLERS
    return made


def enclosed(within: Tree | str, *, whole: bool = True, **limits: int) -> Enclosure:
    """Return the cgroup of a cluster whose server, this very process, has come into it."""

    async def world() -> Enclosure:
        watcher = Watcher(asyncio.get_running_loop())
        made = Enclosure(replace(SPEC, name="shop", **limits), within, watcher)  # type: ignore[arg-type]  # ints all
        made.prepare()
        made.enclose(os.getpid(), whole=whole)
        watcher.close()
        return made

    return asyncio.run(world())


def test_limits_are_in_force_before_the_server_is_inside(tree: Tree) -> None:
    """What the inventory says is what the kernel is told, at the start and by an update."""
    shop = enclosed(tree, memory_max=GIGABYTE, tasks_max=100)
    group = tree.base / "clusters" / "shop"
    assert [(group / each).read_text() for each in ("memory.max", "cpu.weight", "pids.max")] == [
        *("1073741824", "100", "100")
    ]
    assert str(os.getpid()) in (group / "cgroup.procs").read_text()
    assert shop.limits == ""
    (group / "memory.max").write_text("")
    shop.renew(replace(SPEC, name="shop", memory_max=2 * GIGABYTE))
    shop.limit()
    assert (group / "memory.max").read_text() == str(2 * GIGABYTE)


def test_a_server_that_is_counted_in_part(tree: Tree) -> None:
    """Of a server that ran before, memory is not told, as some is counted elsewhere; who limits it is told so."""
    group = tree.base / "clusters" / "shop"
    (group / "memory.current").write_text("4096")
    (group / "cpu.stat").write_text("usage_usec 1500000")
    assert enclosed(tree, memory_max=GIGABYTE).usage() == Usage(4096, 1.5)
    before = enclosed(tree, whole=False, memory_max=GIGABYTE)
    assert before.usage() == Usage(None, 1.5)
    assert before.limits.startswith("memory_max does not count what the server had before this daemon came; restart it")
    assert enclosed(tree, whole=False, tasks_max=100).limits == ""


def test_why_limits_are_off(tree: Tree) -> None:
    """Where they are off it is said why, but only where some are set."""
    assert enclosed("there is no cgroup").limits == ""
    assert enclosed("there is no cgroup", tasks_max=1).limits == "limits are off: there is no cgroup"
    nowhere = enclosed("there is no cgroup")
    assert (nowhere.counted, nowhere.usage()) == (False, Usage())
    tree.controllers = frozenset({"pids"})
    assert enclosed(tree, tasks_max=1).limits == ""
    assert enclosed(tree, cpu_weight=1).limits.startswith("limits are off: ")
    assert limits_off(tree, frozenset({"pids"})) == ""


def test_what_the_kernel_refuses(tree: Tree) -> None:
    """A refusal keeps no server from running, and is told; when it is over, so is what is told."""
    group = tree.base / "clusters" / "shop"
    (group / "pids.max").unlink()
    (group / "pids.max").symlink_to("pids.max")  # cannot be opened, for whatever reason
    shop = enclosed(tree, tasks_max=100)
    assert shop.limits == "limits are off: the kernel refuses them: Too many levels of symbolic links"
    (group / "pids.max").unlink()
    (group / "pids.max").write_text("")
    shop.limit()
    assert shop.limits == ""


def test_a_server_that_cannot_be_moved(tree: Tree) -> None:
    """A server that has to stay elsewhere has no limits, and nothing of what it uses is known."""
    group = tree.base / "clusters" / "shop"
    (group / "cgroup.procs").unlink()
    (group / "cgroup.procs").symlink_to("cgroup.procs")
    shop = enclosed(tree, tasks_max=100)
    assert shop.usage() == Usage()
    assert shop.limits.startswith(f"limits are off: the server cannot be moved into {group}: ")


def test_a_daemon_that_was_given_no_cgroup() -> None:
    """Nobody has delegated to the tests the cgroup that they run in."""
    assert isinstance(ground(limiting=True), str)


@with_cgroups
def test_a_tree_that_is_read_only() -> None:
    """A daemon that was given a cgroup which it cannot divide, as in many a container, works without, and says why."""
    look = "from pgsupervisor.daemon.enclosure import ground; print(ground(limiting=True))"
    alone = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro "$0" && exec "$@"']
    with new_cgroup() as base:
        place = next(each for each in base.parents if each.is_mount())
        command = [*entering(base), *alone, str(place), sys.executable, "-c", look]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout == f"the cgroup {base} cannot be divided: Read-only file system\n", done.stderr
        assert os.access(base, os.W_OK)
