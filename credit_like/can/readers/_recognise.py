"""Which reader a text is for, by its first lines."""

from __future__ import annotations

from credit_like.can.errors import UnknownFormatError
from credit_like.can.metadata import Declared
from credit_like.can.readers._base import READERS, Head, Reader
from credit_like.can.readers._foreign import foreign
from credit_like.can.readers._lines import cut_lines

HEAD_BYTES, HEAD_LINES = 64 << 10, 50

#: Below this share of matching lines a format is not taken for recognised.
_MIN_SHARE = 0.5


def recognise(label: str, head: bytes, declared: Declared | None) -> tuple[type[Reader], str]:
    """The reader that most of the first lines of ``head`` fit, and the reason in words.

    A reader that specialises another one is preferred where both fit as well. Raises UnknownFormatError, with the first
    line and the formats there are, when no reader fits half of the lines; with what the file is where that is known (a
    tar archive, text in UTF-16).
    """
    known_as = foreign(head)
    if known_as is not None:
        raise UnknownFormatError(label, *known_as)
    lines = [block.line(row) for block in cut_lines([head]) for row in range(len(block))]
    if not lines:
        raise UnknownFormatError(label, "is empty", "give a log with frames")
    lines = (lines[:-1] or lines)[:HEAD_LINES]  # the last one may be cut off by the end of the head
    found = []
    for reader in sorted(READERS.values(), key=lambda reader: (-len(reader.__mro__), reader.name)):
        share, reason = reader.recognise(Head(head, lines), declared)
        if share >= _MIN_SHARE:
            found.append((share, reader, reason))
    if not found:
        kind = "binary content" if b"\0" in head else f"its first line is {excerpt(lines[0])}"
        known = "".join(f"\n  {reader.name:<19} {reader.shape}" for _, reader in sorted(READERS.items()))
        raise UnknownFormatError(
            label,
            f"no log of a known format ({kind})",
            f"where only the first lines are damaged, name the format. Known are{known}",
        )
    _, reader, reason = max(found, key=lambda item: item[0])  # the first of the best
    return reader, reason


def excerpt(line: bytes, most: int = 80) -> str:
    """The start of a line, quoted for a message; bytes that are no UTF-8 are shown as escapes."""
    text = line[:most].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(line) > most else "")
