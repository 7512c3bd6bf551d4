"""The supervisor with fake postmasters, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from signal import Signals

import pytest
from fakes import FakeHost, FakePostmaster, inventory, live, now, only, settle, spec

from pgsupervisor.errors import NoSuchClusterError
from pgsupervisor.inventory import ClusterSpec, Inventory
from pgsupervisor.supervision.life import Kill, Life, Order, Reload, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.plan import Change
from pgsupervisor.supervision.supervisor import Kept, Supervisor


class World:
    """A supervisor over fake postmasters, and what it told."""

    def __init__(self, clusters: Inventory, prepare: Callable[[FakePostmaster], None] = lambda _made: None) -> None:
        self.host = FakeHost(prepare)
        self.mistakes: list[tuple[str, Exception]] = []
        self.reports: list[tuple[str, State]] = []
        self.supervisor = Supervisor(
            clusters, self.host, lambda *_: None, lambda *mistake: self.mistakes.append(mistake)
        )

    @property
    def states(self) -> dict[str, State]:
        """The clusters' states by name."""
        return {kept.spec.name: kept.life.state for kept in self.kept("*")}

    def kept(self, *names: str) -> list[Kept]:
        """Return clusters by name."""
        return self.supervisor.select(names or ["all"])

    def report(self, name: str, life: Life) -> None:
        """Take down what an order leads to."""
        self.reports.append((name, life.state))

    async def give(self, order: Order, *names: str) -> list[Outcome]:
        """Give an order, and wait for what comes of it."""
        return await self.supervisor.give(self.kept(*names), order, self.report)

    async def update(self, *specs: ClusterSpec, start_concurrency: int = 4) -> list[Outcome]:
        """Go by a new inventory."""
        _, outcomes = await self.supervisor.update(inventory(*specs, start_concurrency=start_concurrency), self.report)
        return outcomes


def supervised(
    play: Callable[[World], Awaitable[None]],
    *specs: ClusterSpec,
    prepare: Callable[[FakePostmaster], None] = lambda _made: None,
    start_concurrency: int = 4,
) -> World:
    """Play something with clusters that were begun; let go of all of them afterwards."""

    async def world() -> World:
        made = World(inventory(*specs, start_concurrency=start_concurrency), prepare)
        await made.supervisor.begin()
        await settle()
        await play(made)
        await made.supervisor.end(leave=True)
        return made

    return live(world)


A, B, C = spec("a", priority=10), spec("b", priority=20), spec("c", priority=30)


def _done(name: str, state: State, message: str = "") -> Outcome:
    return Outcome(name, ok=True, state=state, message=message)


def test_begin_starts_what_shall_run() -> None:
    """Clusters with autostart are started, the others are looked for and left alone."""

    async def play(world: World) -> None:
        assert world.states == {"a": State.RUNNING, "b": State.STOPPED, "c": State.RUNNING}

    world = supervised(play, A, spec("b", autostart=False), C)
    assert world.host.made["b"].calls == ["find", "release"]


def test_begin_adopts_what_runs() -> None:
    """A postmaster alive at boot is adopted, not started twice, also where autostart is off."""

    def running(made: FakePostmaster) -> None:
        made.running_before = True

    async def play(world: World) -> None:
        assert world.states == {"a": State.RUNNING, "b": State.RUNNING}

    world = supervised(play, A, spec("b", autostart=False), prepare=running)
    assert world.host.history == ["a find", "b find", "a release", "b release"]


def test_begin_starts_by_priority() -> None:
    """All are looked for first; then the lowest number starts first, one after the other at a narrow gate."""

    async def play(world: World) -> None:
        assert set(world.states.values()) == {State.RUNNING}

    world = supervised(play, C, A, B, start_concurrency=1)
    assert world.host.history[:6] == ["c find", "a find", "b find", "a spawn", "b spawn", "c spawn"]


def test_at_most_so_many_start_at_once() -> None:
    """start_concurrency bounds how many servers are between spawn and ready."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def play(world: World) -> None:
        assert only(world.host.history, "spawn") == ["a spawn", "b spawn"]
        world.host.made["b"].get_ready()
        await settle()
        assert only(world.host.history, "spawn") == ["a spawn", "b spawn", "c spawn"]

    supervised(play, A, B, C, prepare=slow, start_concurrency=2)


def test_a_mistake_in_one_costs_no_other() -> None:
    """A cluster whose every call raises is told as a mistake; the others start, stop and are let go as ever."""
    mistake = ValueError("ours")

    def trouble(made: FakePostmaster) -> None:
        if made.name == "b":
            made.trouble = dict.fromkeys(["find", "spawn", "SIGINT", "release"], mistake)

    async def play(world: World) -> None:
        assert world.states == {"a": State.RUNNING, "b": State.FATAL, "c": State.RUNNING}
        assert await world.give(Stop()) == [_done(name, State.STOPPED) for name in "abc"]

    world = supervised(play, A, B, C, prepare=trouble)
    assert world.mistakes == [("b", mistake)] * 3
    assert only(world.host.history, "SIGINT", "release") == [
        "a SIGINT",
        "c SIGINT",
        *(f"{name} release" for name in "cba"),
    ]


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        (["all"], ["shop-eu", "shop-us", "wiki"]),
        (["wiki", "shop-eu"], ["shop-eu", "wiki"]),
        (["shop-*"], ["shop-eu", "shop-us"]),
        (["shop-?s", "wiki", "w*"], ["shop-us", "wiki"]),
        (["*"], ["shop-eu", "shop-us", "wiki"]),
        (["[sw]*"], ["shop-eu", "shop-us", "wiki"]),
        ([], []),
    ],
)
def test_select(names: list[str], selected: list[str]) -> None:
    """Names, globs and `all` mean each cluster once, in the inventory's order."""

    async def play(world: World) -> None:
        assert [kept.spec.name for kept in world.supervisor.select(names)] == selected

    supervised(play, spec("shop-eu"), spec("shop-us"), spec("wiki"))


@pytest.mark.parametrize("name", ["nobody", "x*", "A", ""])
def test_select_nobody(name: str) -> None:
    """A name or glob that means no cluster is an error that carries it, even beside one that does."""

    async def play(world: World) -> None:
        with pytest.raises(NoSuchClusterError) as caught:
            world.supervisor.select(["a", name])
        assert caught.value.name == name

    supervised(play, A)


def test_all_of_nothing() -> None:
    """`all` of an empty inventory is nothing, and no error."""

    async def play(world: World) -> None:
        assert world.kept("all") == []

    supervised(play)


def test_orders_wait_for_their_outcome() -> None:
    """An order returns when every cluster is where it shall be, and tells each step on the way."""

    def slow(made: FakePostmaster) -> None:
        made.spawn_time = {"a": 3.0, "b": 5.0}[made.name]

    async def play(world: World) -> None:
        begun = now()
        assert await world.give(Start()) == [_done("a", State.RUNNING), _done("b", State.RUNNING)]
        assert now() - begun == pytest.approx(5, abs=0.01)
        assert world.reports == [
            ("a", State.STARTING),
            ("b", State.STARTING),
            ("a", State.STARTING),
            ("a", State.RUNNING),
            ("b", State.STARTING),
            ("b", State.RUNNING),
        ]

    supervised(play, spec("a", autostart=False), spec("b", autostart=False), prepare=slow)


def test_orders_whose_facts_come_in_one_breath() -> None:
    """An outcome is not missed because the cluster has lived on before anybody could look."""

    async def play(world: World) -> None:
        begun = now()
        assert await world.give(Restart()) == [_done("a", State.RUNNING)]
        assert await world.give(Kill()) == [_done("a", State.STOPPED)]
        assert await world.give(Start()) == [_done("a", State.RUNNING)]
        assert await world.give(Reload()) == [_done("a", State.RUNNING)]
        assert await world.give(Stop()) == [_done("a", State.STOPPED)]
        assert now() - begun < 1

    supervised(play, A)


def test_an_outcome_that_was_lived_through_counts() -> None:
    """A stop was done even if the server is started again before the one who stopped it can look."""

    async def play(world: World) -> None:
        stopping = asyncio.create_task(world.give(Stop()))
        keeper = world.kept("a")[0].keeper
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.host.made["a"].obeys = frozenset()
        await settle()
        world.host.made["a"].end(clean=True)
        keeper.post(Start())
        assert await stopping == [_done("a", State.STOPPED)]

    supervised(play, A)


def test_a_failed_order_says_why() -> None:
    """The outcome of a start that ends FATAL carries the reason; that of a neighbour is its own."""

    async def play(world: World) -> None:
        world.host.made["a"].trouble["spawn"] = ValueError("ours")
        await world.give(Stop())
        reason = "a mistake in pgsupervisor: ValueError('ours')"
        assert await world.give(Start()) == [
            Outcome("a", ok=False, state=State.FATAL, message=reason),
            _done("b", State.RUNNING),
        ]

    supervised(play, A, B)


def test_a_later_order_ends_the_wait_of_an_earlier_one() -> None:
    """Whoever waits for a start that somebody else takes back is told so."""

    def never_ready(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def play(world: World) -> None:
        starting = asyncio.create_task(world.give(Start()))
        await settle()
        assert await world.give(Stop()) == [_done("a", State.STOPPED)]
        assert await starting == [Outcome("a", ok=False, state=State.STOPPING, message="stopped by a later order")]

    supervised(play, A, prepare=never_ready)


def test_a_cancelled_wait_does_not_cancel_the_order() -> None:
    """A client that hangs up ends its wait; what it ordered is done."""

    def slow(made: FakePostmaster) -> None:
        made.spawn_time = 5.0

    async def play(world: World) -> None:
        waiting = asyncio.create_task(world.give(Start()))
        await settle()
        waiting.cancel()
        await asyncio.sleep(6)
        assert world.states == {"a": State.RUNNING}

    supervised(play, spec("a", autostart=False), prepare=slow)


def test_an_order_to_what_is_let_go() -> None:
    """Whoever waits for a cluster that the supervisor lets go of is told so, and not left waiting."""

    def never_ready(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def world() -> None:
        made = World(inventory(A), never_ready)
        await made.supervisor.begin()
        await settle()
        waiting = asyncio.create_task(made.give(Start()))
        await settle()
        await made.supervisor.end(leave=True)
        over = Outcome("a", ok=False, state=State.STARTING, message="no longer supervised")
        assert await waiting == [over]
        assert await made.give(Stop()) == [
            Outcome("a", ok=False, state=State.STARTING, message="started again by a later order")
        ]

    live(world)


def test_end_stops_by_priority() -> None:
    """The highest number stops first; equals stop together; the next wait until those have stopped."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def world() -> World:
        made = World(inventory(A, B, spec("b2", priority=20), C), stubborn)
        await made.supervisor.begin()
        await settle()
        made.host.forget()
        begun = now()
        await made.supervisor.end(leave=False)
        assert now() - begun == pytest.approx(3 * 60, abs=0.01)
        return made

    assert live(world).host.history == [
        "c SIGINT",
        "c SIGQUIT",
        "b SIGINT",
        "b2 SIGINT",
        "b SIGQUIT",
        "b2 SIGQUIT",
        "a SIGINT",
        "a SIGQUIT",
        "c release",
        "b release",
        "b2 release",
        "a release",
    ]


def test_hasten() -> None:
    """The stop of every server becomes an immediate one, also of those whose turn had not come."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def world() -> World:
        made = World(inventory(A, B), stubborn)
        await made.supervisor.begin()
        await settle()
        made.host.forget()
        begun = now()
        ending = asyncio.create_task(made.supervisor.end(leave=False))
        await settle()
        made.supervisor.hasten()
        await ending
        assert now() - begun < 1
        return made

    assert live(world).host.history == ["b SIGINT", "a SIGQUIT", "b SIGQUIT", "b release", "a release"]


def test_leave() -> None:
    """Servers that are left running are let go of, and get no signal."""

    async def play(world: World) -> None:
        world.host.forget()

    assert supervised(play, A, B).host.history == ["b release", "a release"]


def test_update_does_what_the_plan_says() -> None:
    """Removed: stopped and let go. Added: started. Changed: restarted if need be. Unchanged: not touched at all."""
    same = spec("same", priority=5)
    gone, policy, moved = spec("gone"), spec("policy"), spec("moved", port=1)

    async def play(world: World) -> None:
        world.host.forget()
        before = {kept.spec.name: kept.life for kept in world.kept()}
        new = inventory(same, spec("new"), spec("policy", stop_timeout=1.0, priority=3), spec("moved", port=2))
        assert world.supervisor.plan(new) == (
            Change("gone", "remove"),
            Change("moved", "change", "restart", ("port",)),
            Change("policy", "change", "nothing", ("priority", "stop_timeout")),
            Change("new", "add"),
        )
        assert world.host.history == []
        plan, outcomes = await world.supervisor.update(new, world.report)
        assert plan == (
            Change("gone", "remove"),
            Change("moved", "change", "restart", ("port",)),
            Change("policy", "change", "nothing", ("priority", "stop_timeout")),
            Change("new", "add"),
        )
        assert outcomes == [_done("gone", State.STOPPED), _done("moved", State.RUNNING), _done("new", State.RUNNING)]
        made = world.host.made
        assert made["same"].calls == []
        assert made["gone"].calls == ["SIGINT", "release"]
        assert made["policy"].calls == ["renew"]
        assert made["moved"].calls == ["renew", "SIGINT", "spawn"]
        assert made["new"].calls == ["find", "spawn"]
        assert made["moved"].spec.port == 2
        assert world.supervisor.inventory == new
        assert world.states == dict.fromkeys(["same", "new", "policy", "moved"], State.RUNNING)
        kept = {each.spec.name: each for each in world.kept()}
        assert list(kept) == ["same", "new", "policy", "moved"], "the order of the new inventory"
        assert kept["same"].life is before["same"]
        assert kept["policy"].life is before["policy"]
        assert (kept["policy"].spec, kept["policy"].keeper.policy, kept["policy"].keeper.priority) == (
            new.clusters["policy"],
            new.clusters["policy"],
            3,
        )

    supervised(play, gone, same, policy, moved)


def test_update_to_the_same() -> None:
    """Reading the same inventory again calls nothing, anywhere."""

    async def play(world: World) -> None:
        world.host.forget()
        assert await world.update(A, B) == []
        assert world.host.history == []

    supervised(play, A, B)


def test_update_does_not_start_what_is_stopped() -> None:
    """A change that takes a restart leaves a stopped cluster stopped; one that gave up is tried again."""

    async def play(world: World) -> None:
        await world.give(Stop(), "a")
        world.host.made["b"].end("bad", hopeless=True)
        await settle()
        assert await world.update(spec("a", port=2), spec("b", port=3)) == [_done("b", State.RUNNING)]
        assert world.states == {"a": State.STOPPED, "b": State.RUNNING}

    supervised(play, spec("a"), spec("b"))


def test_update_does_not_start_what_shall_not_start() -> None:
    """A new cluster without autostart is only looked for."""

    async def play(world: World) -> None:
        assert await world.update(A, spec("new", autostart=False)) == []
        assert world.host.made["new"].calls == ["find"]

    supervised(play, A)


def test_update_resizes_the_gate() -> None:
    """A new start_concurrency counts at once."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def play(world: World) -> None:
        assert only(world.host.history, "spawn") == ["a spawn"]
        assert await world.update(A, B, C, start_concurrency=2) == []
        await settle()
        assert only(world.host.history, "spawn") == ["a spawn", "b spawn"]

    supervised(play, A, B, C, prepare=slow, start_concurrency=1)


def test_a_cancelled_update_is_done() -> None:
    """Whoever ordered an update may go away in the middle of it; it is not left half done."""

    def slow(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(B))
        await settle()
        updating.cancel()
        await asyncio.sleep(100)
        assert world.states == {"b": State.RUNNING}

    supervised(play, A, prepare=slow)


def test_updates_follow_each_other() -> None:
    """A second update waits until the first one is applied, and plans from there."""

    def slow(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def play(world: World) -> None:
        first = asyncio.create_task(world.update(B))
        await settle()
        second = asyncio.create_task(world.update(B, C))
        assert await first == [_done("a", State.STOPPED), _done("b", State.RUNNING)]
        assert await second == [_done("c", State.RUNNING)]

    supervised(play, A, prepare=slow)


def test_an_update_is_not_kept_waiting_by_a_recovery() -> None:
    """While a new server replays its log for long, the inventory can be changed again, that very server included."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = made.name != "b"

    async def play(world: World) -> None:
        first = asyncio.create_task(world.update(A, B))
        await asyncio.sleep(30)
        assert await world.update(A, C) == [_done("b", State.STOPPED), _done("c", State.RUNNING)]
        assert await first == [Outcome("b", ok=False, state=State.STOPPING, message="stopped by a later order")]

    supervised(play, A, prepare=slow)


def test_a_removed_server_is_not_left_behind() -> None:
    """A start that crosses a removal loses: no server runs on that nobody knows of."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(B))
        await settle()
        starting = asyncio.create_task(world.give(Start(), "a"))
        await updating
        assert (await starting)[0].ok is False
        assert world.host.made["a"].pid is None
        assert "a" not in world.states

    supervised(play, A, B, prepare=stubborn)


def test_an_update_after_the_end_has_begun_starts_nothing() -> None:
    """A server is not started behind the back of the end, which would leave it running."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def world() -> None:
        made = World(inventory(A, spec("b", port=1)), stubborn)
        await made.supervisor.begin()
        await settle()
        updating = asyncio.create_task(made.update(spec("b", port=2), C))
        await settle()
        ending = asyncio.create_task(made.supervisor.end(leave=False))
        await ending
        assert await updating == [_done("a", State.STOPPED)]
        assert [each.pid for each in made.host.made.values()] == [None, None]

    live(world)


def test_changes() -> None:
    """A listener hears the names of what changed, each once however often, and only while it listens."""

    async def play(world: World) -> None:
        with world.supervisor.changes() as changes, world.supervisor.changes() as others:
            await world.give(Restart(), "a")
            await world.give(Stop(), "b")
            assert await changes.next() == {"a", "b"}
            hearing = asyncio.create_task(changes.next())
            await settle()
            assert not hearing.done()
            await world.give(Start(), "b")
            assert await hearing == {"b"}
            assert await others.next() == {"a", "b"}
        await world.give(Stop(), "a")
        assert world.supervisor._listeners == set()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(others.next(), 1)

    supervised(play, A, B, C)


def test_changed_is_told() -> None:
    """Each change of a life is told with the cluster's name and its cause."""
    told: list[tuple[str, State, str, State]] = []

    async def world() -> None:
        supervisor = Supervisor(
            inventory(A),
            FakeHost(),
            lambda name, before, event, after: told.append((name, before.state, type(event).__name__, after.state)),
            lambda *_: None,
        )
        await supervisor.begin()
        await settle()
        await supervisor.end(leave=False)

    live(world)
    assert told == [
        ("a", State.STOPPED, "Start", State.STARTING),
        ("a", State.STARTING, "Spawned", State.STARTING),
        ("a", State.STARTING, "Ready", State.RUNNING),
        ("a", State.RUNNING, "Stop", State.STOPPING),
        ("a", State.STOPPING, "Exited", State.STOPPED),
    ]
