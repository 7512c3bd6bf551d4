"""Text that a person is shown: a terminal obeys escape sequences, whoever wrote them.

What is shown may hold what somebody typed into a database, or named a file. This is imported by every start of
`pgsupctl`, so it imports nothing.
"""

from __future__ import annotations


def escape(text: str) -> str:
    r"""Return text that a terminal only shows: control characters, stray bytes and the like as Python would write them.

    The like are what is not seen, but turns text around or takes it apart (Unicode's format characters and separators).

    >>> escape("\x1b[31mred\n\udcff")
    '\\x1b[31mred\\n\\xff'
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that was no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
