"""How a daemon becomes the version of it that is installed now, in place, while servers and clients notice nothing.

First the new version is tried out, which disturbs nobody. Then all is brought to rest: no client is let in (they wait),
no server is started (they wait, too), and what is under way in threads is waited for, since a thread is gone with its
program. At last everything goes over in one piece that nothing can come between. Whatever happens meanwhile, a server
that ends or an order that is given, is lived as always, and goes over with the clusters' lives.

Until the very last moment all of this can be taken back, and the old version goes on as if nothing had been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from structlog.typing import FilteringBoundLogger

from pgsupervisor.control import protocol
from pgsupervisor.control.conversations import Conversations, Handed
from pgsupervisor.control.entrance import Entrance
from pgsupervisor.control.protocol import Reply
from pgsupervisor.daemon.handover import Handover, encode
from pgsupervisor.daemon.program import Program
from pgsupervisor.errors import InventoryError, UpgradeError
from pgsupervisor.inventory import load
from pgsupervisor.supervision.supervisor import Supervisor

_PATIENCE = 30.0
"""Seconds that everything may take to come to rest. Longer than that, nobody shall wait at the door."""


@dataclass(slots=True)
class Upgrade:
    """Upgrades a daemon that consists of these.

    `handover` tells what is handed over, with the clients that are, and `ending` whether the daemon is on its way out.
    """

    program: Program
    supervisor: Supervisor
    conversations: Conversations
    entrance: Entrance
    handover: Callable[[Sequence[Handed]], Handover]
    ending: Callable[[], bool]
    log: FilteringBoundLogger
    _under_way: bool = field(default=False, init=False)

    async def carry_out(self) -> NoReturn:
        """Become the installed version.

        Raises UpgradeError if that cannot be; everything goes on as it was then.
        """
        if self._under_way:
            raise UpgradeError("another upgrade is under way; see what comes of that")
        self._under_way = True
        try:
            version = await asyncio.to_thread(self.program.try_out, encode(self.handover(())))
            self.log.info("daemon upgrading", to=version)
            await self._hand_over()
        except UpgradeError as error:
            self.log.warning("upgrade refused", reason=error.why)
            raise
        finally:
            self._under_way = False

    async def _hand_over(self) -> NoReturn:
        why = "there is a mistake in pgsupervisor; its log has more"
        self.entrance.shut()
        try:
            clients = await self._bring_to_rest()
            # From here on nobody else gets a word in.
            everything = self.handover(clients)
            self.program.execute(encode(everything), everything.descriptors)
        except UpgradeError as error:
            why = error.why
            raise
        finally:
            self.supervisor.go_on()
            self.entrance.open()
            self.conversations.take_back(Reply({"why": why}, error=protocol.UPGRADE_REFUSED))

    async def _bring_to_rest(self) -> Sequence[Handed]:
        """Wait until nothing is under way any more, neither in a thread nor with a client."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.supervisor.rest()
                await self._compare_inventories()
                clients = await self.conversations.hand_over()
                await self.supervisor.rest()
        except TimeoutError:
            busy = ", ".join(self.supervisor.busy) or "its clients"
            raise UpgradeError(f"the daemon is busy with {busy}, and was not done in {_PATIENCE:g} s") from None
        if self.ending():
            raise UpgradeError("the daemon is about to end")
        return clients

    async def _compare_inventories(self) -> None:
        """Make sure that the new version reads the inventory that is in force: an upgrade starts or stops nothing."""
        try:
            new = await asyncio.to_thread(load, self.supervisor.inventory.path)
        except InventoryError as error:
            raise UpgradeError(str(error)) from error
        updated = self.supervisor.plan(new)
        if updated.plan or updated.daemon:
            raise UpgradeError(f"{new.path} has changes that are not applied; run `pgsupctl update` first")
