"""What may happen in a play with a whole supervisor, and how often hypothesis shall think of it.

An act is a frozen value, and a play a list of them, so that a play that fails is shown as what it takes to repeat it.
An act that has no object, such as the crash of a server that does not run, does nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from signal import Signals
from typing import Protocol

from data_directories import KIND, Nature
from fakes import ALL_STOPS, inventory, spec
from hypothesis import strategies as st
from stages import Stage

from pgsupervisor.inventory import Inventory
from pgsupervisor.supervision.life import Kill, Order, Reload, Restart, Start, Stop

NAMES = ("a", "b", "c")


class Act(Protocol):
    """Something that happens."""

    async def on(self, stage: Stage) -> None:
        """Happen."""


@dataclass(frozen=True, slots=True)
class Give:
    """A client gives an order."""

    order: Order
    names: tuple[str, ...] = ("all",)

    async def on(self, stage: Stage) -> None:
        """Give it."""
        await stage.ask(self.order, self.names)


@dataclass(frozen=True, slots=True)
class Configure:
    """A client changes a setting."""

    name: str

    async def on(self, stage: Stage) -> None:
        """Change it."""
        await stage.configure(self.name)


@dataclass(frozen=True, slots=True)
class HangUp:
    """A client that waits hangs up."""

    which: int

    async def on(self, stage: Stage) -> None:
        """Hang up."""
        if stage.asked:
            asked = stage.asked[self.which % len(stage.asked)]
            asked.hung_up = asked.task.cancel() or asked.hung_up


@dataclass(frozen=True, slots=True)
class Cluster:
    """What an inventory says of a cluster."""

    name: str
    port: int = 1
    priority: int = 10
    autostart: bool = True
    restart: str = "on-failure"
    restart_limit: int = 10
    start_retries: int = 3
    stop_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Update:
    """The inventory has these clusters now."""

    clusters: tuple[Cluster, ...]
    start_concurrency: int = 2

    @property
    def inventory(self) -> Inventory:
        """The inventory."""
        return inventory(*(spec(**asdict(each)) for each in self.clusters), start_concurrency=self.start_concurrency)

    async def on(self, stage: Stage) -> None:
        """Apply it."""
        await stage.update(self.inventory)


@dataclass(frozen=True, slots=True)
class UpgradeInVain:
    """The daemon is to be upgraded, and is not."""

    async def on(self, stage: Stage) -> None:
        """Try it."""
        await stage.upgrade_in_vain()


@dataclass(frozen=True, slots=True)
class Become:
    """A data directory's servers behave like this from now on."""

    name: str
    nature: Nature

    async def on(self, stage: Stage) -> None:
        """Change."""
        stage.home(self.name).become(self.nature)


@dataclass(frozen=True, slots=True)
class End:
    """A server ends, though nobody ordered it through us: it crashes, or somebody else stops it, which is clean."""

    name: str
    clean: bool = False
    leaves: int = 0

    async def on(self, stage: Stage) -> None:
        """End."""
        home = stage.home(self.name)
        if self.clean and home.pid is not None:
            stage.nobody_knows(self.name)
        home.end(home.pid, clean=self.clean, leaves=self.leaves)


@dataclass(frozen=True, slots=True)
class CrashWithin:
    """A process of a server crashes, and the postmaster goes on."""

    name: str

    async def on(self, stage: Stage) -> None:
        """Crash."""
        resident = stage.home(self.name).resident
        if resident is not None:
            resident.crashed_within()


@dataclass(frozen=True, slots=True)
class EndOrphans:
    """Processes that outlived their postmaster end by themselves."""

    name: str
    left: int = 0

    async def on(self, stage: Stage) -> None:
        """End."""
        stage.home(self.name).end_orphans(self.left)


@dataclass(frozen=True, slots=True)
class StartByHand:
    """Somebody starts a server without us."""

    name: str

    async def on(self, stage: Stage) -> None:
        """Start it."""
        if stage.home(self.name).pid is None:
            stage.nobody_knows(self.name)
        stage.home(self.name).launch_by_hand()


@dataclass(frozen=True, slots=True)
class ChangeFiles:
    """Somebody edits configuration files."""

    name: str

    async def on(self, stage: Stage) -> None:
        """Edit them."""
        resident = stage.home(self.name).resident
        if resident is not None:
            resident.change_files()


@dataclass(frozen=True, slots=True)
class Pass:
    """Time passes; no time is one turn of the loop."""

    seconds: float

    async def on(self, stage: Stage) -> None:
        """Pass."""
        await stage.wait(self.seconds)


_NAME = st.sampled_from(NAMES)
_MODES = st.sampled_from([None, "smart", "immediate"])
_TIMES = st.sampled_from([0.0, 0.5, 3.0, 15.0])
_STUBBORN = [frozenset[Signals](), frozenset({Signals.SIGKILL}), frozenset({Signals.SIGQUIT, Signals.SIGKILL})]
_OBEDIENCE = st.sampled_from([ALL_STOPS, *_STUBBORN])

ORDERS = st.one_of(
    st.just(Start()),
    st.builds(Stop, _MODES, st.sampled_from([None, 0.0, 4.0])),
    st.builds(Restart, _MODES, force=st.booleans()),
    st.just(Reload()),
    st.just(Kill()),
)

NATURES = st.just(KIND) | st.builds(
    Nature,
    find_time=_TIMES,
    spawn_time=_TIMES,
    ready_time=st.sampled_from([0.0, 0.5, 12.0, 7200.0, None]),
    stop_time=_TIMES,
    news_time=_TIMES,
    reload_time=_TIMES,
    asking_time=_TIMES,
    obeys=_OBEDIENCE,
    leaves=st.integers(0, 2),
    orphans_obey=_OBEDIENCE,
    refusal=st.sampled_from([None, None, None, "failed", "hopeless", "outside", "locked"]),
    would_start=st.booleans(),
)


def _clusters(name: str) -> st.SearchStrategy[Cluster]:
    return st.builds(
        Cluster,
        st.just(name),
        port=st.sampled_from([1, 2]),
        priority=st.sampled_from([10, 20]),
        autostart=st.sampled_from([True, True, False]),
        restart=st.sampled_from(["on-failure", "always", "never"]),
        restart_limit=st.sampled_from([10, 2]),
        start_retries=st.sampled_from([3, 1]),
        stop_timeout=st.sampled_from([60.0, 5.0]),
    )


INVENTORIES = st.builds(
    Update,
    st.tuples(*(st.one_of(_clusters(name), _clusters(name), st.none()) for name in NAMES)).map(
        lambda some: tuple(filter(None, some))
    ),
    st.integers(1, 3),
)

_PASSES = st.builds(Pass, st.sampled_from([0.0, 0.0, 0.001, 0.001, 0.5, 2.0, 10.0, 60.0, 7200.0]))
_GIFTS = st.builds(Give, ORDERS, st.sampled_from([("all",), *((name,) for name in NAMES)]))
_ENDS = st.builds(End, _NAME, st.sampled_from([False, False, True]), st.integers(0, 2))

ACTS: st.SearchStrategy[Act] = st.one_of(
    _PASSES,
    _PASSES,
    _GIFTS,
    _GIFTS,
    _ENDS,
    _ENDS,
    st.builds(HangUp, st.integers(0, 9)),
    st.builds(Become, _NAME, NATURES),
    st.builds(EndOrphans, _NAME, st.integers(0, 1)),
    st.builds(StartByHand, _NAME),
    st.builds(ChangeFiles, _NAME),
    st.builds(CrashWithin, _NAME),
    st.builds(Configure, _NAME),
    st.just(UpgradeInVain()),
    INVENTORIES,
)
"""What happens most in a daemon's life comes twice."""

PLAYS = st.tuples(*[st.lists(ACTS, max_size=10)] * 5).map(lambda scenes: list(chain.from_iterable(scenes)))
"""Of several scenes, since a single list would mostly be short."""
