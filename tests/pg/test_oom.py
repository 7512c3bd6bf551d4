"""When memory runs out: the kernel is to end a process of a server rather than the one that all others depend on."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from daemons import Site
from servers import client

from pgsupervisor.postgres import Installation
from pgsupervisor.system.oom import PROTECTED

_CAP_SYS_RESOURCE = 24
"""capability.h."""


def may_protect() -> bool:
    """Tell whether the kernel lets us make a process less likely to be ended."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], base=16) >> _CAP_SYS_RESOURCE & 1)


def scores(site: Site, name: str) -> tuple[int, set[int]]:
    """Return oom_score_adj of a postmaster, and those of its children.

    A child writes its own before it gives itself a title of its own; a backend that has answered surely has.
    """
    pid = site.pid(name)
    with client(site.cluster(name)):
        children = [child for child in psutil.Process(pid).children() if child.cmdline()[0].startswith("postgres: ")]
        assert any("[local]" in child.cmdline()[0] for child in children)
        return _score(pid), {_score(child.pid) for child in children}


def _score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def at(score: int) -> list[str]:
    """Return the command line of a program that becomes the daemon with such an oom_score_adj."""
    return ["/bin/sh", "-c", f'echo {score} > /proc/self/oom_score_adj && exec "$@"', "sh"]


@pytest.mark.skipif(not may_protect(), reason="CAP_SYS_RESOURCE is needed to protect a process")
@pytest.mark.parametrize(("own", "children"), [(0, 0), (300, 300), (-500, 0)])
def test_a_postmaster_is_protected(site: Site, installation: Installation, own: int, children: int) -> None:
    """A postmaster is protected, its children are not, not even where the daemon is."""
    site.add("shop", installation)
    site.launch(through=at(own)).wait_for_log(event="daemon started")
    site.order("Start", "all")
    assert scores(site, "shop") == (PROTECTED, {children})


@pytest.mark.skipif(may_protect(), reason="whoever has CAP_SYS_RESOURCE may protect a process")
def test_nothing_changes_for_an_ordinary_user(site: Site, installation: Installation) -> None:
    """Who may not protect a process has servers all the same, all of whose processes have what the daemon has."""
    site.add("shop", installation)
    site.launch(through=at(300)).wait_for_log(event="daemon started")
    site.order("Start", "all")
    assert scores(site, "shop") == (300, {300})


def test_the_inventory_wins(site: Site, installation: Installation) -> None:
    """What the inventory says of a server's children counts."""
    site.add("shop", installation, environment={"PG_OOM_ADJUST_VALUE": "700"})
    site.run()
    assert scores(site, "shop") == (PROTECTED if may_protect() else 0, {700})
