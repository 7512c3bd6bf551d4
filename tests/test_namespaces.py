"""How much of the machine is seen from here, by the word of the kernel's own tools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from containers import CONTAINER, first_of, need_containers
from daemons import ROOT

from pgsupervisor.system import namespaces
from pgsupervisor.system.process import Process


def test_up_since() -> None:
    """This machine came up before the tests began."""
    assert 0 < namespaces.up_since() < time.time()


def test_known_as() -> None:
    """A process in no other container than we is known by the number that we have for it."""
    assert (os.getpid() in namespaces.known_as(os.getpid()), namespaces.known_as(999999999)) == (True, [])


_CALLED = """
open("/proc/self/comm", "wb").write(bytes.fromhex("{}"))
print("named", flush=True)
input()
"""
"""A program that gives itself a name."""


@pytest.mark.parametrize("name", [f"x{end}NSpid:\tx".encode() for end in "\n\r\v\f\x1c\x85\u2028"] + [b"\xff"])
def test_a_name_that_looks_like_a_line(name: bytes) -> None:
    """What a process calls itself is no line of what the kernel says of it."""
    program = [sys.executable, "-c", _CALLED.format(name.hex())]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"named\n"
        assert Path(f"/proc/{process.pid}/comm").read_bytes() == name + b"\n"
        assert process.pid in namespaces.known_as(process.pid)
        with Process(process.pid) as held:
            assert held.catches(signal.SIGHUP) is False
        process.kill()


def test_from_outside() -> None:
    """The first process of a container is known as what it is inside."""
    need_containers()
    with subprocess.Popen([*CONTAINER, "sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE) as container:
        assert container.stdout is not None
        assert container.stdout.readline() == b"up\n"
        assert first_of(container.pid) in namespaces.known_as(1)
        container.kill()


def test_from_inside() -> None:
    """In a container nothing is seen of what is outside, and what is before its time cannot be known."""
    need_containers()
    look = """
from pgsupervisor.system.namespaces import known_as, sees_every_process, up_since
print(sees_every_process(), known_as(1), up_since())
"""
    begun = time.time() - 1  # more than the kernel's clock tick
    seen = subprocess.run(
        [*CONTAINER, sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    every, first, since = seen.stdout.split()
    assert (every, first, float(since) > begun) == ("False", "[1]", True)
