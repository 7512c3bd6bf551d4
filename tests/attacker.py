"""What a stranger does to the daemon: a program of its own, as another user, that goes on until it is ended.

    python attacker.py ATTACK SOCKET UID GID

It prints a line when the attack has come to what its table says is enough. What it needs is imported before it becomes
somebody else, who might not be able to read it; for the same reason, it imports nothing of ours.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import selectors
import socket
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple


def request(method: str, *, more: bool = False, **parameters: object) -> bytes:
    """Return a request."""
    asked = {"method": f"io.pgsupervisor.{method}", "parameters": parameters, "more": more}
    return json.dumps(asked).encode() + b"\0"


def over_and_over(*said: bytes) -> Callable[[], Iterator[bytes]]:
    """Return who says this again and again."""
    return lambda: itertools.cycle(said)


def a_byte_at_a_time(said: bytes) -> Callable[[], Iterator[bytes]]:
    """Return who says this in as many pieces as it has bytes."""
    return lambda: (bytes((each,)) for each in itertools.cycle(said))


class Attack(NamedTuple):
    """So many connections, each of which says what `words` yields; lost ones are made anew.

    Full swing is when so many bytes were sent (`enough`), or else when all connections were made.
    """

    connections: int
    words: Callable[[], Iterator[bytes]] = over_and_over()
    reads: bool = True
    enough: int = 0


_NESTED = b'{"method":"io.pgsupervisor.GetStatus","parameters":' + b'{"a":[' * 10_000 + b"\0"
_LONG = b'{"method":"io.pgsupervisor.Update","parameters":{"a":[' + b"[]," * 20_000 + b"[]]}}\0"
_GLOBS = ["*a" * 60 + f"{number}*" for number in range(16)]
_ODD = (
    request("GetStatus", names=["../../etc/passwd", "a\0b", "a\nb", "\x1b[2J"]),
    request("Monitor", names=[], past=10**30),
    b'{"method":"\xff\xfe"}\0',
)

ATTACKS = {
    "crowd": Attack(10_000),
    "busy": Attack(64, over_and_over(request("GetStatus", names=[]) * 20), enough=2**20),
    "globs": Attack(64, over_and_over(request("GetStatus", names=["all"] * 4000 + _GLOBS)), enough=2**24),
    "events": Attack(64, over_and_over(request("Monitor", names=[], past=1000)), enough=2**16),
    "slow bytes": Attack(64, a_byte_at_a_time(request("GetStatus", names=[])), enough=2**20),
    "no NUL": Attack(64, over_and_over(b"x" * 2**16), enough=2**30),
    "nested": Attack(64, over_and_over(_NESTED), enough=2**24),
    "long": Attack(64, over_and_over(_LONG), enough=2**24),
    "odd": Attack(64, over_and_over(*_ODD), enough=2**16),
    "never reads": Attack(64, over_and_over(request("GetStatus", names=[]) * 20), reads=False),
    "never reads events": Attack(64, over_and_over(request("Monitor", more=True, names=[], past=1000)), reads=False),
    "never reads a log": Attack(64, over_and_over(request("GetLog", names=["shop"], lines=10**6)), reads=False),
    "never reads logs": Attack(
        64, over_and_over(request("GetLog", more=True, names=["shop"], lines=10**6, follow=True)), reads=False
    ),
}


def main(name: str, path: str, uid: int, gid: int) -> None:
    """Attack until we are ended."""
    attack = ATTACKS[name]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _go_on(attack, path)


def _go_on(attack: Attack, path: str) -> None:
    selector, sent, told = selectors.DefaultSelector(), 0, False
    for _ in range(attack.connections):
        _come(selector, attack, path)
    while True:
        if not told and sent >= attack.enough:
            told = True
            sys.stdout.write("in full swing\n")
            sys.stdout.flush()
        for key, ready in selector.select():
            one, said = key.fileobj, key.data
            try:
                if ready & selectors.EVENT_READ and attack.reads and not one.recv(2**16):
                    raise ConnectionResetError
                if ready & selectors.EVENT_WRITE:
                    said.rest = said.rest or next(said.words)
                    count = one.send(said.rest)
                    said.rest = said.rest[count:]
                    sent += count
            except StopIteration:
                selector.modify(one, selectors.EVENT_READ, said)
            except OSError:
                selector.unregister(one)
                one.close()
                _come(selector, attack, path)


class _Said:
    def __init__(self, words: Iterator[bytes]) -> None:
        self.words = words
        self.rest = b""


def _come(selector: selectors.BaseSelector, attack: Attack, path: str) -> None:
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    one.setblocking(False)  # noqa: FBT003  # the standard library's
    events = selectors.EVENT_READ | selectors.EVENT_WRITE if attack.reads else selectors.EVENT_WRITE
    selector.register(one, events, _Said(attack.words()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
