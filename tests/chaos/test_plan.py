"""The plan of the chaos: made by its seed alone, and fair."""

from __future__ import annotations

from chaos.plan import BROKEN, CLIENTS, Fill, Free, KillDaemon, Order, Save, plan

NAMES = tuple(f"c{number}" for number in range(8))


def test_a_seed_reproduces_the_plan() -> None:
    """The same seed is the same plan, to the last order and moment; another one is another."""
    first = plan(1, 60, NAMES)
    assert (plan(1, 60, NAMES) == first, plan(2, 60, NAMES) == first) == (True, False)


def test_what_is_in_a_minute() -> None:
    """In a minute there is every kind of act and of order, each actor's in their order, and wishes of both kinds."""
    planned = plan(1, 60, NAMES)
    acts = [act for actor in planned.actors for act in actor]
    assert {type(act).__name__ for act in acts} == {
        *("Order", "Strike", "KillChild", "Orphan", "Save", "Fill", "Free", "KillDaemon")
    }
    methods = {"Start", "Stop", "Restart", "Reload", "Kill", "SetConfiguration", "CheckConfiguration"}
    assert {act.method for act in acts if isinstance(act, Order)} == {*methods, "UpgradeDaemon"}
    assert all(list(actor) == sorted(actor, key=lambda act: act.at) for actor in planned.actors)
    assert (len(planned.actors), set(planned.wishes), set(planned.wishes.values())) == (
        CLIENTS + 3,
        set(NAMES),
        {True, False},
    )


def test_what_is_broken_is_mended() -> None:
    """A broken file is saved again, a full disk is freed, and the last daemon has the last 40 % for itself."""
    for seed in range(20):
        acts = [act for actor in plan(seed, 60, NAMES).actors for act in actor]
        for act in acts:
            if isinstance(act, Save) and act.text in {*BROKEN, "nonsense\n"}:
                assert any(
                    isinstance(other, Save) and (other.cluster, other.file) == (act.cluster, act.file)
                    for other in acts
                    if other.at > act.at
                )
            if isinstance(act, Fill):
                assert any(isinstance(other, Free) for other in acts if other.at > act.at)
        assert all(act.at <= 36 for act in acts if isinstance(act, KillDaemon))
