"""What the fuzzers have in common: how many examples they try, and values that are strange, whatever they are for."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

TIMES = 1
"""How many times as many examples as usual; `--fuzz` says so."""


def examples(usual: int) -> settings:
    """Return the settings of a fuzzer that tries so many examples."""
    return settings(max_examples=usual * TIMES)


STRANGE = (
    "../a",
    "a/../../etc/shadow",
    "a\0",
    "a\nb",
    "\x1b]0;owned\x07\x1b[2J",
    "*a" * 60 + "b",
    "[" * 200,
    "[!]-a&&b~~c||d--e]",
    "\U0010ffff",
    "A" * 300,
    "~",
    "~nobody-we-know/a",
    "\u0661",
    "1_000",
    "9" * 5000,
    "-9223372036854775809",
    "1e999",
    "nan",
    "\u2028",
    "\x85\x1c\r\v",
    "%s{0}",
    "",
)
"""Texts that somebody has taken for something else before."""

TEXTS = st.sampled_from(STRANGE) | st.text(max_size=8)

NUMBERS = (
    st.sampled_from((-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**400, 1e308, -1e308, 5e-324, float("nan")))
    | st.integers()
    | st.floats()
)


def mangled(*samples: bytes) -> st.SearchStrategy[bytes]:
    """Return byte strings that are nearly one of the samples: cut, joined, or with pieces of something else in them."""
    pieces = st.binary(max_size=6) | st.sampled_from([text.encode() for text in STRANGE] + [b"\xff\xfe", b"\0", b"\n"])
    spots = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), pieces), max_size=4)

    def mangle(sample: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for spot, removed, put in changes:
            where = spot % (len(sample) + 1)
            sample = sample[:where] + put + sample[where + removed :]
        return sample

    return st.builds(mangle, st.sampled_from(samples), spots) | st.binary(max_size=100)
