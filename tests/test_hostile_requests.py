"""A fuzzer of the control server: whatever is asked, there is an answer, and no mistake of ours.

What is asked is nearly right, so that it gets far: true methods, with parameters that have true names, and values that
are strange, out of range, or meant for something else.
"""

from __future__ import annotations

import asyncio
import json

import fuzzing
from control import LIMIT, Door, Stranger, play
from fuzzing import NUMBERS, examples
from hypothesis import given
from hypothesis import strategies as st

from pgsupervisor.control.protocol import decode_request
from pgsupervisor.errors import MalformedMessageError

TEXTS = st.sampled_from(("a", "b", "all", "*", "work_mem", "8MB", "fast", "smart", "0", "\ud800")) | fuzzing.TEXTS

VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)

NAMES = st.lists(st.sampled_from(("a", "b", "all", "*", "[ab]", "?")), max_size=3) | st.lists(TEXTS, max_size=3)
NAME = st.just("a") | TEXTS
MODE = st.sampled_from(("smart", "fast", "immediate"))

SHAPES: dict[str, dict[str, st.SearchStrategy[object]]] = {
    "org.varlink.service.GetInfo": {},
    "org.varlink.service.GetInterfaceDescription": {"interface": st.just("io.pgsupervisor") | TEXTS},
    "io.pgsupervisor.GetDaemon": {},
    "io.pgsupervisor.GetStatus": {"names": NAMES},
    "io.pgsupervisor.Monitor": {"names": NAMES, "past": NUMBERS, "after": NUMBERS},
    "io.pgsupervisor.Start": {"names": NAMES},
    "io.pgsupervisor.Stop": {"names": NAMES, "mode": MODE, "timeout": NUMBERS},
    "io.pgsupervisor.Restart": {"names": NAMES, "mode": MODE, "timeout": NUMBERS, "force": st.booleans()},
    "io.pgsupervisor.Reload": {"names": NAMES},
    "io.pgsupervisor.Kill": {"names": NAMES},
    "io.pgsupervisor.Update": {"dry_run": st.booleans()},
    "io.pgsupervisor.GetLog": {
        "names": NAMES,
        "lines": NUMBERS,
        "since": NUMBERS,
        "follow": st.booleans(),
        "positions": st.lists(st.fixed_dictionaries({"name": NAME, "position": TEXTS}), max_size=2),
    },
    "io.pgsupervisor.GetConfiguration": {"name": NAME, "keys": st.lists(TEXTS, max_size=3)},
    "io.pgsupervisor.CheckConfiguration": {"name": NAME},
    "io.pgsupervisor.SetConfiguration": {
        "name": NAME,
        "changes": st.lists(st.fixed_dictionaries({"name": TEXTS, "value": TEXTS | st.none()}), min_size=1, max_size=2),
    },
}
"""The methods, and what each takes; without those that end the daemon, or all connections, and so the play."""

REQUIRED = {"names", "name", "keys", "changes", "interface"}


def requests_of(method: str) -> st.SearchStrategy[tuple[str, object, object, object]]:
    """Return requests for a method with all that it must be given, and some of what it may be."""
    shape = SHAPES[method]
    required = {key: values for key, values in shape.items() if key in REQUIRED}
    optional = {key: values for key, values in shape.items() if key not in REQUIRED}
    parameters = st.fixed_dictionaries(required, optional=optional)
    return st.tuples(
        st.just(method), parameters, st.sampled_from((None, None, True)), st.sampled_from((None, None, True))
    )


NONSENSE = st.tuples(
    st.sampled_from(sorted(SHAPES)) | TEXTS,
    st.dictionaries(st.sampled_from(sorted({key for shape in SHAPES.values() for key in shape})) | TEXTS, VALUES)
    | VALUES,
    st.booleans() | VALUES,
    st.booleans() | VALUES,
)

REQUESTS = st.sampled_from(sorted(SHAPES)).flatmap(requests_of) | NONSENSE


def frame(method: str, parameters: object, more: object, oneway: object) -> bytes:
    """Return the bytes of a request, also of one that is none."""
    message = {"method": method, "parameters": parameters}
    message |= {key: value for key, value in (("more", more), ("oneway", oneway)) if value is not None}
    return json.dumps(message).encode()


async def is_answered(one: Stranger, asked: bytes) -> None:
    """See that what is a request gets an answer, and that what is none ends the connection."""
    try:
        request = decode_request(asked)
    except MalformedMessageError:
        assert await one.hear_out() == b""
        return
    if request.oneway or request.more:
        return  # it may have no answer, or not before something happens
    async with asyncio.timeout(LIMIT):
        reply = await one.hear()
    assert set(reply) <= {"parameters", "error"}, reply


@given(asked=st.lists(REQUESTS.map(lambda request: frame(*request)), min_size=1, max_size=10))
@examples(100)
def test_whatever_is_asked(asked: list[bytes]) -> None:
    """Each request is answered, or its connection closed; others are served, and nothing of ours goes wrong."""

    async def scene(door: Door) -> None:
        for name in ("a", "b"):
            await door.until(name, "RUNNING")
        for each in asked:
            one = await door.visit()
            one.say(each + b"\0")
            await is_answered(one, each)
            one.hang_up()
        other = await door.visit()
        assert "parameters" in await other.call("GetDaemon")

    play(scene)
