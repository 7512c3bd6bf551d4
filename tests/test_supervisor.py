"""The supervisor with fake postmasters, in virtual time."""

from __future__ import annotations

import asyncio
from signal import Signals

import pytest
from fakes import FakeHost, FakePostmaster, inventory, live, now, only, settle, spec
from supervisors import A, B, C, World, done, reloaded, supervised

from pgsupervisor.errors import NoSuchClusterError
from pgsupervisor.supervision.configuration import Report
from pgsupervisor.supervision.events import Events
from pgsupervisor.supervision.life import Kill, Reload, Restart, Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.supervisor import Supervisor


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


def test_an_order_while_servers_are_looked_for() -> None:
    """A start that is ordered at once, and the one of autostart after it, are one start of what does not run."""

    def slow(made: FakePostmaster) -> None:
        made.find_time = 5.0
        made.running_before = made.name == "a"

    async def world() -> None:
        made = World(inventory(A, B), slow)
        beginning = asyncio.create_task(made.supervisor.begin())
        await settle()
        assert await made.give(Start()) == [done("a", State.RUNNING), done("b", State.RUNNING)]
        await beginning
        await settle()
        assert (made.host.made["a"].calls, made.host.made["b"].calls) == (["find"], ["find", "spawn"])
        await made.supervisor.end(leave=True)

    live(world)


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
        assert await world.give(Stop()) == [done(name, State.STOPPED) for name in "abc"]

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
        assert await world.give(Start()) == [done("a", State.RUNNING), done("b", State.RUNNING)]
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
        assert await world.give(Restart()) == [done("a", State.RUNNING)]
        assert await world.give(Kill()) == [done("a", State.STOPPED)]
        assert await world.give(Start()) == [done("a", State.RUNNING)]
        assert await world.give(Reload()) == [reloaded("a", Report())]
        assert await world.give(Stop()) == [done("a", State.STOPPED)]
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
        assert await stopping == [done("a", State.STOPPED)]

    supervised(play, A)


def test_a_failed_order_says_why() -> None:
    """The outcome of a start that ends FATAL carries the reason; that of a neighbour is its own."""

    async def play(world: World) -> None:
        world.host.made["a"].trouble["spawn"] = ValueError("ours")
        await world.give(Stop())
        reason = "a mistake in pgsupervisor: ValueError('ours')"
        assert await world.give(Start()) == [
            Outcome("a", ok=False, state=State.FATAL, message=reason),
            done("b", State.RUNNING),
        ]

    supervised(play, A, B)


def test_a_later_order_ends_the_wait_of_an_earlier_one() -> None:
    """Whoever waits for a start that somebody else takes back is told so."""

    def never_ready(made: FakePostmaster) -> None:
        made.gets_ready = False

    async def play(world: World) -> None:
        starting = asyncio.create_task(world.give(Start()))
        await settle()
        assert await world.give(Stop()) == [done("a", State.STOPPED)]
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


def test_changes() -> None:
    """Who listens hears the names of what changed, and of what is taken into care."""

    async def play(world: World) -> None:
        with world.supervisor.events.listen() as changes:
            await world.give(Restart(), "a")
            await world.give(Stop(), "b")
            assert (await changes.next()).changed == {"a", "b"}
            await world.update(A, B, spec("d", autostart=False))
            assert (await changes.next()).changed == {"c", "d"}

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
            Events(),
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
