"""A postmaster as its keeper has it, without a keeper: one fact for each thing that happens to a real server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from signal import Signals

from daemons import LIMIT
from fakes import SPEC
from machine import SERVER_USER
from servers import owner_name

from pgsupervisor.daemon.hosting import HostedPostmaster
from pgsupervisor.daemon.installations import Installations
from pgsupervisor.daemon.log import HostedLog
from pgsupervisor.inventory import InstallationSpec
from pgsupervisor.postgres import Cluster
from pgsupervisor.supervision.life import Exited, Fact, Spawned
from pgsupervisor.system.watch import Watcher


def test_a_start_whose_turn_comes_when_a_server_was_just_found(cluster: Cluster, short_directory: Path) -> None:
    """A server that is held already is not taken a second time: it comes up once, and ends once."""
    cluster.start()
    cluster.wait_until_started()  # before that, it may not yet be there to be found
    process = cluster.postmaster()
    assert process is not None

    async def world(asking: ThreadPoolExecutor) -> list[Fact]:
        facts: list[Fact] = []
        ended = asyncio.Event()

        def post(fact: Fact) -> None:
            facts.append(fact)
            if isinstance(fact, Exited):
                ended.set()

        watcher = Watcher(asyncio.get_running_loop())
        described = replace(
            SPEC,
            installation=InstallationSpec(name="pg", bindir=cluster.installation.bindir),
            data_directory=cluster.data_directory,
            user=owner_name(SERVER_USER),
            logfile=str(short_directory / "a.log"),
        )
        log = HostedLog(described, watcher, asking, lambda _: None)
        postmaster = HostedPostmaster(described, post, watcher, Installations(), asking=asking, log=log, ground="none")
        await postmaster.find()
        await postmaster.spawn()
        postmaster.signal(Signals.SIGINT)
        await asyncio.wait_for(ended.wait(), LIMIT)
        postmaster.release()
        watcher.close()
        return facts

    with process, ThreadPoolExecutor() as asking:
        facts = asyncio.run(world(asking))
        assert [each for each in facts if isinstance(each, Spawned)] == [Spawned(process.pid)]
        assert len([each for each in facts if isinstance(each, Exited)]) == 1
