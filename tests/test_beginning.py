"""How the daemon's program begins, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BEGUN = """
import pgsupervisor.daemon.main
import asyncio, gc, sys
assert not gc.isenabled()
assert not {"ssl", "_ssl"} & sys.modules.keys()
assert asyncio.sslproto.ssl is None
import ssl
assert ssl.create_default_context()
"""

_READY = """
import pgsupervisor.daemon.main as main
import asyncio, gc, os, signal, sys

def ready():
    assert gc.isenabled() and gc.get_freeze_count()
    os.kill(os.getpid(), signal.SIGTERM)

events = main.Events()
inventory = main.load(sys.argv[1])
asyncio.run(main.serve(inventory, main.logger("json", events), events, ready=ready))
"""


def _run(program: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)


def test_what_the_daemon_does_not_need() -> None:
    """The daemon begins without collecting garbage and without TLS, which is there all the same for who wants it."""
    _run(_BEGUN)


def test_garbage_is_collected_once_the_clusters_are_taken_in(tmp_path: Path) -> None:
    """A daemon that serves collects garbage, of what was made since."""
    inventory = tmp_path / "inventory.toml"
    inventory.write_text(f'[daemon]\nsocket = "{tmp_path}/control"\nlog_directory = "{tmp_path}/log"\n')
    _run(_READY, str(inventory))


def test_only_the_program_begins_so() -> None:
    """Whoever imports the daemon's parts has a collector as before, and asyncio as before."""
    _run("import pgsupervisor.daemon.service, asyncio, gc; assert gc.isenabled(); assert asyncio.sslproto.ssl")
