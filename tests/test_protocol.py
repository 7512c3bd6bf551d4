"""The wire: frames come out as they went in, messages survive the way, and nothing but our own error comes out."""

from __future__ import annotations

import importlib
import json
import warnings
from importlib import resources
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsupervisor.control import protocol
from pgsupervisor.control.protocol import FrameReader, Reply, Request
from pgsupervisor.errors import MalformedMessageError

TEXTS = st.text(st.characters(codec="utf-8"))
LOG_TEXTS = st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


QUICKLY = settings(max_examples=40)


def values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    """Return whatever JSON can say and Varlink allows."""
    return st.recursive(
        st.none() | st.booleans() | NUMBERS | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=8,
    )


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes into chunks, at places that are taken modulo the length."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def read(chunks: list[bytes], limit: int) -> tuple[list[bytes], bool]:
    """Return the frames that a reader finds, and whether it came upon one that is too long."""
    reader = FrameReader(limit)
    frames = []
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while (frame := reader.next()) is not None:
                frames.append(frame)
    except MalformedMessageError:
        return frames, True
    return frames, False


def frames_by_definition(data: bytes, limit: int) -> tuple[list[bytes], bool]:
    """Return what a reader must find: what NULs end, up to the first that is too long."""
    *ended, rest = data.split(b"\0")
    fitting = [frame for frame in ended if len(frame) <= limit]
    if fitting != ended:
        return ended[: next(number for number, frame in enumerate(ended) if len(frame) > limit)], True
    return ended, len(rest) > limit


@given(data=st.lists(st.just(b"\0") | st.binary(max_size=12)).map(b"".join), places=st.lists(st.integers(0)))
def test_frames_do_not_depend_on_how_they_arrive(data: bytes, places: list[int]) -> None:
    """The same frames come out however the stream was cut, and the first too long one ends them."""
    assert read(cut(data, places), limit=8) == frames_by_definition(data, limit=8)


def test_the_longest_frame_is_read_and_one_byte_more_is_refused() -> None:
    """A bound is a bound: also for a frame that is complete already, and for one that never ends."""
    assert read([b"x" * 10 + b"\0"], limit=10) == ([b"x" * 10], False)
    assert read([b"x" * 11 + b"\0"], limit=10) == ([], True)
    assert read([b"x" * 10, b"x"], limit=10) == ([], True)


@given(
    method=TEXTS.filter(bool),
    parameters=st.dictionaries(TEXTS, values(TEXTS)),
    more=st.booleans(),
    oneway=st.booleans(),
)
@QUICKLY
def test_requests_survive_the_way(method: str, parameters: dict[str, object], *, more: bool, oneway: bool) -> None:
    """A request is read as it was written, in one frame."""
    request = Request(method, parameters, more, oneway)
    assert [protocol.decode_request(frame) for frame in read([protocol.encode_request(request)], 2**20)[0]] == [request]


@given(
    parameters=st.dictionaries(LOG_TEXTS, values(LOG_TEXTS)),
    continues=st.booleans(),
    error=st.none() | TEXTS.filter(bool),
)
@QUICKLY
def test_replies_survive_the_way(parameters: dict[str, object], error: str | None, *, continues: bool) -> None:
    """A reply is read as it was written, also with the bytes of a log that are no UTF-8."""
    reply = Reply(parameters, continues, error)
    assert [protocol.decode_reply(frame) for frame in read([protocol.encode_reply(reply)], 2**20)[0]] == [reply]


def test_what_is_written() -> None:
    """On the wire is plain Varlink: ASCII, ended by NUL, without what is not said."""
    assert protocol.encode_request(Request("a.B", {"é": 1})) == b'{"method":"a.B","parameters":{"\\u00e9":1}}\0'
    assert (
        protocol.encode_request(Request("a.B", {}, more=True, oneway=True))
        == b'{"method":"a.B","parameters":{},"more":true,"oneway":true}\0'
    )
    assert protocol.encode_reply(Reply({"text": "\udcff"})) == b'{"parameters":{"text":"\\udcff"}}\0'
    assert (
        protocol.encode_reply(Reply({}, continues=True, error="a.E"))
        == b'{"parameters":{},"continues":true,"error":"a.E"}\0'
    )


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (b'{"method":"a.B"}', Request("a.B", {})),
        (b'{"method":"a.B","parameters":null}', Request("a.B", {})),
        (b' { "method" : "a.B", "later": [1], "more": true } ', Request("a.B", {}, more=True)),
        (b'{"method":"a.B","parameters":{"n":-9223372036854775808}}', Request("a.B", {"n": -(2**63)})),
    ],
)
def test_requests_of_others_are_read(written: bytes, read_as: Request) -> None:
    """What other implementations leave out, add or space differently is no mistake."""
    assert protocol.decode_request(written) == read_as


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (b"", "no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[]", "no JSON object"),
        (b"\xff", "no UTF-8"),
        (b'\xef\xbb\xbf{"method":"a.B"}', "no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"method":"a.B"}\0', "no JSON: Extra data: line 1 column 17 (char 16)"),
        (b"{}", "`method` is no string or empty"),
        (b'{"method":""}', "`method` is no string or empty"),
        (b'{"method":1}', "`method` is no string or empty"),
        (b'{"method":"a.B","parameters":[]}', "`parameters` is no object"),
        (b'{"method":"a.B","more":1}', "`more` is no boolean"),
        (b'{"method":"a.B","oneway":null}', "`oneway` is no boolean"),
        (b'{"method":"a.B","method":"a.C"}', "a key twice"),
        (b'{"method":"a.B","parameters":{"n":[{"x":1,"x":1}]}}', "a key twice"),
        (b'{"method":"a.B","n":NaN}', "NaN is no JSON"),
        (b'{"method":"a.B","n":-Infinity}', "-Infinity is no JSON"),
        (b'{"method":"a.B","n":1e999}', "a number that is not finite"),
        (b'{"method":"a.B","n":9223372036854775808}', "an integer that does not fit 64 bits"),
        (b'{"method":"a.B","n":' + b"9" * 60_000 + b"}", "an integer that does not fit 64 bits"),
        (b'{"method":"a.B","n":' + b"[" * 60_000, "nested too deeply"),
        (b'{"method":"a.B","parameters":{"n":"\\udc80"}}', "a lone surrogate"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_what_is_no_request_is_refused(written: bytes, why: str) -> None:
    """Each kind of nonsense is refused by our own error, which says what is wrong."""
    with pytest.raises(MalformedMessageError) as caught:
        protocol.decode_request(written)
    assert caught.value.why == why


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="`error` is no string or empty"):
        protocol.decode_reply(b'{"error":1}')
    with pytest.raises(MalformedMessageError, match="`continues` is no boolean"):
        protocol.decode_reply(b'{"continues":"yes"}')


NEARLY_MESSAGES = st.dictionaries(
    st.sampled_from(["method", "parameters", "more", "oneway", "continues", "error"]) | TEXTS,
    values(st.text(st.characters())) | st.floats() | st.integers(),
).map(lambda message: json.dumps(message).encode())


@given(st.binary() | NEARLY_MESSAGES | st.tuples(NEARLY_MESSAGES, st.binary()).map(b"".join))
def test_nothing_but_our_error_comes_out(frame: bytes) -> None:
    """Whatever a stranger sends, it is a message or a MalformedMessageError; and a message can be written again."""
    for decode in (protocol.decode_request, protocol.decode_reply):
        try:
            message = decode(frame)
        except MalformedMessageError:
            continue
        if isinstance(message, Request):
            protocol.encode_request(message)
        else:
            protocol.encode_reply(message)


def test_a_method_knows_its_interface() -> None:
    assert [Request(method, {}).interface for method in ("io.pgsupervisor.Stop", "Stop")] == ["io.pgsupervisor", ""]


@pytest.fixture(scope="module")
def varlink() -> ModuleType:
    """Import the independent implementation; compiling it for the first time warns of its string escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("varlink")


@pytest.mark.parametrize("name", [protocol.SERVICE, protocol.INTERFACE])
def test_interfaces_are_shipped_and_valid(varlink: ModuleType, name: str) -> None:
    """The independent implementation reads our interface files, and knows every error that we name."""
    interface = varlink.Interface(protocol.interface_description(name))
    assert interface.name == name
    named = {
        value.rpartition(".")[2]
        for value in vars(protocol).values()
        if isinstance(value, str) and value.rpartition(".")[0] == name
    }
    errors = {member for member, kind in interface.members.items() if type(kind).__name__ == "_Error"}
    assert named == errors


def test_the_service_interface_is_the_published_one(varlink: ModuleType) -> None:
    published = (resources.files(varlink) / f"{protocol.SERVICE}.varlink").read_text(encoding="utf-8")
    assert protocol.interface_description(protocol.SERVICE) == published


def test_an_unknown_interface_has_no_description() -> None:
    with pytest.raises(KeyError):
        protocol.interface_description("../secret")
