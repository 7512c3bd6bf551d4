"""A fuzzer of pgsupctl: whatever answers at the socket, it prints something and ends, or says what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import get_args, get_origin, get_type_hints

import pytest
from fake_daemon import FakeDaemon
from fuzzing import NUMBERS, TEXTS, examples
from hypothesis import given
from hypothesis import strategies as st
from machine import make_directory, remove_directory

from pgsupervisor.cli import answers
from pgsupervisor.cli.main import main
from pgsupervisor.control import protocol

SAID = TEXTS | st.sampled_from(("RUNNING", "a", "\ud800", "\udcff", "5 log/x", "warning"))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | SAID,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAID, inner, max_size=3),
    max_leaves=4,
)


def of(kind: object) -> st.SearchStrategy[object]:
    """Return values of a type of the answers."""
    arguments = get_args(kind)
    if isinstance(kind, type) and kind.__module__ == answers.__name__:
        return st.fixed_dictionaries({key: of(each) for key, each in get_type_hints(kind).items()})
    if get_origin(kind) is list:
        return st.lists(of(arguments[0]), max_size=2)
    if get_origin(kind) is dict:
        return st.dictionaries(SAID, VALUES, max_size=3)
    if arguments:
        return st.one_of(*map(of, arguments))
    numbers = st.integers(-(2**63), 2**63 - 1)
    plain = {str: SAID, bool: st.booleans(), int: numbers, float: st.floats(allow_nan=False, allow_infinity=False)}
    return plain.get(kind, st.none() if kind is type(None) else VALUES)


ERRORS = st.sampled_from(
    sorted(value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, str))
)


def message(parameters: object, error: object, continues: object) -> bytes:
    """Return the bytes of a reply, also of one that is none."""
    said = {"parameters": parameters, "error": error, "continues": continues}
    return json.dumps({key: value for key, value in said.items() if value is not None}).encode() + b"\0"


def replies(kind: type) -> st.SearchStrategy[bytes]:
    """Return replies: answers of a kind, those that are nearly such, and nonsense."""
    answer = of(kind)
    more = st.none() | st.booleans()
    nearly = st.builds(lambda one, other: {**one, **other}, answer, st.dictionaries(st.sampled_from(KEYS), VALUES))
    return (
        st.builds(message, answer, st.none(), more)
        | st.builds(message, nearly, st.none() | ERRORS, more)
        | st.builds(message, VALUES, VALUES, VALUES)
        | st.binary(max_size=20)
        | st.sampled_from((b"[" * 50_000 + b"\0", b'{"parameters":' + b'{"a":' * 900 + b"1" + b"}" * 901 + b"\0"))
    )


KEYS = ("clusters", "name", "position", "since", "facts", "events", "outcomes", "progress", "settings", "why", "text")

COMMANDS: tuple[tuple[str, type], ...] = (
    ("status", answers.Clusters),
    ("status --watch", answers.Clusters),
    ("start a", answers.Ordered),
    ("stop all --no-wait", answers.Ordered),
    ("kill a", answers.Ordered),
    ("events", answers.Happened),
    ("events --follow", answers.Happened),
    ("logs a", answers.Clusters),
    ("logs a", answers.LogPiece),
    ("config a get", answers.Settings),
    ("config a diff", answers.Settings),
    ("config a check", answers.Problems),
    ("config a set work_mem=1", answers.Ordered),
    ("update", answers.Ordered),
    ("daemon info", answers.Daemon),
    ("daemon stop", answers.Ordered),
    ("daemon upgrade", answers.Upgraded),
)
SCENES = st.sampled_from(COMMANDS).flatmap(
    lambda command: st.tuples(st.just(command[0]), st.lists(replies(command[1]), min_size=1, max_size=3))
)


class Stranger(FakeDaemon):
    """Answers the same to whatever it is asked: the replies that are `said`, one after the other, and then nothing."""

    def __init__(self, path: str) -> None:
        super().__init__(path, dict.fromkeys(METHODS, self.answer))
        self.said: Sequence[bytes] = ()

    def answer(self, _parameters: object) -> Iterator[bytes | None]:
        """Say all of it, and hang up."""
        yield from self.said
        yield None


METHODS = {
    "GetStatus", "GetDaemon", "Monitor", "Start", "Stop", "Kill", "Update", "GetLog", "GetConfiguration",
    "CheckConfiguration", "SetConfiguration", "StopDaemon", "UpgradeDaemon",
}  # fmt: skip


@pytest.fixture(scope="module")
def stranger() -> Iterator[Stranger]:
    """Something that listens where a daemon would."""
    directory = make_directory()
    with Stranger(str(directory / "control")) as listening:
        yield listening
    remove_directory(directory)


@given(scene=SCENES, options=st.sampled_from(((), ("--json",))))
@examples(60)
def test_whatever_answers(stranger: Stranger, scene: tuple[str, Sequence[bytes]], options: Sequence[str]) -> None:
    """It ends with an exit status, and without a traceback."""
    command, stranger.said = scene
    if command == "logs a":
        stranger.said = [message({"clusters": []}, None, None), *stranger.said]
    output, errors = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO(), errors="backslashreplace")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = main(["-s", stranger.path, *options, *command.split()])
    errors.flush()
    complaint = errors.buffer.getvalue()
    assert (status in {0, 1, 3, 4}, complaint.count(b"\n") <= 3) == (True, True), complaint
    assert b"\x1b" not in complaint
    if not command.startswith("logs"):
        output.flush()
        assert b"\x1b" not in output.buffer.getvalue()
