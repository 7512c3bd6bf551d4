"""Strangers who mean no good, and a real daemon: what they do costs others nothing, and the daemon little memory."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacker import ATTACKS
from attacks import NOBODY, Ground, people_may_attack
from daemons import new_site
from machine import NewDataDirectory
from people import as_root
from servers import sql

pytestmark = as_root

ANSWERS = 20
"""How often others are answered while an attack goes on."""

OTHERS = 20


@pytest.fixture(scope="module")
def ground(new_data_directory: NewDataDirectory) -> Iterator[Ground]:
    """A daemon for all attacks."""
    with new_site(new_data_directory) as site:
        yield people_may_attack(site, OTHERS)


def open_files(ground: Ground) -> int:
    """Return how many files the daemon has open."""
    return len(list(Path(f"/proc/{ground.daemon.pid}/fd").iterdir()))


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(ground: Ground, attack: str) -> None:
    """While it goes on, others are let in and answered, a server is started, and memory and files are bounded."""
    ground.forget_peak()
    files = open_files(ground)
    with ground.attacked(attack), ground.site.client() as client:
        for _ in range(ANSWERS):
            assert len(client.call("GetStatus", names=[])["clusters"]) == 1 + OTHERS  # type: ignore[arg-type]
            assert ground.site.call("GetDaemon")["pid"] == ground.daemon.pid
        assert open_files(ground) < files + 300
        ground.site.order("Restart", "shop")
        assert sql(ground.site.cluster("shop"), "select 1") == "1"
    assert ground.more < 64 * 2**20
    assert ground.daemon.logged(level="error") == []


@pytest.mark.parametrize("attack", ["never reads events", "long", "busy"])
def test_many_attackers(ground: Ground, attack: str) -> None:
    """What several users do together, with as many connections as there can be, is bounded just so."""
    ground.forget_peak()
    with contextlib.ExitStack() as undo:
        for number in range(4):
            undo.enter_context(ground.attacked(attack, NOBODY.pw_uid - 1 - number))
        for _ in range(ANSWERS):
            assert ground.site.call("GetDaemon")["pid"] == ground.daemon.pid
    assert ground.more < 64 * 2**20


def test_several_at_once(ground: Ground) -> None:
    """Though each user has fewer connections than he may, all together leave the descriptors that servers need."""
    daemon = ground.daemon.pid
    limits = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as undo:
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (open_files(ground) + 150, limits[1]))
        undo.callback(resource.prlimit, daemon, resource.RLIMIT_NOFILE, limits)
        for number in range(4):
            undo.enter_context(ground.attacked("never reads", NOBODY.pw_uid - 1 - number))
        ground.site.order("Restart", "shop")
        assert sql(ground.site.cluster("shop"), "select 1") == "1"
    assert ground.daemon.logged(level="error") == []
