"""Where the output goes: a terminal, with a size and perhaps colours, or a pipe, where text is plain and whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

_COLOURS = {
    "RUNNING": 32,
    "STARTING": 33,
    "STOPPING": 33,
    "BACKOFF": 33,
    "FATAL": 31,
    "warning": 33,
    "error": 31,
}
"""What a state looks like (ECMA-48, "Select Graphic Rendition"): green is well, yellow is busy, red is over; and what
the level of an event looks like."""


class Screen(NamedTuple):
    """What is known of the standard output. `width` and `height` are None where it is no terminal."""

    width: int | None = None
    height: int | None = None
    colour: bool = False

    @property
    def terminal(self) -> bool:
        """Whether a person looks at it, and text can be drawn over."""
        return self.width is not None

    def paint(self, text: str, level: str | None = None) -> str:
        """Return a state's name, or a text of that level, in its colour where there are colours."""
        number = _COLOURS.get(level or text)
        return text if number is None else self.tint(text, number)

    def tint(self, text: str, number: int) -> str:
        """Return text in a colour, given by its number, where there are colours."""
        return f"\033[{number}m{text}\033[0m" if self.colour else text

    def cut(self, line: str) -> str:
        """Return a line that fits into the width; what was cut off leaves an ellipsis."""
        return line if self.width is None or len(line) <= self.width else line[: max(0, self.width - 1)] + "…"


def screen(environment: Mapping[str, str]) -> Screen:
    """Look at the standard output. A dumb terminal is none; NO_COLOR means what https://no-color.org says."""
    if not sys.stdout.isatty() or environment.get("TERM") == "dumb":
        return Screen()
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    return Screen(columns or 80, lines or 24, colour=not environment.get("NO_COLOR"))


def escape(text: str) -> str:
    r"""Return text that a terminal only shows: control characters, stray bytes and the like as Python would write them.

    >>> escape("\x1b[31mred\n\udcff")
    '\\x1b[31mred\\n\\xff'
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def as_bytes(text: str) -> bytes:
    """Return the bytes of a text, in which a lone surrogate stands for a byte that was no UTF-8 (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # there are others as well, which stand for nothing
        return text.encode("utf-8", "replace")


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that was no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
