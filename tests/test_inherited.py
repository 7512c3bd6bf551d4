"""Children of another program in the same process: ours, though subprocess knows nothing of them."""

from __future__ import annotations

from servers import python

_CODE = """
import os
from pgsupervisor.system import offspring
from pgsupervisor.system.process import Process

offspring.adopt_orphans()
for command in ("exit 3", "kill -9 $$", "exit 0"):
    child = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
    inherited = offspring.Inherited(child)
    with Process(child) as held:
        assert held.wait(20)
    offspring.reap_orphans()
    print(inherited.wait(), inherited.wait())
stranger = os.posix_spawn("/bin/true", ["true"], os.environ)
with Process(stranger) as held:
    assert held.wait(20)
offspring.reap_orphans()
try:
    offspring.Inherited(stranger).wait()
except ChildProcessError:
    print("no child")
"""


def test_how_an_inherited_child_ended() -> None:
    """Its exit status is kept for us, as that of a child that we started; no other child is hidden by it."""
    finished = python(_CODE)
    assert (finished.stdout, finished.stderr) == ("3 3\n-9 -9\n0 0\nno child\n", "")
