"""What the references share: their answers, and plain readers of numbers."""

from __future__ import annotations

import re

Frame = tuple[float, int, int, bytes, int]
Said = Frame | str | None

EXTENDED, REMOTE, ERROR, FD = 1, 2, 4, 8
WRONG_LABEL, NOTHING, EVENT = "wrong label", "nothing", "event"
TIME = rb"(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)"
HEX = rb"[0-9A-Fa-f]"
TRUTH = {b"1": 1, b"True": 1, b"TRUE": 1, b"0": 0, b"False": 0, b"FALSE": 0}
FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)


def seconds_of(text: bytes, shift: int = 0) -> float | None:
    """The float nearest to the first 18 digits; None at 1e11 s and above."""
    mantissa, _, exponent = text.lower().partition(b"e")
    leading = len(mantissa) - len(mantissa.lstrip(b"0."))
    kept = leading + 18 + (b"." in mantissa[leading:])
    mantissa = mantissa[:kept] + re.sub(rb"\d", b"0", mantissa[kept:])
    value = float(b"%be%d" % (mantissa, int(exponent or 0) - shift))
    return value if value < 1e11 else None


def id_and_flags(text: bytes) -> tuple[int, int] | None:
    """Of an id written without a fixed width."""
    value = int(text, 16)
    if len(text) > 8 or value > 0x1FFFFFFF:
        return None
    return value, EXTENDED if len(text) == 8 or value > 0x7FF else 0
