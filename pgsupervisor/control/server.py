"""The control server: what each method of io.pgsupervisor does with the supervisor.

A method takes a call and returns its last reply; what comes before that, it sends itself (`Call.progress`). A
mistake of the client's is an error reply.

Who may call it is seen to before it begins (`access`); of methods that are about clusters, when it is known which.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import NoReturn, Protocol, TypeAlias

from pgsupervisor import __version__
from pgsupervisor.control import configuration, parameters, protocol, records
from pgsupervisor.control.access import CONTROL, LOOKING, ORDERS, OWNING
from pgsupervisor.control.connection import Call
from pgsupervisor.control.logs import send_logs, tail
from pgsupervisor.control.monitoring import monitor
from pgsupervisor.control.protocol import Parameters, Reply
from pgsupervisor.control.refusal import RefusalError
from pgsupervisor.control.rights import Rights
from pgsupervisor.errors import InventoryError, NoSuchClusterError, UpgradeError
from pgsupervisor.supervision.kept import Kept, Report, Usage
from pgsupervisor.supervision.life import Kill, Life, Order, Reload, Restart, Start, Stop
from pgsupervisor.supervision.selection import ALL
from pgsupervisor.supervision.supervisor import Supervisor, Updated

Method: TypeAlias = Callable[[Call], Awaitable[Parameters]]


_REFUSED_AGAIN = 60.0
"""Seconds for which it is not told again that a user may not give an order."""

_REFUSALS = 1000
"""How many are told of in that time: one user may have the numbers of many (subuid(5))."""

_COUNTING_TIME = 1.0
"""Seconds that may be spent on what clusters use; a thousand of them take a tenth of that."""


class Daemon(Protocol):
    """What the control socket may ask of the daemon itself."""

    @property
    def inventory_path(self) -> str:
        """The inventory's main file."""

    @property
    def started(self) -> float:
        """When the daemon was first started, before any upgrade, as a Unix time."""

    @property
    def cgroup(self) -> str | None:
        """The directory of the cgroup that has the clusters' own in it; None if there is none."""

    @property
    def limits(self) -> str:
        """Why clusters can be given no limits, and what to do; empty if they can."""

    @property
    def ending(self) -> bool:
        """Whether the daemon is on its way out."""

    async def update(self, report: Report, *, dry_run: bool) -> Updated:
        """Read the inventory again, and apply it unless `dry_run`.

        Raises InventoryError.
        """

    def end(self, *, leave: bool | None) -> None:
        """Begin to exit, and return at once."""

    async def upgrade(self) -> NoReturn:
        """Become the installed version: this process executes it.

        Raises UpgradeError; nothing is changed then.
        """


class Told(Protocol):
    """Who is told of orders, and by whom they are given: by the user with the number `uid`."""

    def ordered(self, order: str, cluster: str | None, uid: int, given: Parameters) -> None:
        """Hear of an order to a cluster, or to the daemon itself (None), and what was given with it."""

    def refused(self, method: str, clusters: Sequence[str], uid: int) -> None:
        """Hear of an order that this user may not give to these clusters, or (none) to the daemon itself."""


class ControlServer:
    """Answers calls, and tells of orders.

    `database` has the threads in which it is looked up who may give them, and `counting` the one in which the kernel is
    asked what clusters use.
    """

    def __init__(
        self, supervisor: Supervisor, daemon: Daemon, told: Told, *, database: Executor, counting: Executor
    ) -> None:
        self._supervisor = supervisor
        self._daemon = daemon
        self._told = told
        self._database = database
        self._counting = counting
        self._refused: dict[tuple[int, str], float] = {}
        self._methods: dict[str, Method] = {
            "org.varlink.service.GetInfo": self._get_info,
            "org.varlink.service.GetInterfaceDescription": self._get_interface_description,
            "io.pgsupervisor.GetStatus": self._get_status,
            "io.pgsupervisor.Monitor": self._monitor,
            "io.pgsupervisor.Start": self._start,
            "io.pgsupervisor.Stop": self._stop,
            "io.pgsupervisor.Restart": self._restart,
            "io.pgsupervisor.Reload": self._reload,
            "io.pgsupervisor.Kill": self._kill,
            "io.pgsupervisor.Update": self._update,
            "io.pgsupervisor.GetLog": self._get_log,
            "io.pgsupervisor.GetConfiguration": self._get_configuration,
            "io.pgsupervisor.SetConfiguration": self._set_configuration,
            "io.pgsupervisor.CheckConfiguration": self._check_configuration,
            "io.pgsupervisor.GetDaemon": self._get_daemon,
            "io.pgsupervisor.StopDaemon": self._stop_daemon,
            "io.pgsupervisor.UpgradeDaemon": self._upgrade_daemon,
        }

    async def answer(self, call: Call) -> Reply:
        """Do what a call asks for, and return its last reply."""
        try:
            return Reply(await (await self._method(call))(call))
        except RefusalError as error:
            return error.reply
        except parameters.InvalidParameterError as error:
            return Reply({"parameter": error.name}, error=protocol.INVALID_PARAMETER)
        except NoSuchClusterError as error:
            return Reply({"name": error.name}, error=protocol.NO_SUCH_CLUSTER)
        except InventoryError as error:
            facts = {"path": error.path, "key": error.key, "why": error.why}
            return Reply(facts, error=protocol.INVENTORY_INVALID)
        except UpgradeError as error:
            return Reply({"why": error.why}, error=protocol.UPGRADE_REFUSED)

    async def _method(self, call: Call) -> Method:
        """Find the method, and make sure that this peer may call it, unless that depends on clusters."""
        name = call.request.method
        method = self._methods.get(name)
        if method is None:
            if call.request.interface in {protocol.SERVICE, protocol.INTERFACE}:
                raise RefusalError(protocol.METHOD_NOT_FOUND, method=name)
            raise RefusalError(protocol.INTERFACE_NOT_FOUND, interface=call.request.interface)
        if name not in LOOKING | CONTROL | OWNING:
            rights = self._rights(call)
            await rights.learn(())
            if not rights.may(name):
                self._refuse(call, rights, ())
        if name not in CONTROL | OWNING:
            self._permit(call)
        return method

    def _rights(self, call: Call) -> Rights:
        return Rights(call.peer, self._supervisor, self._database)

    async def _permitted(self, call: Call, names: Sequence[str]) -> list[Kept]:
        """Return the clusters that `names` means, if the peer may call the method for all of them.

        If he may not for some, nothing is done for any, and he is told for which. A glob means the same clusters to
        everybody, those that `status` shows for it. Were some passed over in silence, "stop all" would seem to be done
        where it is not, and what an order does would depend on who gives it. Who is told the names can leave them out.

        Raises NoSuchClusterError and RefusalError.
        """
        rights = self._rights(call)
        await rights.learn(self._supervisor.select(names))
        kept = self._supervisor.select(names)  # an update may have come in between
        refused = [each.spec.name for each in kept if not rights.may(call.request.method, each)]
        if refused:
            self._refuse(call, rights, refused)
        self._permit(call)
        return kept

    def _permit(self, call: Call) -> None:
        """Note that a call is permitted; a daemon that ends takes none but looks any more.

        Who only looks has to wait for nothing any more; for all else, the user's other calls need not wait.
        """
        if call.request.method not in LOOKING:
            if self._daemon.ending:
                raise RefusalError(protocol.SHUTTING_DOWN)
            call.turn.pass_on()
        call.permitted = True

    def _refuse(self, call: Call, rights: Rights, clusters: Sequence[str]) -> NoReturn:
        """Refuse a call for these clusters, or (none) for all there is, and tell of it if it is an order.

        That is not told again and again: nobody shall push out what else has happened.
        """
        now, name, uid = asyncio.get_running_loop().time(), call.request.method, call.peer.uid
        self._refused = {asked: again for asked, again in self._refused.items() if again > now}
        if name in ORDERS and (uid, name) not in self._refused and len(self._refused) < _REFUSALS:
            self._refused[uid, name] = now + _REFUSED_AGAIN
            self._told.refused(name.rpartition(".")[2], clusters, uid)
        raise RefusalError(protocol.NOT_PERMITTED, user=rights.user, method=name, clusters=list(clusters))

    async def _get_info(self, call: Call) -> Parameters:
        parameters.read(call.request.parameters, parameters.Nothing)
        return {
            "vendor": "pgsupervisor",
            "product": "pgsupervisord",
            "version": __version__,
            "url": "https://github.com/pgsupervisor/pgsupervisor",
            "interfaces": [protocol.SERVICE, protocol.INTERFACE],
        }

    async def _get_interface_description(self, call: Call) -> Parameters:
        name = parameters.read(call.request.parameters, parameters.Interface).interface
        try:
            return {"description": protocol.interface_description(name)}
        except KeyError:
            raise RefusalError(protocol.INTERFACE_NOT_FOUND, interface=name) from None

    async def _get_status(self, call: Call) -> Parameters:
        names = parameters.read(call.request.parameters, parameters.Names).names
        rights = self._rights(call)
        await rights.learn(self._select(names))
        used = await self._count(self._select(names))
        kept = self._select(names)  # an update may have come in between
        return {"clusters": records.clusters(kept, asyncio.get_running_loop().time(), rights.seen(kept), used)}

    async def _count(self, several: Sequence[Kept]) -> Mapping[str, Usage]:
        """Return what clusters use, by name; nothing if the kernel takes its time: how they are is asked first."""
        asked = {kept.spec.name: kept.postmaster for kept in several if kept.postmaster.counted}
        if not asked:
            return {}

        def count() -> Mapping[str, Usage]:
            return {name: postmaster.usage() for name, postmaster in asked.items()}

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COUNTING_TIME):
                return await asyncio.get_running_loop().run_in_executor(self._counting, count)
        return {}

    async def _monitor(self, call: Call) -> Parameters:
        return await monitor(call, self._supervisor, self._rights(call))

    async def _start(self, call: Call) -> Parameters:
        return await self._order(call, parameters.read(call.request.parameters, parameters.Names), Start())

    async def _stop(self, call: Call) -> Parameters:
        asked = parameters.read(call.request.parameters, parameters.StopNames)
        return await self._order(call, asked, Stop(asked.mode, asked.timeout))

    async def _restart(self, call: Call) -> Parameters:
        asked = parameters.read(call.request.parameters, parameters.RestartNames)
        return await self._order(call, asked, Restart(asked.mode, asked.timeout, force=bool(asked.force)))

    async def _reload(self, call: Call) -> Parameters:
        return await self._order(call, parameters.read(call.request.parameters, parameters.Names), Reload())

    async def _kill(self, call: Call) -> Parameters:
        return await self._order(call, parameters.read(call.request.parameters, parameters.Names), Kill())

    async def _order(self, call: Call, asked: parameters.Names, order: Order) -> Parameters:
        ordered = await self._permitted(call, asked.names)
        for kept in ordered:
            self._told.ordered(type(order).__name__.lower(), kept.spec.name, call.peer.uid, parameters.given(asked))
        outcomes = await self._supervisor.give(ordered, order, _report_to(call))
        return {"outcomes": [records.outcome(each) for each in outcomes]}

    async def _update(self, call: Call) -> Parameters:
        dry_run = bool(parameters.read(call.request.parameters, parameters.Dry).dry_run)
        if not dry_run:
            self._told.ordered("update", None, call.peer.uid, {})
        return records.updated(await self._daemon.update(_report_to(call), dry_run=dry_run))

    async def _get_log(self, call: Call) -> Parameters:
        asked = parameters.read(call.request.parameters, parameters.Logs)
        kept = await self._permitted(call, asked.names)
        if call.request.more:
            return await send_logs(call, kept, asked)
        if asked.follow or len(kept) != 1:
            _need_more(call)
        return await tail(call, kept[0], asked)

    async def _get_configuration(self, call: Call) -> Parameters:
        asked = parameters.read(call.request.parameters, parameters.Keys)
        found = await configuration.settings(await self._one(call, asked.name), asked.keys)
        return {"settings": [records.setting(each) for each in found]}

    async def _set_configuration(self, call: Call) -> Parameters:
        asked = parameters.read(call.request.parameters, parameters.Assignments)
        changes = {each.name: each.value for each in asked.changes}
        kept = await self._one(call, asked.name)
        # Not to what: a value may be a secret.
        self._told.ordered("set configuration", kept.spec.name, call.peer.uid, {"settings": list(changes)})
        outcome = await configuration.configure(self._supervisor, kept, changes, _report_to(call))
        return {"outcomes": [records.outcome(outcome)]}

    async def _check_configuration(self, call: Call) -> Parameters:
        kept = await self._one(call, parameters.read(call.request.parameters, parameters.Name).name)
        found = await kept.postmaster.configuration.prospects(kept.spec)
        return {"problems": [*found.fatal, *found.others], "unchecked": found.unchecked or None}

    async def _get_daemon(self, call: Call) -> Parameters:
        parameters.read(call.request.parameters, parameters.Nothing)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": self._daemon.started,
            "inventory": self._daemon.inventory_path,
            "cgroup": self._daemon.cgroup,
            "limits": self._daemon.limits or None,
            "clusters": len(self._supervisor.inventory.clusters),
        }

    async def _stop_daemon(self, call: Call) -> Parameters:
        leave = parameters.read(call.request.parameters, parameters.Leave).leave
        self._told.ordered("stop daemon", None, call.peer.uid, {} if leave is None else {"leave": leave})
        self._daemon.end(leave=leave)
        return {}

    async def _upgrade_daemon(self, call: Call) -> NoReturn:
        parameters.read(call.request.parameters, parameters.Nothing)
        self._told.ordered("upgrade daemon", None, call.peer.uid, {})
        await self._daemon.upgrade()

    async def _one(self, call: Call, name: str) -> Kept:
        """Return the cluster that a name means, if the peer may; a pattern that means several is no name of one."""
        if len(self._supervisor.select([name])) != 1:
            raise NoSuchClusterError(name)
        kept = await self._permitted(call, [name])
        if len(kept) != 1:
            raise NoSuchClusterError(name)
        return kept[0]

    def _select(self, names: Sequence[str]) -> list[Kept]:
        """Return the clusters that names mean; no name means all."""
        return self._supervisor.select(names or [ALL])


def _report_to(call: Call) -> Report:
    """Return what passes on, to the one who gave an order, each life that it leads to."""

    def report(name: str, life: Life) -> None:
        call.progress({"progress": records.progress(name, life)})

    return report


def _need_more(call: Call) -> None:
    """Refuse a call that streams from a client that expects one reply."""
    if not call.request.more:
        raise parameters.InvalidParameterError("more")
