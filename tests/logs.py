"""A log and its archives, put together by a hand that knows nothing of how they came to be."""

from __future__ import annotations

import gzip
from pathlib import Path


def put_together(log: Path) -> bytes:
    """Return all that is in a log and its archives, the oldest first, each in its place by its number alone."""
    found = log.parent.glob(f"{log.name}.[1-9]*")
    numbered = {int(each.name.removeprefix(f"{log.name}.").split(".")[0]): each for each in found}
    return b"".join([*(_content(numbered[number]) for number in sorted(numbered, reverse=True)), log.read_bytes()])


def _content(archive: Path) -> bytes:
    content = archive.read_bytes()
    return gzip.decompress(content) if archive.suffix == ".gz" else content
