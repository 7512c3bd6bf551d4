"""Where the output goes: a terminal, with a size and perhaps colours, or a pipe, where text is plain and whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from pgsupervisor.shapes import NamedTuple

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
    """What is known of the standard output. `width` and `height` are None where it is no terminal.

    `obeys` where it is any kind of terminal, which may do what is written to it.
    """

    width: int | None = None
    height: int | None = None
    colour: bool = False
    obeys: bool = False

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
    """Look at the standard output. Nothing is drawn on a dumb terminal, which may not be as dumb as it says.

    NO_COLOR means what https://no-color.org says.
    """
    if not sys.stdout.isatty():
        return Screen()
    if environment.get("TERM") == "dumb":
        return Screen(obeys=True)
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    return Screen(columns or 80, lines or 24, colour=not environment.get("NO_COLOR"), obeys=True)


def as_bytes(text: str) -> bytes:
    """Return the bytes of a text, in which a lone surrogate stands for a byte that was no UTF-8 (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # there are others as well, which stand for nothing
        return text.encode("utf-8", "replace")
