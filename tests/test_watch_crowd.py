"""Directories that all clusters have in common: what it costs to watch there does not grow with how many do."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from pathlib import Path

from watching import Ear, watching

from pgsupervisor.system.happenings import What
from pgsupervisor.system.watch import Watcher


def calls(work: Callable[[], object]) -> int:
    """Return how many functions are called to do something."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    gc.disable()  # what it calls is not of the work
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_a_crowd(tmp_path: Path) -> None:
    """To come, to be told and to leave takes as many steps among 1,000 who watch the same directory as among 10."""

    async def cost(watcher: Watcher, others: int) -> list[int]:
        ear = Ear()
        for number in range(others):
            watcher.watch(str(tmp_path), "shared", Ear().hear)
            watcher.watch(str(tmp_path), f"{number}", Ear().hear)
        cancels: list[Callable[[], None]] = []

        def come() -> None:
            cancels.extend(watcher.watch(str(tmp_path), name, ear.hear) for name in ("shared", "mine"))

        def be_told() -> None:
            watcher._hear(watcher._directories[str(tmp_path)], What.ENTRY, "mine")
            watcher._hear(watcher._directories[str(tmp_path)], What.ENTRY, "nobody's")
            for news in watcher._coming:
                watcher._tell(*news)

        def leave() -> None:
            for cancel in cancels:
                cancel()

        costs = [calls(work) for work in (come, be_told, leave)]
        assert ear.times == 1
        return costs

    found: list[list[int]] = []
    for others in (10, 1000):

        async def play(watcher: Watcher, others: int = others) -> None:
            found.append(await cost(watcher, others))

        watching(play)
    few, many = found
    assert few == many


def test_told_together(tmp_path: Path) -> None:
    """Whatever comes before the loop has turned to it is brought by one wake-up, also of several directories."""

    async def play(watcher: Watcher) -> None:
        loop = asyncio.get_running_loop()
        wake, wakes = loop.call_soon_threadsafe, list[object]()
        loop.call_soon_threadsafe = lambda *what: (wakes.append(what), wake(*what))[1]
        ears = [Ear(), Ear(), Ear()]
        for ear, path in zip(ears, ("one/a", "one/b", "two/a"), strict=True):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            watcher.watch(str((tmp_path / path).parent), (tmp_path / path).name, ear.hear)
        for directory, name in (("one", "a"), ("one", "b"), ("two", "a")):
            watcher._hear(watcher._directories[str(tmp_path / directory)], What.ENTRY, name)
        assert len(wakes) == 1
        for ear in ears:
            await ear.heard()
        watcher._hear(watcher._directories[str(tmp_path / "one")], What.ENTRY, "a")
        assert len(wakes) == 2
        await ears[0].heard()

    watching(play)


def test_a_mistake_of_one(tmp_path: Path) -> None:
    """Who raises when he is told costs nobody else the news that came with his."""

    async def play(watcher: Watcher) -> None:
        loop, mistakes, ear = asyncio.get_running_loop(), list[str](), Ear()
        loop.set_exception_handler(lambda _loop, context: mistakes.append(str(context["exception"])))

        def raise_one() -> None:
            raise ValueError("mine")

        watcher.watch(str(tmp_path), "first", raise_one)
        watcher.watch(str(tmp_path), "second", ear.hear)
        for name in ("first", "second"):
            watcher._hear(watcher._directories[str(tmp_path)], What.ENTRY, name)
        await ear.heard()
        assert mistakes == ["mine"]

    watching(play)
