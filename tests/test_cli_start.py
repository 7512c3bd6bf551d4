"""What a start of pgsupctl does not do, so that it takes no longer than it must."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fake_daemon import FakeDaemon, reply, says

SHOP = {"name": "shop", "yours": True, "state": "RUNNING", "wanted": True, "since": 0.0, "pid": 1, "port": 5432}
ANSWER = reply(clusters=[{**SHOP, "version": None, "restarts": 0, "reason": "", "standby": False}])

_PROGRAM = """
import sys
before = set(sys.modules)
compiled = []

def heard(event, facts):
    # A named tuple's own `__new__` is a text of Python's, which it cannot do without.
    if event == "compile" and facts[1] == "<string>" and not facts[0].startswith(b"lambda _cls"):
        compiled.append(facts[0])

sys.addaudithook(heard)
from pgsupervisor.cli.main import main
assert main(sys.argv[1:]) == 0
assert not compiled, compiled
slow = {"asyncio", "contextlib", "dataclasses", "importlib", "inspect", "msgspec", "socket", "textwrap", "typing"}
assert not slow & (sys.modules.keys() - before), slow & sys.modules.keys()
import gc
assert gc.isenabled() and gc.get_freeze_count()
"""


def test_what_takes_long(tmp_path: Path) -> None:
    """`pgsupctl status` compiles no text, such as annotations that are kept as text, and imports nothing large.

    What it has imported is not looked through for garbage.
    """
    path = str(tmp_path / "control")
    with FakeDaemon(path, {"GetStatus": says(ANSWER)}):
        subprocess.run([sys.executable, "-c", _PROGRAM, "-s", path, "status"], check=True)
