"""The one stream of all that happens, as a client of the control socket hears it."""

from __future__ import annotations

import os

import pytest
from another_client import another_client
from control import Door, play
from fakes import inventory, spec

from pgsupervisor.control import protocol
from pgsupervisor.supervision.events import KEPT


def test_monitor() -> None:
    """Monitor tells how the clusters are, then of each one that changes, and of those only that were asked for."""

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            await door.until(name, "RUNNING")
        one = await door.visit()
        one.ask("Monitor", {"names": ["a"]}, more=True)
        assert states(await one.hear()) == {"a": "RUNNING"}
        other = await door.visit()
        await other.call("Stop", {"names": ["b"]})
        await other.call("Stop", {"names": ["a"]})
        seen = {}
        while seen.get("a") != "STOPPED":
            seen |= states(await one.hear())
        assert seen == {"a": "STOPPED"}

    play(scene)


def test_monitor_tells_what_changed_and_no_more() -> None:
    """Of all clusters only those that changed are told again, and those that an update removed by their names."""

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            await door.until(name, "RUNNING")
        one = await door.visit()
        one.ask("Monitor", {"names": []}, more=True)
        assert states(await one.hear()) == {"a": "RUNNING", "b": "RUNNING"}
        other = await door.visit()
        await other.call("Stop", {"names": ["b"]})
        seen = await one.hear()
        while states(seen) != {"b": "STOPPED"}:
            assert states(seen).keys() == {"b"}
            seen = await one.hear()
        await door.supervisor.update(inventory(spec("a")), _nobody, _nobody)
        while not (seen := await one.hear())["parameters"]["removed"]:
            assert states(seen).keys() == {"b"}
        assert seen["parameters"] == {"clusters": [], "removed": ["b"]}

    play(scene)


def states(reply: dict[str, object]) -> dict[str, str]:
    """Return the states that a reply tells."""
    return {each["name"]: each["state"] for each in reply["parameters"]["clusters"]}


def names(reply: dict[str, object]) -> list[object]:
    """Return which clusters a reply tells of."""
    return [each["name"] for each in reply["parameters"]["clusters"]]


def told(reply: dict[str, object]) -> list[tuple[int, str | None, str]]:
    """Return the events that a reply tells of: their numbers, clusters and names."""
    events = reply["parameters"].get("events", [])
    return [(each["sequence"], each["cluster"], each["event"]) for each in events]


def happen(door: Door, *events: tuple[str | None, str]) -> None:
    """Let events happen to clusters, or to the daemon."""
    for cluster, name in events:
        door.events.record(1000.5, "info", name, cluster, {"fact": [1, None]})


def _nobody(*_: object) -> None:
    """Report to nobody."""


async def running(door: Door) -> None:
    """Wait until both clusters run, and begin to count events."""
    for name in ("a", "b"):
        await door.until(name, "RUNNING")
    door.events._kept.clear()


def test_once() -> None:
    """Without `more` there is one answer; the events of the daemon itself are for those who name no cluster."""

    async def scene(door: Door) -> None:
        await running(door)
        happen(door, ("a", "one"), (None, "two"), ("b", "three"), ("gone", "four"))
        one = await door.visit()
        everything = await one.call("Monitor", {"names": [], "past": 1000})
        assert everything["parameters"]["events"][0] == {
            "sequence": 1,
            "time": 1000.5,
            "level": "info",
            "event": "one",
            "cluster": "a",
            "facts": {"fact": [1, None]},
        }
        assert (names(everything), "continues" in everything) == (["a", "b"], False)
        assert told(everything) == [(1, "a", "one"), (2, None, "two"), (3, "b", "three"), (4, "gone", "four")]
        for parameters, expected in (
            ({"names": [], "past": 2}, [3, 4]),
            ({"names": [], "past": 0}, []),
            ({"names": ["a"], "past": 2}, [1]),
            ({"names": ["?", "go*"], "past": 2}, [3, 4]),
            ({"names": ["all"], "past": 9}, [1, 3, 4]),
            ({"names": ["gone"], "past": 1}, [4]),
            ({"names": [], "after": 2}, [3, 4]),
            ({"names": ["b"], "after": 0, "past": 1}, [3]),
            ({"names": [], "after": 4}, []),
            ({"names": [], "after": 2**62}, []),
        ):
            answer = await one.call("Monitor", parameters)
            assert [number for number, _, _ in told(answer)] == expected, parameters
        assert "events" not in (await one.call("Monitor", {"names": []}))["parameters"]
        unknown = await one.call("Monitor", {"names": ["gone"]})
        assert unknown == {"error": protocol.NO_SUCH_CLUSTER, "parameters": {"name": "gone"}}

    play(scene)


def test_events_as_they_come() -> None:
    """Events come at once, with the cluster that changed by them, and those of others not at all."""

    async def scene(door: Door) -> None:
        await running(door)
        happen(door, ("a", "before"))
        one = await door.visit()
        one.ask("Monitor", {"names": ["a"], "past": 0}, more=True)
        first = await one.hear()
        assert (names(first), told(first)) == (["a"], [])
        happen(door, ("b", "not for us"), (None, "nor this"), ("a", "for us"))
        answer = await one.hear()
        assert answer["parameters"] == {
            "clusters": [],
            "removed": [],
            "events": [
                {
                    "sequence": 4,
                    "time": 1000.5,
                    "level": "info",
                    "event": "for us",
                    "cluster": "a",
                    "facts": {"fact": [1, None]},
                }
            ],
        }
        await (await door.visit()).call("Kill", {"names": ["all"]})
        seen: list[object] = []
        while not seen or seen[-1]["facts"]["now"] != "STOPPED":
            answer = await one.hear()
            assert names(answer) == ["a"]
            seen += answer["parameters"]["events"]
        assert [(each["cluster"], each["facts"]["now"]) for each in seen] == [("a", "STOPPING"), ("a", "STOPPED")]

    play(scene)


def test_a_name_that_comes_and_goes() -> None:
    """A cluster that an update removes is no end of the stream: what is called so later is heard of again."""

    async def scene(door: Door) -> None:
        await running(door)
        one = await door.visit()
        one.ask("Monitor", {"names": ["b*"]}, more=True)
        assert names(await one.hear()) == ["b"]
        await door.supervisor.update(inventory(spec("a")), _nobody, _nobody)
        while not (answer := await one.hear())["parameters"]["removed"]:
            assert names(answer) == ["b"]
        assert answer["parameters"] == {"clusters": [], "removed": ["b"]}
        await door.supervisor.update(inventory(spec("a"), spec("b2", autostart=False)), _nobody, _nobody)
        assert states(await one.hear()) == {"b2": "STOPPED"}

    play(scene)


def test_one_who_is_slow() -> None:
    """Who does not read in time hears of the last events, and how many he has missed; nothing is kept for him."""

    async def scene(door: Door) -> None:
        await running(door)
        one = await door.visit()
        one.ask("Monitor", {"names": [], "past": 0}, more=True)
        await one.hear()
        happen(door, *[("a", f"event {number}") for number in range(KEPT + 7)])
        answer = await one.hear()
        assert (answer["parameters"]["missed"], len(told(answer))) == (7, KEPT)
        assert [number for number, _, _ in told(answer)] == list(range(8, KEPT + 8))

    play(scene)


def test_a_long_answer() -> None:
    """However long an answer is, a client that reads it gets it."""
    long = "x" * 4000

    async def scene(door: Door) -> None:
        await running(door)
        for _ in range(KEPT):
            door.events.record(0.0, "info", "long", None, {"fact": long})
        one = await door.visit()
        one.ask("Monitor", {"names": [], "past": KEPT}, more=True)
        assert len(told(await one.hear())) == KEPT
        happen(door, (None, "short"))
        assert told(await one.hear()) == [(KEPT + 1, None, "short")]

    play(scene)


@pytest.mark.parametrize("parameters", [{"past": 1}, {"past": 0}, {"after": 1}])
def test_nothing_is_lost_or_told_twice_in_an_upgrade(parameters: dict[str, int]) -> None:
    """Who follows events goes on with them where they change hands, whatever he began with."""

    async def scene(door: Door) -> None:
        await running(door)
        happen(door, (None, "one"), (None, "two"))
        one = await door.visit()
        one.ask("Monitor", {"names": [], **parameters}, more=True)
        heard = told(await one.hear())
        happen(door, (None, "three"))
        heard += told(await one.hear())
        happen(door, (None, "four"))
        for number in range(3):
            await door.change_hands()
            happen(door, (None, f"hands {number}"))
        while heard[-1][2] != "hands 2":
            heard += told(await one.hear())
        assert [number for number, _, _ in heard][-5:] == [3, 4, 5, 6, 7]
        assert len(heard) == len(set(heard)) <= 6

    play(scene)


def test_orders_are_told() -> None:
    """Each order is told for each cluster, with who gave it and what was given, but no value of a setting."""
    uid = os.geteuid()
    changes = [{"name": "work_mem", "value": "secret"}, {"name": "port"}]

    async def scene(door: Door) -> None:
        await running(door)
        one = await door.visit()
        for method, parameters in (
            ("Stop", {"names": ["?"], "mode": "smart", "timeout": 3}),
            ("Start", {"names": ["a"]}),
            ("Restart", {"names": ["a"], "force": True}),
            ("Reload", {"names": ["b"]}),
            ("Kill", {"names": ["b"]}),
            ("SetConfiguration", {"name": "[a]", "changes": changes}),
            ("Update", {"dry_run": True}),
            ("Update", {}),
            ("Stop", {"names": ["x"]}),
            ("Stop", {"names": ["a"], "mode": "x"}),
            ("GetStatus", {"names": []}),
            ("StopDaemon", {"leave": False}),
            ("Start", {"names": ["a"]}),
        ):
            await one.call(method, parameters)
        assert door.orders == [
            ("stop", "a", uid, {"mode": "smart", "timeout": 3.0}),
            ("stop", "b", uid, {"mode": "smart", "timeout": 3.0}),
            ("start", "a", uid, {}),
            ("restart", "a", uid, {"force": True}),
            ("reload", "b", uid, {}),
            ("kill", "b", uid, {}),
            ("set configuration", "a", uid, {"settings": ["work_mem", "port"]}),
            ("update", None, uid, {}),
            ("stop daemon", None, uid, {"leave": False}),
        ]

    play(scene)


def test_another_varlink_client_hears_events() -> None:
    """The client of the Varlink project gets each event whole."""

    async def scene(door: Door) -> None:
        await running(door)
        happen(door, ("a", "one"), (None, "two"))
        one = await door.visit()
        ours = (await one.call("Monitor", {"names": [], "past": 2}))["parameters"]["events"]
        theirs = (await another_client(door, "Monitor", {"names": [], "past": 2}))["events"]
        assert [{"cluster": None, **each} for each in theirs] == ours

    play(scene)
