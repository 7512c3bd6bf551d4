"""A thousand clusters: small programs in the place of servers (`postmaster.c`), everything else as it is.

Their data directories have all that a daemon reads of one, as initdb made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.answering import Judge
from benchmarks.daemon import running
from benchmarks.figures import Figure, Goal
from benchmarks.ground import FIRST_PORT, Ground, Server, listen, new_ground
from benchmarks.hosts import ours, whole

from pgsupervisor.postgres import Installation

COUNTS = (10, 100, 1000)

ROUNDS = 1

SETTLED = 20.0

QUESTIONS = 10

_READ = (
    "PG_VERSION",
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "global/pg_control",
)


@dataclass
class Found:
    """What was measured with some number of clusters: seconds, seconds of CPU, bytes, threads, seconds."""

    boots: list[float]
    work: list[float]
    memory: list[float]
    threads: list[float]
    status: list[float]


def many(judge: Judge) -> list[Figure]:
    """Measure the daemon's own work with ten, a hundred and a thousand clusters."""
    with small_programs(COUNTS[-1]) as ground:
        found = {count: Found([], [], [], [], []) for count in COUNTS}
        for number in range(ROUNDS):
            for count in COUNTS:
                print(f"round {number + 1} of {ROUNDS}, {count} clusters", file=sys.stderr)
                asyncio.run(_measure(judge, ground.few(count), found[count]))
    return _figures(found)


async def _measure(judge: Judge, ground: Ground, found: Found) -> None:
    host = ours(ground)
    async with running(host, judge, ground) as daemon:
        found.boots.append(daemon.boot)
        await asyncio.sleep(SETTLED)
        found.work.append(daemon.used)
        found.memory.append(daemon.memory)
        found.threads.append(daemon.threads)
        found.status += [whole(host.status) for _ in range(QUESTIONS)]


def _figures(found: dict[int, Found]) -> list[Figure]:
    few, some, most = COUNTS
    work = {count: statistics.median(each.work) for count, each in found.items()}
    each_of_some = 1000 * (work[some] - work[few]) / (some - few)
    each_of_most = 1000 * (work[most] - work[some]) / (most - some)
    status = 1000 * statistics.median(found[most].status)
    return [
        Figure(
            "work of the daemon itself until all clusters run",
            "s of CPU",
            {f"{count} clusters": each.work for count, each in found.items()},
            [
                Goal(f"ms a cluster, from {few} to {some}", each_of_some, at_most=2),
                Goal(f"ms a cluster, from {some} to {most}", each_of_most, at_most=2),
                Goal("the latter / the former", each_of_most / each_of_some, at_most=1.2),
            ],
        ),
        Figure(
            "pgsupctl status, whole process",
            "s",
            {f"{count} clusters": each.status for count, each in found.items()},
            [Goal(f"ms with {most} clusters", status, at_most=300)],
        ),
        Figure(
            "memory of the daemon with small programs for servers (VmRSS)",
            "MB",
            {f"{count} clusters": [each / 1e6 for each in kept.memory] for count, kept in found.items()},
            [],
        ),
        Figure("threads of the daemon", "", {f"{count} clusters": each.threads for count, each in found.items()}, []),
    ]


@contextlib.contextmanager
def small_programs(count: int) -> Iterator[Ground]:
    """Have so many data directories, and an installation whose server is a small program."""
    with new_ground(1) as ground:
        bindir = ground.directory / "bin"
        _install(ground.installation, bindir)
        installation = Installation.from_bindir(bindir)
        (real,) = ground.servers
        servers = []
        for number in range(1, count + 1):
            server = Server(f"m{number:04}", ground.directory / f"m{number:04}", FIRST_PORT + number)
            _copy(real.data_directory, server.data_directory)
            listen(server)
            servers.append(server)
        yield Ground(ground.directory, ground.door, installation, tuple(servers))


def _install(real: Installation, bindir: Path) -> None:
    bindir.mkdir(mode=0o755)
    for program in Path(real.bindir).iterdir():
        if program.name not in {"postgres", "pg_config"}:
            (bindir / program.name).symlink_to(program)
    source = Path(__file__).with_name("postmaster.c")
    version = real.version.split()[1]
    made = ["cc", "-O1", f'-DVERSION="{version}"', "-o", str(bindir / "postgres"), str(source)]
    subprocess.run(made, check=True)


def _copy(real: Path, path: Path) -> None:
    for name in _READ:
        target = path / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy2(real / name, target)
        for made in (target, target.parent, path):
            _give(made, real)


def _give(path: Path, like: Path) -> None:
    facts = like.stat()
    shutil.chown(path, facts.st_uid, facts.st_gid)
