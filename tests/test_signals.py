"""Signals: told in the loop in their order, and told by the next program if this one did not come to it."""

from __future__ import annotations

from servers import python

_TWO_PROGRAMS = """
import asyncio, os, signal, sys
from pgsupervisor.system.signals import HEARD, SignalPipe

async def listen():
    inherited = tuple(map(int, sys.argv[1:])) or None
    with SignalPipe(inherited) as signals:
        if inherited is None:
            os.kill(os.getpid(), signal.SIGTERM)  # caught, and not told
            signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
            os.kill(os.getpid(), signal.SIGHUP)  # not even caught
            for descriptor in signals.descriptors:
                os.set_inheritable(descriptor, True)
            os.execv(sys.executable, [*sys.orig_argv, *map(str, signals.descriptors)])
        os.kill(os.getpid(), signal.SIGINT)
        heard, all_heard = [], asyncio.Event()
        def told(number):
            heard.append(number.name)
            if len(heard) == 3:
                all_heard.set()
        signals.listen(told)
        await asyncio.wait_for(all_heard.wait(), 30)
        print(*heard, signal.pthread_sigmask(signal.SIG_BLOCK, ()), flush=True)

asyncio.run(listen())
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_no_signal_is_lost_between_two_programs() -> None:
    """A signal that was caught and not told, or came while nobody had a handler, is told by the next program.

    Nothing is blocked then; and when all is over, a signal does what it does to anybody.
    """
    finished = python(_TWO_PROGRAMS)
    assert (finished.returncode, finished.stdout, finished.stderr) == (-15, "SIGTERM SIGHUP SIGINT set()\n", "")
