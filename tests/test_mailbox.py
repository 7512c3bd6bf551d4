"""A mailbox: what is put in is taken in its turn, and who waits for it to be empty is told."""

from __future__ import annotations

import asyncio

from pgsupervisor.supervision.mailbox import Mailbox


def test_in_turn() -> None:
    """What came first is taken first, at once or when it comes; a wait that was given up takes nothing away."""

    async def play() -> list[int]:
        mailbox: Mailbox[int] = Mailbox()
        given_up = asyncio.create_task(mailbox.take())
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        taking = asyncio.create_task(mailbox.take())
        await asyncio.sleep(0)
        for letter in (1, 2, 3):
            mailbox.put(letter)
        return [await taking, await mailbox.take(), mailbox.take_now()]

    assert asyncio.run(play()) == [1, 2, 3]


def test_until_it_is_empty() -> None:
    """All who wait until all is taken are told of that, and of nothing before; whoever comes later need not wait."""

    async def play() -> list[str]:
        told: list[str] = []
        mailbox: Mailbox[int] = Mailbox()

        async def wait(name: str) -> None:
            await mailbox.emptied()
            told.append(name)

        mailbox.put(1)
        mailbox.put(2)
        waiting = [asyncio.create_task(wait(name)) for name in ("one", "given up", "two")]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await mailbox.take()
        await asyncio.sleep(0)
        assert (told, bool(mailbox)) == ([], True)
        await mailbox.take()
        await asyncio.wait(waiting)
        await wait("late")
        return told

    assert asyncio.run(play()) == ["one", "two", "late"]
