"""What the hand does, to which cluster, and when. Pure: a seed makes the whole of it.

A plan does not depend on what comes of it. So a seed gives the same orders, blows and files, at the same moments, on
every machine; what the servers make of them is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from signal import Signals
from typing import TypeAlias

CLIENTS = 4
"""How many clients give orders, each one after the other."""

GOOD = ("", "work_mem = '5MB'\n", "work_mem = '9MB'\nlog_checkpoints = off\n", "max_connections = 25\n")
BROKEN = ("no_such_parameter = 1\n", "work_mem = 'lots'\n", "= =\n", "shared_buffers = '1kB'\n")
"""What is written into the file that every postgresql.conf includes."""

INCLUDED = "chaos.conf"
RULES = "pg_hba.conf"


@dataclass(frozen=True, slots=True)
class Order:
    """A client calls a method, and hangs up when it has waited `patience` seconds for the outcome."""

    at: float
    method: str
    parameters: Mapping[str, object]
    patience: float


@dataclass(frozen=True, slots=True)
class Strike:
    """The postmaster is sent a signal."""

    at: float
    cluster: str
    number: Signals


@dataclass(frozen=True, slots=True)
class KillChild:
    """A process of the server is killed; `which` (0 to 1) tells which of them."""

    at: float
    cluster: str
    which: float


@dataclass(frozen=True, slots=True)
class Orphan:
    """The postmaster is killed while a backend is so busy that it does not notice."""

    at: float
    cluster: str


@dataclass(frozen=True, slots=True)
class Save:
    """A configuration file is saved with a text added to what it said at first, in place or by a rename."""

    at: float
    cluster: str
    file: str
    text: str
    in_place: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """The small disk is filled to its last byte."""

    at: float


@dataclass(frozen=True, slots=True)
class Free:
    """The small disk has room again."""

    at: float


@dataclass(frozen=True, slots=True)
class KillDaemon:
    """The daemon is killed, and its parent starts another."""

    at: float


Act: TypeAlias = Order | Strike | KillChild | Orphan | Save | Fill | Free | KillDaemon


@dataclass(frozen=True, slots=True)
class Plan:
    """The acts of each actor, who does one after the other, and which clusters are wished to be up at the end.

    `at` of an act is in seconds from the beginning.
    """

    actors: tuple[tuple[Act, ...], ...]
    wishes: Mapping[str, bool]


def plan(seed: int, seconds: float, names: Sequence[str]) -> Plan:
    """Plan so many seconds with these clusters: the clients, the hand, the daemon's parent, an upgrader."""
    random = Random(seed)  # noqa: S311  # to be reproduced, not to be secret
    clients = [tuple(_order(random, at, names) for at in _moments(random, seconds, every=1.5)) for _ in range(CLIENTS)]
    deeds = [deed for at in _moments(random, seconds, every=0.6) for deed in _deeds(random, at, names)]
    # The last daemon sees much of this, so that what it might leak is there to be found.
    deaths = tuple(KillDaemon(at) for at in _moments(random, seconds * 0.6, every=8))
    # Waited for to the end, since an upgrade interrupts whoever waits for an order, also for one after the plan.
    upgrades = tuple(Order(at, "UpgradeDaemon", {}, patience=60) for at in _moments(random, seconds, every=10))
    down = random.sample(names, len(names) // 3)
    wishes = {name: name not in down for name in names}
    return Plan((*clients, tuple(sorted(deeds, key=_when)), deaths, upgrades), wishes)


def _moments(random: Random, end: float, every: float) -> list[float]:
    return sorted(random.uniform(0, end) for _ in range(max(1, round(end / every))))


def _when(act: Act) -> float:
    return act.at


def _order(random: Random, at: float, names: Sequence[str]) -> Order:
    method = random.choices(
        ("Start", "Stop", "Restart", "Reload", "Kill", "SetConfiguration", "CheckConfiguration"),
        weights=(35, 12, 20, 15, 4, 10, 4),
    )[0]
    patience = random.uniform(0.05, 5)
    one = random.choice(names)
    meant = random.choices(([one], random.sample(names, 2), [f"*{one[-1]}"], ["all"]), weights=(60, 25, 10, 5))[0]
    mode = random.choice((None, "smart", "fast", "immediate"))
    timeout = random.choice((None, 0.2, 2.0))
    match method:
        case "Stop":
            parameters: Mapping[str, object] = {"names": meant, "mode": mode, "timeout": timeout}
        case "Restart":
            parameters = {"names": meant, "mode": mode, "timeout": timeout, "force": random.random() < 0.2}
        case "SetConfiguration":
            value = random.choice(("6MB", "7MB", "none at all", None))
            parameters = {"name": one, "changes": [{"name": "maintenance_work_mem", "value": value}]}
        case "CheckConfiguration":
            parameters = {"name": one}
        case _:
            parameters = {"names": meant}
    return Order(at, method, parameters, patience)


def _deeds(random: Random, at: float, names: Sequence[str]) -> Iterator[Act]:
    """Return one deed, and what belongs to it later: what is broken is mended, what is filled is freed."""
    name = random.choice(names)
    later = at + random.uniform(0.5, 4)
    in_place = random.random() < 0.5
    what = random.choices(("strike", "child", "orphan", "good", "broken", "rules", "fill"), (30, 20, 5, 15, 15, 8, 7))
    match what[0]:
        case "strike":
            ways = (Signals.SIGKILL, Signals.SIGQUIT, Signals.SIGINT, Signals.SIGHUP)
            yield Strike(at, name, random.choices(ways, weights=(70, 10, 10, 10))[0])
        case "child":
            yield KillChild(at, name, random.random())
        case "orphan":
            yield Orphan(at, name)
        case "good":
            yield Save(at, name, INCLUDED, random.choice(GOOD), in_place)
        case "broken":
            yield Save(at, name, INCLUDED, random.choice(BROKEN), in_place)
            yield Save(later, name, INCLUDED, random.choice(GOOD), in_place)
        case "rules":
            yield Save(at, name, RULES, "nonsense\n", in_place)
            yield Save(later, name, RULES, "", in_place)
        case _:
            yield Fill(at)
            yield Free(later)
