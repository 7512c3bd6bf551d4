"""Clusters as lines of text: pure functions from what the daemon said to what is printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import itemgetter

from pgsupervisor.cli.screen import Screen
from pgsupervisor.escaping import escape
from pgsupervisor.shapes import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsupervisor.cli.answers import Cluster

_HEADER = ("NAME", "STATE", "SINCE", "PID", "PORT", "VERSION", "RESTARTS", "MEMORY", "CPU", "YOURS", "REASON")
_USED = {"MEMORY", "CPU"}
_MANY = 10 << 10
_UNITS = ("B", "kB", "MB", "GB", "TB")
_GAP = "  "
_INDENT = "    "


def table(clusters: Sequence[Cluster], since: Callable[[float], str], screen: Screen) -> list[str]:
    """Return a table of clusters as lines; `since` puts the Unix time of a cluster's last change into words.

    Which clusters are the asker's is said only where not all of them are; what they use, where somebody counts it and a
    terminal has room.
    """
    rows: list[tuple[str, ...]] = [_HEADER, *(_row(cluster, since) for cluster in clusters)]
    idle = {name for name in _USED if all(cluster.get(name.lower()) is None for cluster in clusters)}
    yours = {"YOURS"} if all(cluster["yours"] for cluster in clusters) else set()
    rows, widths = _columns(rows, idle | yours)
    if screen.width is not None and sum(widths[:-1]) + len(_GAP) * len(widths[:-2]) > screen.width:
        rows, widths = _columns(rows, _USED)
    header = _finished(_joined(rows[0], widths), _HEADER[1], widths, screen)
    return [header, *(line for row in rows[1:] for line in _lines(row, widths, screen))]


def sentence(name: str, state: str, reason: str, screen: Screen) -> str:
    """Return one cluster as a line of its own: `shop: FATAL  reason`."""
    return f"{escape(name)}: {screen.paint(escape(state))}{_GAP + escape(reason) if reason else ''}"


def remark(cluster: Cluster) -> str:
    """Return what there is to say of a cluster: that it is a standby, and whatever the daemon says."""
    return "; ".join(filter(None, ("standby" if cluster["standby"] else "", cluster["reason"])))


def duration(seconds: float) -> str:
    """Return a duration in the two units that matter.

    >>> duration(42), duration(200), duration(7500), duration(200_000)
    ('42 s', '3 min', '2 h 5 min', '2 d 7 h')
    """
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour} h"
    if hours:
        return f"{hours} h {minute} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def moment(seconds: float, form: str) -> str:
    """Return a Unix time in words, in the form of strftime(3); a time that no clock can show is just a number."""
    try:
        return time.strftime(form, time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def size(count: int) -> str:
    """Return a number of bytes as pg_size_pretty does, in four digits or so.

    >>> size(512), size(3 << 20), size(1_500_000_000), size(20 << 30)
    ('512 B', '3072 kB', '1431 MB', '20 GB')
    """
    amount, units = count, list(_UNITS)
    while amount >= _MANY and len(units) > 1:
        amount = round(amount / 1024)
        units.pop(0)
    return f"{amount} {units[0]}"


def _columns(rows: Sequence[tuple[str, ...]], without: set[str]) -> tuple[list[tuple[str, ...]], list[int]]:
    """Return a table without some of its columns, and how wide the others are."""
    kept = [index for index, name in enumerate(rows[0]) if name not in without]
    fewer = list(map(itemgetter(*kept), rows))
    return fewer, [max(map(len, column)) for column in zip(*fewer, strict=True)]


def _row(cluster: Cluster, since: Callable[[float], str]) -> tuple[str, ...]:
    cells = (
        cluster["name"],
        cluster["state"],
        since(cluster["since"]),
        cluster.get("pid"),
        cluster.get("port"),
        cluster.get("version"),
        cluster["restarts"],
        None if (memory := cluster.get("memory")) is None else size(memory),
        None if (cpu := cluster.get("cpu")) is None else duration(cpu),
        "yes" if cluster["yours"] else None,
        remark(cluster),
    )
    return tuple("-" if cell is None else escape(str(cell)) for cell in cells)


def _lines(row: Sequence[str], widths: Sequence[int], screen: Screen) -> list[str]:
    """Return a row as lines: one, unless a terminal has no room for the reason, which then stands below, whole."""
    whole = _joined(row, widths)
    if screen.width is None or len(whole) <= screen.width or not row[-1]:
        return [_finished(whole, row[1], widths, screen)]
    from textwrap import wrap  # noqa: PLC0415  # slow to import, and rarely needed

    below = wrap(
        row[-1],
        max(screen.width, 2 * len(_INDENT)),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )
    return [_finished(_joined(row[:-1], widths), row[1], widths, screen), *map(screen.cut, below)]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(map(str.ljust, cells, widths)).rstrip()


def _finished(line: str, state: str, widths: Sequence[int], screen: Screen) -> str:
    """Return a line as it is printed: cut first, then coloured, since a colour takes no room."""
    line = screen.cut(line)
    start = widths[0] + len(_GAP)
    end = start + len(state)
    return line[:start] + screen.paint(state) + line[end:] if len(line) > end else line
