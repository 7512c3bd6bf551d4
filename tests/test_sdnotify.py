"""sd_notify(3), as a socket of the test's own in systemd's place receives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from manager import LIMIT, Manager, managed

from pgsupervisor.system.sdnotify import NotifySocket, monotonic_usec, watchdog_interval


@pytest.fixture
def manager(short_directory: Path) -> Iterator[Manager]:
    """A manager that listens."""
    with managed(short_directory) as made:
        yield made


@contextlib.contextmanager
def notifying(environment: Mapping[str, str]) -> Iterator[NotifySocket]:
    """Have somebody who notifies."""
    made = NotifySocket(environment)
    try:
        yield made
    finally:
        made.close()


def test_a_datagram(manager: Manager) -> None:
    """What is told together comes together; a status is one line, of UTF-8, and fits into a page."""

    async def tell() -> None:
        with notifying(manager.environment) as notify:
            assert notify.heard
            notify.tell(READY=1, STATUS="2 running,\n1 fatal:  shop")
            notify.tell(STATUS="größer \udcff")
            notify.tell(STATUS="ü" * 5000)

    asyncio.run(tell())
    assert manager.take() == [
        {"READY": "1", "STATUS": "2 running, 1 fatal: shop"},
        {"STATUS": "größer \\udcff"},
        {"STATUS": "ü" * 999 + "…"},
    ]


def test_an_abstract_address() -> None:
    """A socket may have a name in the kernel, and no file."""
    manager = Manager(f"@pgs-test-{os.getpid()}")

    async def tell() -> None:
        with notifying(manager.environment) as notify:
            notify.tell(READY=1)

    try:
        asyncio.run(tell())
        assert manager.take() == [{"READY": "1"}]
    finally:
        manager.close()


@pytest.mark.parametrize("address", [None, "", "@", "/", "vsock:2:1234", "notify", "/nowhere/notify", f"/{'a' * 200}"])
def test_nobody_listens(address: str | None) -> None:
    """Without a manager, or with one whose address leads nowhere, nothing happens."""

    async def tell() -> None:
        with notifying({} if address is None else {"NOTIFY_SOCKET": address}) as notify:
            notify.tell(READY=1)

    asyncio.run(tell())


def test_a_manager_comes_and_goes(short_directory: Path) -> None:
    """What is told while the manager is gone is lost, and one that is there again hears the rest."""

    async def tell() -> None:
        with managed(short_directory) as before, notifying(before.environment) as notify:
            notify.tell(READY=1)
            assert before.take() == [{"READY": "1"}]
            before.close()
            notify.tell(STATUS="refused")
            os.unlink(before.environment["NOTIFY_SOCKET"])
            notify.tell(STATUS="no such file")
            after = Manager(before.environment["NOTIFY_SOCKET"])
            notify.tell(STATUS="here again")
            assert after.take() == [{"STATUS": "here again"}]
            after.close()

    asyncio.run(tell())


def test_a_busy_manager(manager: Manager) -> None:
    """What a full socket does not take is kept, the last of each kind, and told when there is room, in its order."""

    async def tell() -> None:
        with notifying(manager.environment) as notify:
            taken = fill(notify)
            notify.tell(READY=1)
            notify.tell(RELOADING=1)
            notify.tell(READY=1, STATUS="new")
            notify.tell(STATUS="last")
            assert manager.take() == [{"STATUS": str(number)} for number in range(taken)]
            rest = []
            while len(rest) < 3:
                await asyncio.sleep(0)
                rest += manager.take()
            assert rest == [{"RELOADING": "1"}, {"READY": "1", "STATUS": "new"}, {"STATUS": "last"}]
            assert not notify._waits

    asyncio.run(asyncio.wait_for(tell(), LIMIT))


def fill(notify: NotifySocket) -> int:
    """Tell so much that the socket takes no more, and return how much of it was taken."""
    number = 0
    while not notify._waits:
        notify.tell(STATUS=number)
        number += 1
    return number - 1


def test_nobody_waits_for_a_manager_that_is_gone(short_directory: Path) -> None:
    """What is kept for a busy manager is given up when that ends."""

    async def tell() -> None:
        with managed(short_directory) as manager, notifying(manager.environment) as notify:
            fill(notify)
            manager.close()
            while notify._waits:  # noqa: ASYNC110  # the kernel tells nobody else
                await asyncio.sleep(0)
            assert notify._kept == {}

    asyncio.run(asyncio.wait_for(tell(), LIMIT))


def test_monotonic_usec() -> None:
    """It is the clock by which systemd tells a reload that it asked for from one before."""
    before, now, after = time.monotonic_ns(), monotonic_usec(), time.monotonic_ns()
    assert before // 1000 <= now <= after // 1000


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "42"}, None),
    ],
)
def test_watchdog_interval(environment: dict[str, str], interval: float | None) -> None:
    """The interval is told to one process; a variable that was inherited from another service counts for nobody."""
    assert watchdog_interval(environment, 42) == interval
