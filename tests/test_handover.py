"""The document of a handover: nothing is lost in it, and what is not understood is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes import SPEC
from lives import RELOADING, ROWS

from pgsupervisor.control.conversations import Handed
from pgsupervisor.daemon.handover import FORMAT, Cluster, Handover, Server, StartedBy, decode, encode
from pgsupervisor.daemon.resumption import carried, resumed
from pgsupervisor.errors import UpgradeError
from pgsupervisor.postgres.sources import Sources
from pgsupervisor.supervision.configuration import Change, Report
from pgsupervisor.supervision.events import Event
from pgsupervisor.supervision.life import Life, State
from pgsupervisor.system.identity import User

SERVER = Server(
    pid=42,
    pidfd=17,
    child=True,
    started_by=StartedBy("/srv/shop", "postgres", 5433, {"work_mem": "4MB"}, None, "/log/shop.log"),
    installation={"version": "PostgreSQL 15.18", "bindir": "/pg/bin"},
    log_offset=2**40,
    owner=User("x", 1, 2, (2, 3), "/x"),
    port=5433,
    socket_directory="/tmp",
    recovery="crash",
    standby=False,
    memory=(1, 2),
    told_to_stop=True,
    in_force={"work_mem": "4MB"},
)

NOTHING_TOLD = Sources({}, (), {})

CLUSTER = Cluster(
    replace(RELOADING, reason="no file caf\udce9", report=Report(files=("/a",), changes=(Change("b", "1", "2"),))),
    SERVER,
    ((43, 18), (44, 19)),
    "15.18",
    ("/srv/shop",),
    Sources({"/srv/shop/postgresql.conf": "missing"}, ("/srv/shop/conf.d",), {"port": "5433"}),
    ("/etc/pg_hba.conf",),
    whole=True,
)

HANDOVER = Handover(
    version="0.1.0",
    started=1000.5,
    socket="/run/control",
    endpoint=(3, 4),
    signals=(5, 6),
    clients=(Handed(20, b'{"method": \xff', asked=False), Handed(21, b"", asked=True)),
    clusters={"shop": CLUSTER},
    events=(
        Event(41, 1000.25, "info", "reloaded", "shop", {"changes": ["a 1 → 2"], "line": 3, "why": None}),
        Event(42, 1000.5, "error", "no file", None, {"path": "caf\udce9", "of": {"it": [True, 0.5]}}),
    ),
)


def test_nothing_is_lost() -> None:
    """What is read from a document is what was written, also a name that is no UTF-8 and bytes that are no text."""
    assert decode(encode(HANDOVER)) == HANDOVER


@pytest.mark.parametrize("life", ROWS.values(), ids=ROWS.keys())
def test_every_life(life: Life) -> None:
    """A life goes over as it is, whatever its state."""
    clusters = {"shop": Cluster(life, None, (), None, (), NOTHING_TOLD, ())}
    assert decode(encode(replace(HANDOVER, clusters=clusters))).clusters["shop"].life == life


def test_a_server_is_held_as_before() -> None:
    """What is known of a server that is held again is what was known, whatever the inventory says by now."""
    assert carried(resumed(SERVER, SPEC)) == SERVER


def test_descriptors() -> None:
    """All descriptors that the document names are known, so that they are left open."""
    assert HANDOVER.descriptors == (3, 4, 5, 6, 20, 21, 17, 18, 19)


def test_fields_that_come_and_go() -> None:
    """A field that this version does not know is not missed, nor one with a default that the other did not know."""
    document = json.loads(encode(HANDOVER))
    del document["handover"]["events"]
    assert decode(json.dumps(document).encode()) == replace(HANDOVER, events=())
    life = document["handover"]["clusters"]["shop"]["life"] = {"state": "BACKOFF", "mood": "good"}
    assert decode(json.dumps(document).encode()).clusters["shop"].life == Life(State(life["state"]))


def test_another_format() -> None:
    """A document in another format is refused, in words that say so."""
    document = {**json.loads(encode(HANDOVER)), "format": FORMAT + 1}
    with pytest.raises(UpgradeError, match=f"in format {FORMAT + 1}, and format {FORMAT} is understood"):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize("document", [b"", b"nonsense", b"{}", b'{"format": 1, "handover": {}}', b"\xff"])
def test_what_is_no_document(document: bytes) -> None:
    """What is no document at all is refused too."""
    with pytest.raises(UpgradeError, match="not understood"):
        decode(document)
