"""Children that came to us are reaped, and our own are left to whoever waits for them; each in a process of its own."""

from __future__ import annotations

from textwrap import dedent

from servers import python

_BEGIN = """
import os, signal, subprocess, sys, threading, time
import psutil
from pgsupervisor.system import offspring
from pgsupervisor.system.process import Process, run, spawn

def grandchild():
    '''Start a program whose parent ends at once, and return its pid.'''
    script = "sleep 1000 >&- 2>&- & echo $!"
    return int(run(["sh", "-c", script], environment=os.environ).stdout)

def children():
    return {child.pid for child in psutil.Process().children()}
"""


def play(code: str) -> str:
    """Run code after `_BEGIN`, and return what it printed."""
    finished = python(_BEGIN + dedent(code))
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_orphans_come_to_us() -> None:
    """What outlives its parent becomes our child, and is reaped when it has ended and not before."""
    play("""
        offspring.adopt_orphans()
        orphan = grandchild()
        with Process(orphan) as held:
            offspring.reap_orphans()
            assert children() == {orphan}
            held.signal(signal.SIGKILL)
            assert held.wait(20)
        offspring.reap_orphans()
        assert children() == set()
    """)


def test_our_own_are_not_reaped() -> None:
    """A program of ours that has ended keeps its exit status for whoever asks; then those behind it are reaped."""
    play("""
        offspring.adopt_orphans()
        with open(os.devnull, "wb") as nowhere:
            ours = spawn(["sh", "-c", "exit 7"], environment=os.environ, output=nowhere.fileno())
        with Process(ours.pid) as held:
            assert held.wait(20)
        orphan = grandchild()
        with Process(orphan) as held:
            held.signal(signal.SIGKILL)
            assert held.wait(20)
        offspring.reap_orphans()
        assert ours.wait() == 7
        offspring.reap_orphans()
        assert children() == set()
    """)


def test_a_host_application_keeps_its_children() -> None:
    """Without `adopt_orphans` nothing is reaped: a program that only uses the library has children of its own."""
    play("""
        child = subprocess.Popen(["sh", "-c", "exit 7"])
        with Process(child.pid) as held:
            assert held.wait(20)
        run(["true"], environment=os.environ)
        offspring.reap_orphans()
        assert child.wait() == 7
    """)


def test_no_status_is_lost_in_a_crowd() -> None:
    """However many programs are started and reaped at once, each hears its own exit status."""
    play("""
        offspring.adopt_orphans()
        signal.signal(signal.SIGCHLD, lambda *_: threading.Thread(target=offspring.reap_orphans).start())
        wrong = []
        def work(number):
            for _ in range(20):
                status = run(["sh", "-c", f"(exit 0) & exit {number}"], environment=os.environ).returncode
                if status != number:
                    wrong.append((number, status))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == [], wrong
    """)
