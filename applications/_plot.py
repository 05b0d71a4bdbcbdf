"""A small plot in text: a value over time, drawn with blocks where the terminal has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: Eighths of a character, from empty to full; and what stands for them where only ASCII can be printed.
_BLOCKS, _ASCII = " ▁▂▃▄▅▆▇█", "    .::||"


def plot(values: Sequence[float], start: str, stop: str, rows: int = 5, margin: int = 9) -> list[str]:
    """Lines with one column a value, from 0 at the bottom to the largest one, whose amount stands beside it.

    ``start`` and ``stop`` are the ends of the axis in words; ``margin`` is the room on the left.
    """
    top = max(values, default=0.0)
    signs = _BLOCKS if can_print(_BLOCKS) else _ASCII
    lines = []
    for row in range(rows - 1, -1, -1):
        amount = f"{top:,.0f}" if row == rows - 1 else "0" if row == 0 else ""
        cells = (round(8 * (value / top * rows - row)) if top > 0 else 0 for value in values)
        lines.append(f"{amount:>{margin - 2}} |" + "".join(signs[min(8, max(0, cell))] for cell in cells))
    axis = " " * margin + start + stop.rjust(len(values) - len(start))
    return [line.rstrip() for line in [*lines, axis]]


def can_print(text: str) -> bool:
    """Whether stdout takes these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
