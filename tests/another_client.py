"""The client of the Varlink project, which knows nothing of us but what our interface says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from control import LIMIT, Door

ANOTHER_CLIENT = """
import json, sys, varlink
address, method, parameters = sys.argv[1:]
with varlink.Client.new_with_address(address) as client, client.open("io.pgsupervisor") as door:
    print(json.dumps(getattr(door, method)(**json.loads(parameters))))
"""


async def another_client(door: Door, method: str, parameters: object) -> object:
    """Ask with the client of the Varlink project, which holds us to our interface: it drops what that does not name.

    It refuses what has another type, and leaves out what is null.
    """
    command = [sys.executable, "-c", ANOTHER_CLIENT, f"unix:{door.path}", method, json.dumps(parameters)]
    finished = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def without_nulls(value: object) -> object:
    """Return what is left of a JSON value: in Varlink, what is null might as well not be there."""
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value
