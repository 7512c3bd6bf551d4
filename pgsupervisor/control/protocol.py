r"""The wire: what a message is, and where it ends. Pure; both sides of the socket use it.

Varlink (https://varlink.org/Method-Call) sends JSON objects, each ended by one NUL byte. A request names a method
as `INTERFACE.METHOD` and carries `parameters`; with `more` it asks for a stream of replies, with `oneway` for
none. A reply carries `parameters`; with `continues` another one follows, with `error` (a full name such as
`org.varlink.service.MethodNotFound`) the parameters are the error's. Requests on one connection are answered in
their order.

Bytes from a socket are a stranger's, so two things are bounded here. `FrameReader` never keeps more than one
frame's limit and what it was last fed. And the decoders accept less than Python's json does: JSON that other
implementations would read otherwise (a key twice, NaN, a number that fits no 64 bits) is no message, and whatever
they are fed, nothing but MalformedMessageError comes out. Varlink knows no reply to what is no message: the
connection is closed.

Everything that is written is ASCII; a string's other characters are escaped (`\u00e9`). That is how a byte of a
log that is no UTF-8 can travel, as a lone surrogate, in bytes that are UTF-8.

This module is part of every start of `pgsupctl`, so it imports nothing that is slow to import.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from pgsupervisor.errors import MalformedMessageError
from pgsupervisor.shapes import NamedTuple

SERVICE = "org.varlink.service"
"""The interface that every Varlink service has: what is this, and what does it offer."""

INTERFACE = "io.pgsupervisor"
"""Our interface."""

INTERFACE_NOT_FOUND = f"{SERVICE}.InterfaceNotFound"
METHOD_NOT_FOUND = f"{SERVICE}.MethodNotFound"
METHOD_NOT_IMPLEMENTED = f"{SERVICE}.MethodNotImplemented"
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"

NO_SUCH_CLUSTER = f"{INTERFACE}.NoSuchCluster"
NOT_PERMITTED = f"{INTERFACE}.NotPermitted"
INVENTORY_INVALID = f"{INTERFACE}.InventoryInvalid"
LOG_NOT_READABLE = f"{INTERFACE}.LogNotReadable"
LOG_LOST = f"{INTERFACE}.LogLost"
LOG_UNTIMED = f"{INTERFACE}.LogUntimed"
UNKNOWN_SETTING = f"{INTERFACE}.UnknownSetting"
CONFIGURATION_REFUSED = f"{INTERFACE}.ConfigurationRefused"
CONFIGURATION_NOT_READABLE = f"{INTERFACE}.ConfigurationNotReadable"
SHUTTING_DOWN = f"{INTERFACE}.ShuttingDown"
UPGRADING = f"{INTERFACE}.Upgrading"
UPGRADE_REFUSED = f"{INTERFACE}.UpgradeRefused"

MAX_REQUEST = 64 * 1024
"""The longest request, in bytes, that a server reads."""

MAX_REPLY = 64 * 1024 * 1024
"""The longest reply, in bytes, that a client reads; the tail of a log may be long."""

_SHALLOW = 100
"""Brackets that a message may have in which nothing can be nested too deeply."""

Parameters = Mapping[str, object]
"""The parameters of a message: what JSON can say, by name."""


class Request(NamedTuple):
    """A call of `method`, which is INTERFACE.METHOD."""

    method: str
    parameters: Parameters
    more: bool = False
    oneway: bool = False

    @property
    def interface(self) -> str:
        """The interface that the method belongs to; empty if the method's name has no dot."""
        return self.method.rpartition(".")[0]


class Reply(NamedTuple):
    """An answer; `continues` says that another follows, `error` is the full name of an error."""

    parameters: Parameters
    continues: bool = False
    error: str | None = None


def encode_request(request: Request) -> bytes:
    """Return the bytes of a request, with the NUL that ends it.

    Raises TypeError or ValueError if a parameter is nothing that JSON can say.
    """
    message: dict[str, object] = {"method": request.method, "parameters": request.parameters}
    if request.more:
        message["more"] = True
    if request.oneway:
        message["oneway"] = True
    return _encode(message)


def encode_reply(reply: Reply) -> bytes:
    """Return the bytes of a reply, with the NUL that ends it.

    Raises TypeError or ValueError if a parameter is nothing that JSON can say.
    """
    message: dict[str, object] = {"parameters": reply.parameters}
    if reply.continues:
        message["continues"] = True
    if reply.error is not None:
        message["error"] = reply.error
    return _encode(message)


def decode_request(frame: bytes) -> Request:
    """Read a request from the bytes of one frame (without its NUL). Keys that we do not know are ignored.

    Raises MalformedMessageError if it is none, also for text that could not be written down again as UTF-8.
    """
    message = _decode(frame)
    method = message.get("method")
    if not isinstance(method, str) or not method:
        raise MalformedMessageError("`method` is no string or empty")
    request = Request(method, _parameters(message), _flag(message, "more"), _flag(message, "oneway"))
    # Most say nothing of which it is not clear that it can be written.
    if b"\\u" in frame or frame.count(b"[") + frame.count(b"{") > _SHALLOW:
        _check_writable(request)
    return request


def _check_writable(request: Request) -> None:
    try:
        json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedMessageError("a lone surrogate") from None
    except RecursionError:
        raise MalformedMessageError("nested too deeply") from None


def decode_reply(frame: bytes) -> Reply:
    """Read a reply from the bytes of one frame (without its NUL). Keys that we do not know are ignored.

    Raises MalformedMessageError if it is none.
    """
    message = _decode(frame)
    error = message.get("error")
    if error is not None and (not isinstance(error, str) or not error):
        raise MalformedMessageError("`error` is no string or empty")
    return Reply(_parameters(message), _flag(message, "continues"), error)


class FrameReader:
    r"""Cuts a stream of bytes into frames, however it arrives.

    >>> frames = FrameReader(limit=10)
    >>> frames.feed(b'{}\0{"a"')
    >>> frames.next(), frames.next()
    (b'{}', None)
    """

    def __init__(self, limit: int) -> None:
        """Accept frames of up to `limit` bytes, without their NUL."""
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    @property
    def rest(self) -> bytes:
        """What it was fed and has not returned yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what was read from the stream."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next frame, without its NUL; None if it is not complete yet.

        Raises MalformedMessageError if it is longer than the limit; no other frame can be found after that.
        """
        end = self._buffer.find(0, self._searched, self._limit + 1)
        if end >= 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            return frame
        if len(self._buffer) > self._limit:
            raise MalformedMessageError(f"longer than {self._limit} bytes")
        self._searched = len(self._buffer)
        return None


def interface_description(name: str) -> str:
    """Return the text of the interface `name`, as `GetInterfaceDescription` answers it.

    Raises KeyError if we have no such interface.
    """
    if name not in {SERVICE, INTERFACE}:
        raise KeyError(name)
    from importlib import resources  # noqa: PLC0415  # slow to import, and no client asks

    return (resources.files("pgsupervisor.control") / f"{name}.varlink").read_text(encoding="utf-8")


def _encode(message: Parameters) -> bytes:
    return _ENCODER.encode(message).encode("ascii") + b"\0"


def _decode(frame: bytes) -> dict[str, object]:
    """Return the JSON object that a frame holds."""
    try:
        message: object = _DECODER.decode(frame.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedMessageError("no UTF-8") from None
    except RecursionError:
        raise MalformedMessageError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise MalformedMessageError(f"no JSON: {error}") from None
    if not isinstance(message, dict):
        raise MalformedMessageError("no JSON object")
    return message


def _parameters(message: Parameters) -> Parameters:
    parameters = message.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise MalformedMessageError("`parameters` is no object")
    return parameters


def _flag(message: Parameters, name: str) -> bool:
    flag = message.get(name, False)
    if not isinstance(flag, bool):
        raise MalformedMessageError(f"`{name}` is no boolean")
    return flag


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedMessageError("a key twice")
    return found


def _integer(digits: str) -> int:
    """Read an integer that fits 64 bits, as Varlink's `int` must. Python's own would read thousands of digits."""
    if len(digits) > len("-9223372036854775808") or not -(2**63) <= (number := int(digits)) < 2**63:
        raise MalformedMessageError("an integer that does not fit 64 bits")
    return number


def _float(digits: str) -> float:
    """Read a finite number; 1e999 would be infinity."""
    number = float(digits)
    if not math.isfinite(number):
        raise MalformedMessageError("a number that is not finite")
    return number


def _constant(name: str) -> object:
    raise MalformedMessageError(f"{name} is no JSON")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
