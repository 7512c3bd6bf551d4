"""Random lives of several clusters at once, from the beginning of a supervisor to its end: what holds in all of them.

Machine, keepers, gate and supervisor are the true ones; data directories and time are not. What must hold at any moment
is seen to by the `Stage`; here is what must hold when all is quiet, and when all is over.
"""

from __future__ import annotations

import asyncio

from acts import INVENTORIES, PLAYS, Act, Update
from fakes import A_DAY, live
from hypothesis import given, settings
from hypothesis import strategies as st
from stages import Stage

from pgsupervisor.supervision.life import State

AN_HOUR = 3600.0


@given(clusters=INVENTORIES, acts=PLAYS, crossing=st.booleans(), leave=st.booleans())
@settings(max_examples=600, print_blob=True, report_multiple_bugs=False)
def test_lives(clusters: Update, acts: list[Act], *, crossing: bool, leave: bool) -> None:
    """Whatever happens: all is as it was last wished when all is quiet, and nothing is left when all is over.

    The end comes in the quiet, or, `crossing` whatever is under way, in the midst of it.
    """

    async def play() -> None:
        stage = Stage(clusters.inventory)
        beginning = asyncio.create_task(stage.supervisor.begin())
        for act in acts:
            await act.on(stage)
        if crossing:
            await beginning
        else:
            await _quiet(stage)
            _all_is_as_wished(stage)
        await _end(stage, leave=leave)
        await beginning
        if stage.mistakes:
            raise stage.mistakes[0]

    live(play, lasts=10 * A_DAY)


async def _quiet(stage: Stage) -> None:
    """Let all faults cease, and everybody have an answer."""
    for home in stage.homes.values():
        home.relent()
    await stage.answered()
    await stage.wait(AN_HOUR)


def _all_is_as_wished(stage: Stage) -> None:
    """Each cluster is what it shall be, and its data directory is what its life says."""
    assert set(stage.supervisor._kept) == set(stage.wished)
    for name, kept in stage.supervisor._kept.items():
        home, life, wished = stage.home(name), kept.life, stage.wished[name]
        assert life.state in {State.RUNNING, State.FATAL, State.STOPPED}
        assert life.want_up == (life.state is not State.STOPPED)
        assert wished in {None, life.want_up}, f"{name} is {life.state}"
        assert (home.pid, home.orphans) == (life.pid, 0)
        if life.state is State.RUNNING:
            assert home.ready
            assert home.read == home.version, "a change of its files has passed the server by"
            assert home.spec is None or home.doubted or home.spec.port == kept.spec.port, "by an old inventory"


async def _end(stage: Stage, *, leave: bool) -> None:
    """Let the supervisor end, and see that nothing of it is left, and of the servers what shall be left."""
    kept = list(stage.supervisor._kept.values())
    asyncio.get_running_loop().call_later(AN_HOUR, lambda: [home.relent() for home in stage.homes.values()])
    async with asyncio.timeout(A_DAY):
        await stage.supervisor.end(leave=leave)
    assert all(each.task.done() for each in stage.supervisor._kept.values())
    signals = [home.signals for home in stage.homes.values()]
    await stage.answered()
    await asyncio.sleep(2 * AN_HOUR)
    gate = stage.supervisor._gate
    assert gate._free == stage.supervisor.inventory.daemon.start_concurrency
    assert all(place.cancelled() for _, _, place in gate._waiting)
    assert all(each.released for each in stage.residents)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert signals == [home.signals for home in stage.homes.values()], "one that was let go was told to end"
    if not leave:
        for each in kept:
            home = stage.home(each.spec.name)
            by_hand = home.spec is None
            assert by_hand or (home.pid, home.orphans) == (None, 0), f"{each.spec.name} is left running"
