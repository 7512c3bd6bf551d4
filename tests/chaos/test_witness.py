"""What the witness takes for two servers in one directory, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.witness import Seen, look, rivals

from pgsupervisor.postgres import Cluster, Installation


def server(pid: int, directory: str = "/d", children: int = 1) -> list[Seen]:
    """Return a postmaster and its children."""
    return [seen(pid, 1, directory), *(seen(pid + number, pid, directory) for number in range(1, children + 1))]


def seen(pid: int, parent: int, directory: str = "/d") -> Seen:
    """Return a process; a postmaster's parent is the process 1, as an orphan's, which has a pid above 100."""
    return Seen(pid, 7, parent, directory, child=parent != 1 or pid > 100)


@pytest.mark.parametrize(
    ("found", "pairs"),
    [
        (server(10), set()),
        (server(10) + server(20, "/e"), set()),
        (server(10, children=3) + server(20, children=0), set()),
        ([seen(101, 1), seen(102, 1)], set()),
        ([seen(101, 1), *server(20, children=0)], set()),
        (server(10) + server(20), {(10, 20)}),
        ([*server(10), seen(101, 1)], {(10, 101)}),
    ],
    ids=["one", "two directories", "a start that meets the lock", "orphans", "orphans and a start", "two", "too early"],
)
def test_rivals(found: list[Seen], pairs: set[tuple[int, int]]) -> None:
    """Two servers with children are rivals, and so are a server and an orphan of another; a start alone is not."""
    assert {(one.pid, other.pid) for one, other in rivals(found)} == pairs


def test_a_look_at_a_server(installation: Installation, data_directory: Path) -> None:
    """A look finds the postmaster and all its children, by what the kernel says, and nobody from elsewhere."""
    with Cluster(installation, data_directory) as cluster:
        pid = cluster.pid()
        found = look([str(data_directory)])
        assert ({each.parent for each in found if each.child}, rivals(found)) == ({pid}, set())
        assert [each.child for each in found if each.pid == pid] == [False]
        assert look([str(data_directory.parent)]) == []
