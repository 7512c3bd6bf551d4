"""What a new inventory does to the clusters in care."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from signal import Signals

import pytest
from fakes import FakePostmaster, inventory, live, only, settle, spec
from supervisors import A, B, C, World, done, supervised

from pgsupervisor.supervision.configuration import Prospects
from pgsupervisor.supervision.life import Start, State, Stop
from pgsupervisor.supervision.outcome import Outcome
from pgsupervisor.supervision.plan import Change


def test_update_does_what_the_plan_says() -> None:
    """Removed: stopped and let go. Added: started. Changed: restarted if need be. Unchanged: not touched at all."""
    same = spec("same", priority=5)
    gone, policy, moved = spec("gone"), spec("policy"), spec("moved", port=1)

    async def play(world: World) -> None:
        world.host.forget()
        before = {kept.spec.name: kept.life for kept in world.kept()}
        new = inventory(same, spec("new"), spec("policy", stop_timeout=1.0, priority=3), spec("moved", port=2))
        assert world.supervisor.plan(new).plan == (
            Change("gone", "remove"),
            Change("moved", "change", "restart", ("port",)),
            Change("policy", "change", "nothing", ("priority", "stop_timeout")),
            Change("new", "add"),
        )
        assert world.host.history == []
        updated = await world.go_by(new)
        assert updated.plan == (
            Change("gone", "remove"),
            Change("moved", "change", "restart", ("port",)),
            Change("policy", "change", "nothing", ("priority", "stop_timeout")),
            Change("new", "add"),
        )
        ended = (done("gone", State.STOPPED), done("moved", State.RUNNING), done("new", State.RUNNING))
        assert (updated.outcomes, updated.daemon) == (ended, ())
        assert tuple(world.counted) == updated.plan, "and each is told when it counts"
        made = world.host.made
        assert made["same"].calls == []
        assert made["gone"].calls == ["SIGINT", "release"]
        assert made["policy"].calls == ["renew"]
        assert made["moved"].calls == ["prospects", "renew", "SIGINT", "spawn"]
        assert made["moved"].asked == [new.clusters["moved"]]
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


def test_update_does_not_restart_what_would_not_start() -> None:
    """A server that would not start by its new spec runs on; the next start goes by it all the same."""
    new = inventory(spec("a", port=2), spec("b", port=3))

    def broken(made: FakePostmaster) -> None:
        made.outlook = Prospects(("one", "two")) if made.name == "a" else Prospects((), ("three",), "four")

    async def play(world: World) -> None:
        world.host.forget()
        before = world.kept("a")[0].life
        why = "not restarted, as it would not start again: one; two; mend that, and restart it"
        refused = Outcome("a", ok=False, state=State.RUNNING, message=why)
        updated = await world.go_by(new)
        assert updated.outcomes == (refused, done("b", State.RUNNING))
        a, b = world.host.made["a"], world.host.made["b"]
        assert (a.calls, a.asked, a.spec) == (["prospects", "renew"], [new.clusters["a"]], new.clusters["a"])
        assert (b.calls, b.asked) == (["prospects", "renew", "SIGINT", "spawn"], [new.clusters["b"]])
        assert world.kept("a")[0].life is before
        assert world.kept("a")[0].spec == new.clusters["a"]
        assert world.supervisor.inventory == new

    supervised(play, A, B, prepare=broken)


def test_update_looks_at_prospects_when_the_removed_are_gone() -> None:
    """What a removed server has, such as its port, is free when the others are judged, which are all still up then."""

    async def play(world: World) -> None:
        world.host.forget()
        await world.update(spec("b", port=2), spec("c", port=3))
        asked = ["a SIGINT", "b prospects", "c prospects", "b SIGINT", "c SIGINT", "b spawn", "c spawn"]
        assert only(world.host.history, "SIGINT", "prospects", "spawn") == asked

    supervised(play, A, B, C)


def test_update_asks_nobody_who_has_nothing_to_lose() -> None:
    """What is down, or would be left behind in another data directory, is not held back by its prospects."""

    def broken(made: FakePostmaster) -> None:
        made.outlook = Prospects(("one",))

    async def play(world: World) -> None:
        world.host.made["a"].end("bad", hopeless=True)
        await settle()
        moved = replace(B, data_directory="/srv/elsewhere", port=3)
        assert await world.update(spec("a", port=2), moved) == [done("a", State.RUNNING), done("b", State.RUNNING)]

    world = supervised(play, A, B, prepare=broken)
    assert only(world.host.history, "prospects") == []


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
        assert await world.update(spec("a", port=2), spec("b", port=3)) == [done("b", State.RUNNING)]
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


def test_a_cancelled_update_isdone() -> None:
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


def test_an_update_that_fails_when_nobody_waits_for_it_is_told() -> None:
    """Whoever ordered an update hears of a mistake of ours in it, or we do, if he is gone; never both."""
    mistake = ValueError("ours")

    def slow(made: FakePostmaster) -> None:
        made.asking_time = 5.0
        made.trouble["renew"] = mistake

    async def play(world: World) -> None:
        updating = asyncio.create_task(world.update(replace(A, priority=1), B))
        with pytest.raises(ValueError, match="ours"):
            await updating
        assert world.mistakes == []
        updating = asyncio.create_task(world.update(spec("a", port=2), replace(B, priority=1)))
        await settle()
        updating.cancel()
        await asyncio.sleep(100)
        assert world.mistakes == [("update", mistake)]

    supervised(play, A, B, prepare=slow)


def test_updates_follow_each_other() -> None:
    """A second update waits until the first one is applied, and plans from there."""

    def slow(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})

    async def play(world: World) -> None:
        first = asyncio.create_task(world.update(B))
        await settle()
        second = asyncio.create_task(world.update(B, C))
        assert await first == [done("a", State.STOPPED), done("b", State.RUNNING)]
        assert await second == [done("c", State.RUNNING)]

    supervised(play, A, prepare=slow)


def test_an_update_is_not_kept_waiting_by_a_recovery() -> None:
    """While a new server replays its log for long, the inventory can be changed again, that very server included."""

    def slow(made: FakePostmaster) -> None:
        made.gets_ready = made.name != "b"

    async def play(world: World) -> None:
        first = asyncio.create_task(world.update(A, B))
        await asyncio.sleep(30)
        assert await world.update(A, C) == [done("b", State.STOPPED), done("c", State.RUNNING)]
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


def test_an_update_that_the_end_overtakes_starts_nothing() -> None:
    """What the end stops is not started again behind its back, which would leave it running."""

    def stubborn(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT if made.name == "a" else Signals.SIGKILL})

    async def world() -> None:
        made = World(inventory(A, spec("b", port=1)), stubborn)
        await made.supervisor.begin()
        await settle()
        updating = asyncio.create_task(made.update(spec("b", port=2), C))
        await settle()
        await made.supervisor.end(leave=False)
        assert await updating == [done("a", State.STOPPED)]
        assert {name: each.pid for name, each in made.host.made.items()} == {"a": None, "b": None}

    live(world)


def test_what_is_looked_for_when_the_end_begins_is_not_started() -> None:
    """A new cluster whose server is still being looked for is not started while the others are being stopped."""

    def slow(made: FakePostmaster) -> None:
        made.obeys = frozenset({Signals.SIGQUIT})
        made.find_time = 5.0 if made.name == "c" else 0.0

    async def world() -> None:
        made = World(inventory(A), slow)
        await made.supervisor.begin()
        await settle()
        updating = asyncio.create_task(made.update(A, C))
        await settle()
        await made.supervisor.end(leave=False)
        assert await updating == []
        assert made.host.made["c"].calls == ["find", "release"]

    live(world)
