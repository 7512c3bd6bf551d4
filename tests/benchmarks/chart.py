"""Bars of medians, as an SVG that needs nothing but a browser: one group for each figure, each to its own scale.

GitHub shows it on a light or a dark page, so it brings no background, and its colours can be read on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from benchmarks.figures import Figure
from benchmarks.hosts import OURS
from benchmarks.report import number

WIDTH = 760
LABELS = 200
BARS = 440
ROW = 22
GAP = 34

STYLE = (
    "text { font: 13px system-ui, sans-serif; fill: #6e7781 } .title { font-weight: 600 } "
    ".bar { fill: #8c959f } .ours { fill: #2f6f9f }"
)


def chart(figures: Sequence[Figure]) -> str:
    """Return a chart of figures that have more than one contestant each."""
    parts: list[str] = []
    top = 0
    for figure in figures:
        top += GAP
        parts.append(f'<text class="title" x="0" y="{top - 8}">{escape(figure.title)}</text>')
        for name, median in figure.medians.items():
            parts.append(_row(figure, name, median, top))
            top += ROW
    height = top + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _row(figure: Figure, name: str, median: float, top: int) -> str:
    most = max(figure.medians.values()) or 1
    width = max(1.0, BARS * median / most)
    kind = "ours" if name == OURS else "bar"
    middle = top + 15
    return (
        f'<text x="{LABELS - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LABELS}" y="{top + 3}" width="{width:.1f}" height="{ROW - 6}" rx="2"/>'
        f'<text x="{LABELS + width + 6:.1f}" y="{middle}">{number(median)} {figure.unit}</text>'
    )
