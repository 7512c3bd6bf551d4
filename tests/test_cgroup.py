"""Cgroups: the kernel's own, where that has what is needed, and files that look like them for what it lacks here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cgroups import (
    entering,
    fake_cgroup,
    huge_pages,
    inside,
    new_cgroup,
    wait_until_empty,
    with_cgroups,
    with_huge_pages,
)

from pgsupervisor.system.cgroup import CONTROLLERS, Limits, Tree, directory_name
from pgsupervisor.system.process import descendants

HUGE_PAGES = frozenset({"hugetlb"})


@contextlib.contextmanager
def running(*command: str, within: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Have a program that runs until the end, in a cgroup if one is named, once it has written a line."""
    through = [] if within is None else entering(within)
    with subprocess.Popen([*through, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


FAMILY = "sleep 1000 & (sleep 1000 & sleep 1000 & echo there; wait) & wait"
"""A process with a child, another one, and two grandchildren."""


@with_cgroups
def test_a_divided_cgroup() -> None:
    """Whoever is in the cgroup itself is in its leaf then, and empty groups of before are gone; twice is as once."""
    with new_cgroup() as base, running("sh", "-c", "echo there; read -r _", within=base) as process:
        (base / "clusters" / "old").mkdir(parents=True)
        tree = Tree(base, limiting=False)
        tree.occupy()
        tree.occupy()
        assert (inside(base), inside(base / "daemon")) == (set(), {process.pid})
        assert sorted(os.listdir(base / "clusters")) == sorted(set(os.listdir(base)) - {"clusters", "daemon"})


@with_cgroups
def test_a_family_is_taken_in() -> None:
    """A process that runs already is moved with its children and theirs; who is taken in twice stays."""
    with new_cgroup() as base, running("sh", "-c", FAMILY) as process:
        tree = Tree(base, limiting=False)
        tree.occupy()
        group = tree.group("shop")
        group.make()
        family = {process.pid, *descendants(process.pid)}
        assert len(family) == 5
        group.take_in(process.pid)
        assert set(group.members()) == family == inside(base / "clusters" / "shop")
        group.take_in(process.pid)
        assert set(group.members()) == family
        assert group.memory() is None
        assert not group.remove()
        group.kill()
        assert process.wait() == -9
        wait_until_empty(group.path)
        assert (group.remove(), group.remove(), group.members(), group.cpu()) == (True, True, [], None)


@with_cgroups
def test_a_process_that_leaves_its_family_does_not_leave_the_group() -> None:
    """What was made to outlive everybody, in a session of its own, is ended with the group."""
    with new_cgroup() as base:
        tree = Tree(base, limiting=False)
        tree.occupy()
        group = tree.group("shop")
        group.make()
        with running("sh", "-c", "setsid -f sleep 1000; echo there; wait", within=group.path) as process:
            process.wait()
            assert len(group.members()) == 1
            group.kill()
            wait_until_empty(group.path)


@with_cgroups
def test_time_is_counted() -> None:
    """The CPU time of a group is that of all who are in it, and were."""
    with new_cgroup() as base:
        tree = Tree(base, limiting=False)
        tree.occupy()
        group = tree.group("shop")
        group.make()
        with running("sh", "-c", "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); echo there", within=group.path):
            used = group.cpu()
        assert used is not None
        assert used > 0.001  # a thousandth of a second for a hundred thousand rounds of a shell


def test_an_end_before_the_kernel_had_one_for_groups(tmp_path: Path) -> None:
    """Where there is no cgroup.kill, each process is ended; a group that is not there has none."""
    tree = Tree(fake_cgroup(tmp_path / "base", "", "shop"), limiting=False)
    with running("sh", "-c", "echo there; read -r _") as process:
        (tmp_path / "base/clusters/shop/cgroup.procs").write_text(f"{process.pid}\n")
        tree.group("shop").kill()
        assert process.wait() == -9
    tree.group("blog").kill()


@with_huge_pages
def test_limits_keep_processes_out_until_they_are_called_off() -> None:
    """Groups have limits once we are in a leaf; nobody gets into the cgroup itself then, as systemd must."""
    with huge_pages(), new_cgroup() as base, running("sh", "-c", "echo there; read -r _", within=base) as process:
        tree = Tree(base, limiting=True, controllers=HUGE_PAGES)
        tree.occupy()
        assert (tree.controllers, tree.missing(HUGE_PAGES), inside(base)) == (HUGE_PAGES, "", set())
        group = tree.group("shop")
        group.make()
        assert (group.path / "hugetlb.2MB.max").exists()
        group.take_in(process.pid)
        with pytest.raises(OSError, match="busy"):
            (base / "cgroup.procs").write_text(str(process.pid))
        tree.call_off()
        assert subprocess.run([*entering(base), "true"], check=False).returncode == 0
        assert group.members() == [process.pid]
        tree.occupy()
        assert tree.controllers == HUGE_PAGES


@with_huge_pages
def test_the_command_of_a_service_that_has_ended() -> None:
    """`pgsupervisord --end-limits`, as systemd runs it for ExecStopPost=, lets the service be started again."""
    with huge_pages(), new_cgroup() as base:
        Tree(base, limiting=True, controllers=HUGE_PAGES).occupy()
        group = base / "clusters" / "shop"
        for directory in (group, base / ".control"):
            directory.mkdir()
        with running("sh", "-c", "echo there; read -r _", within=group):
            command = [sys.executable, "-m", "pgsupervisor", "--end-limits"]
            ended = subprocess.run([*entering(base / ".control"), *command], capture_output=True, check=False)
            assert (ended.returncode, ended.stderr) == (0, b"")
            assert subprocess.run([*entering(base), "true"], check=False).returncode == 0
    nowhere = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (nowhere.returncode, "is not delegated to the daemon" in nowhere.stderr) == (1, True)


def test_limits(tmp_path: Path) -> None:
    """Each limit is written as the kernel reads it; one that is none any more is taken back."""
    tree = Tree(fake_cgroup(tmp_path / "base", "cpu memory pids", "shop"), limiting=True)
    tree.controllers = CONTROLLERS
    group = tree.group("shop")

    def written(*names: str) -> list[str]:
        return [(group.path / name).read_text() for name in names]

    group.limit(Limits(memory_max=1 << 30, cpu_weight=200, tasks_max=50))
    assert written("memory.max", "cpu.weight", "pids.max") == ["1073741824", "200", "50"]
    for file in ("memory.max", "cpu.weight", "pids.max"):
        (group.path / file).write_text("")
    group.limit(Limits())
    assert written("memory.max", "cpu.weight", "pids.max") == ["max", "100", "max"]
    (group.path / "memory.current").write_text("4096\n")
    (group.path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert (group.memory(), group.cpu()) == (4096, 2.5)


def test_limits_as_far_as_there_are_controllers(tmp_path: Path) -> None:
    """What cannot be limited is left alone, and said; what is not asked for is not missed."""
    tree = Tree(fake_cgroup(tmp_path / "base", "pids", "shop"), limiting=True)
    tree.controllers = frozenset({"pids"})
    tree.group("shop").limit(Limits(memory_max=1 << 30, tasks_max=50))
    assert (tmp_path / "base/clusters/shop/pids.max").read_text() == "50"
    assert tree.missing(Limits(tasks_max=50).controllers) == ""
    assert "memory" in tree.missing(Limits(memory_max=1 << 30).controllers)
    assert "cpu and memory" in tree.missing(CONTROLLERS)
    assert Tree(tmp_path / "base", limiting=False).missing(CONTROLLERS) == "pgsupervisord was started without --limits"


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("shop", "shop"),
        ("shop.eu", "shop.eu"),
        ("memory.max", "_memory.max"),
        ("cgroup.procs", "_cgroup.procs"),
        ("memory", "memory"),
        ("_memory.max", "__memory.max"),
    ],
)
def test_names(name: str, directory: str) -> None:
    """A cluster may have any name of the inventory's; no two have one directory."""
    assert directory_name(name) == directory


@with_cgroups
def test_no_name_is_a_file_of_the_kernels() -> None:
    """Whatever files the kernel that runs here has in a cgroup: a group can have their names."""
    with new_cgroup() as base:
        tree = Tree(base, limiting=False)
        tree.occupy()
        names = [each.name for each in base.iterdir() if each.is_file()]
        for name in names:
            tree.group(name).make()
        assert len([each for each in (base / "clusters").iterdir() if each.is_dir()]) == len(names)
