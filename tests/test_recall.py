"""What is remembered of files, and what is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsupervisor.postgres.recall import remembering

SMALL, LARGE, TALKATIVE = b"a\nb", b"a" * 50_000, b"a\n" * 200


def test_the_same_bytes_are_read_once() -> None:
    """A small file is read once for each way to read it, and again when another byte is in it."""
    asked: list[tuple[bytes, int]] = []

    def read(content: bytes, given: int) -> Iterator[bytes]:
        asked.append((content, given))
        yield from content.split(b"\n")[:given]

    recall = remembering(read)
    questions = [(SMALL, 1), (SMALL, 2), (SMALL + b"c", 2)]
    for _ in range(2):
        assert [tuple(recall(*each)) for each in questions] == [(b"a",), (b"a", b"b"), (b"a", b"bc")]
    assert asked == questions


@pytest.mark.parametrize("content", [LARGE, TALKATIVE])
def test_what_would_cost_memory_is_not_remembered(content: bytes) -> None:
    """A large file, and one that says much, is read as a whole each time; what it says is kept by nobody."""
    alive: set[int] = set()

    class Said:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.remove(id(self))

    recall = remembering(lambda content, _: (Said() for _ in content.split(b"\n")))
    for _ in range(2):
        assert len(list(recall(content, None))) == content.count(b"\n") + 1
        assert alive == set()


def test_few_files_are_remembered() -> None:
    """Whoever writes his file again and again fills no memory."""
    asked: list[bytes] = []

    def read(content: bytes, _: None) -> Iterator[bytes]:
        asked.append(content)
        yield content

    recall = remembering(read)
    contents = [b"%d" % number for number in range(100)]
    for content in contents * 2:
        assert list(recall(content, None)) == [content]
    assert asked == contents * 2
