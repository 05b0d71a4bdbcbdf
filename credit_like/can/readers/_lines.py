"""Blocks of bytes cut into whole lines, so that a log of any size passes through a buffer of one block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_like._compiled import compiled_parser
from credit_like.can.readers._numbers import CR, LF, SPACE, TAB

#: Longer lines are cut here on reading, and refused; it bounds memory on a file without line ends.
MAX_LINE_BYTES = 4096

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Lines:
    """Whole lines of a text: ``text[start[i]:stop[i]]`` is line ``i`` without its end (LF or CRLF) and trailing blanks.

    ``text`` uint8[bytes]; ``start``, ``stop``, ``number`` int64[n]; ``number`` counts from 1 in the whole text. Blank
    lines are left out. ``too_long`` int64[k] are rows above ``MAX_LINE_BYTES``, which stand here as empty ones.
    ``terminated`` is False where the text ended without a line end, in which case the last row may have been cut short.
    """

    text: NDArray[np.uint8]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    number: NDArray[np.int64]
    too_long: NDArray[np.int64]
    terminated: bool = True

    def __len__(self) -> int:
        return len(self.start)

    def line(self, row: int) -> bytes:
        """The bytes of one line."""
        return self.text[self.start[row] : self.stop[row]].tobytes()

    def without_first(self) -> Lines:
        """The same without row 0 (a header, which ``too_long`` does not name)."""
        return Lines(
            self.text,
            self.start[1:],
            self.stop[1:],
            self.number[1:],
            self.too_long - 1,
            self.terminated or len(self) == 1,
        )


def cut_lines(blocks: Iterable[bytes]) -> Iterator[Lines]:
    """Every line of the text that the blocks make together, whatever their sizes; one ``Lines`` a block at most."""
    carry = b""
    number = 1
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end == 0:
            carry = (carry + block)[: MAX_LINE_BYTES + 1]
            continue
        lines, number = _lines_of(carry + block[:end], number)
        carry = block[end:][: MAX_LINE_BYTES + 1]
        if len(lines):
            yield lines
    if carry:
        lines, _ = _lines_of(carry, number, terminated=False)
        if len(lines):
            yield lines


def _lines_of(block: bytes, number: int, terminated: bool = True) -> tuple[Lines, int]:
    offset = len(_BYTE_ORDER_MARK) if number == 1 and block.startswith(_BYTE_ORDER_MARK) else 0
    text = np.frombuffer(block, np.uint8)[offset:]
    stop = np.flatnonzero(text == LF)
    if not terminated:
        stop = np.append(stop, len(text))
    start = np.concatenate(([0], stop[:-1] + 1))
    too_long = stop - start > MAX_LINE_BYTES
    _trim(text, start, stop)
    numbers = np.arange(number, number + len(start))
    stop[too_long] = start[too_long]
    kept = (stop > start) | too_long
    if not kept.all():
        start, stop, numbers, too_long = start[kept], stop[kept], numbers[kept], too_long[kept]
    return Lines(text, start, stop, numbers, np.flatnonzero(too_long), terminated), number + len(kept)


@compiled_parser
def _trim(text, start, stop):
    """Moves every stop back over blanks and the carriage return."""
    for line in range(len(start)):
        last = stop[line]
        while last > start[line] and (text[last - 1] == CR or text[last - 1] == SPACE or text[last - 1] == TAB):
            last -= 1
        stop[line] = last
