"""`pgsupervisord --demo`: two clusters in a temporary directory, to try things on; nothing remains of it.

It is an ordinary daemon with an ordinary inventory, which it prints, so that one can see how little there is to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import cast

from pgsupervisor.control.client import Client
from pgsupervisor.daemon.reporting import logger
from pgsupervisor.daemon.service import serve
from pgsupervisor.daemon.staging import server_user, within_reach
from pgsupervisor.errors import ControlError, InstallationError
from pgsupervisor.inventory import load
from pgsupervisor.postgres import discovery
from pgsupervisor.postgres.installation import Installation
from pgsupervisor.supervision.events import Events

_INVENTORY = """\
[daemon]
socket = "{directory}/control"
log_directory = "{directory}/log"

[installations.demo]
bindir = "{bindir}"

[defaults]
installation = "demo"
init = true
{user}
[defaults.settings]
listen_addresses = ""
unix_socket_directories = "{directory}/sockets"
fsync = false  # the data of a demonstration need not outlive it

[clusters.shop]
data_directory = "{directory}/data/shop"
port = 5433

[clusters.blog]
data_directory = "{directory}/data/blog"
port = 5434
"""

_TOUR = """
Two clusters run, on {version}:

  shop   postgresql://{name}@/postgres?host={directory}/sockets&port=5433
  blog   postgresql://{name}@/postgres?host={directory}/sockets&port=5434

Their inventory is {directory}/inventory.toml. Try, in another terminal:

  {ctl} status
  {ctl} restart shop
  {ctl} logs -f 'b*'
  {psql} 'host={directory}/sockets port=5433 user={name} dbname=postgres'
  kill -9 $(head -1 {directory}/data/shop/postmaster.pid); {ctl} status -w

Ctrl-C stops both and removes everything.
"""


def demo() -> int:
    """Run the demonstration until Ctrl-C and return the exit status.

    Raises InstallationError if there is no PostgreSQL to show it with.
    """
    directory = tempfile.mkdtemp(prefix="pgsupervisor-", dir="/tmp")
    try:
        installation, name = _prepare(Path(directory))
        tour = _TOUR.format(
            directory=directory,
            version=installation.version,
            name=name,
            ctl=f"{Path(sys.argv[0]).resolve().parent / 'pgsupctl'} -s {directory}/control",
            psql=installation.require("psql"),
        )
        asyncio.run(_serve(Path(directory), tour))
    finally:
        shutil.rmtree(directory)
        print(f"removed {directory}", file=sys.stderr)  # noqa: T201
    return 0


def _prepare(directory: Path) -> tuple[Installation, str]:
    """Lay out the directory; return the installation to use, and the name of the user that the servers run as.

    Raises InstallationError if there is no PostgreSQL that this user could run.
    """
    found = discovery.embedded() or next(reversed(discovery.discover()), None)
    if found is None:
        raise InstallationError("no PostgreSQL on this machine; bring one with `pip install 'pgsupervisor[postgres]'`")
    run_as = server_user()
    directory.chmod(0o755)
    for name in ("data", "sockets"):
        (directory / name).mkdir(mode=0o700)
        if run_as is not None:
            os.chown(directory / name, run_as.uid, run_as.gid)
    installation = within_reach(found, run_as, str(directory))
    asked = "" if run_as is None else f'user = "{run_as.name}"\n'
    text = _INVENTORY.format(directory=directory, bindir=installation.bindir, user=asked)
    (directory / "inventory.toml").write_text(text)
    return installation, getpass.getuser() if run_as is None else run_as.name


async def _serve(directory: Path, tour: str) -> None:
    begun = asyncio.Event()
    socket = str(directory / "control")
    inventory = load(str(directory / "inventory.toml"))

    async def show() -> None:
        await begun.wait()
        if await asyncio.to_thread(_all_run, socket):
            print(tour, flush=True)  # noqa: T201  # what the demonstration is for

    showing = asyncio.create_task(show())
    events = Events()
    await serve(inventory, logger(inventory.daemon.log_format, events), events, ready=begun.set)
    showing.cancel()
    await asyncio.gather(showing, return_exceptions=True)


def _all_run(socket: str) -> bool:
    """Wait, as any client would, until both clusters run, and tell whether they do; the log says why not."""
    with contextlib.suppress(ControlError), Client(socket, timeout=None) as client:
        outcomes = cast("list[dict[str, object]]", client.call("Start", names=["all"])["outcomes"])
        return all(outcome["ok"] for outcome in outcomes)
    return False
