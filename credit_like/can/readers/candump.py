"""candump -L, the log of can-utils: ``(1678840552.415482) can0 285#0000000000000D94``."""

from __future__ import annotations

import re

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, FD, REMOTE
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._delta import DeltaClock
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import (
    FD_LENGTHS,
    SPACE,
    TAB,
    is_word,
    read_hex,
    read_payload,
    read_seconds,
    read_truth,
    skip,
)
from credit_like.can.readers._rows import (
    BAD_FLAGS,
    BAD_INTERFACE,
    BAD_LABEL,
    BAD_TIME,
    GOOD,
    MISSING_FIELD,
    NEEDS_FD,
    PAYLOAD_TOO_LONG,
    TRAILING_TEXT,
    Rows,
)
from credit_like.can.readers._socketcan import (
    Interfaces,
    interface_number,
    read_can_id,
    skip_interface,
)

FRAME = rb"\(-?\d[\d.eE+-]*\) \S+ +[0-9A-Fa-f]{3,8}##?[0-9A-FRa-f]*"


class CandumpReader(TextReader):
    """Lines ``(seconds) interface ID#DATA``; what can-utils writes with ``candump -L`` and reads in ``canplayer``.

    Three digits are an 11-bit id, eight a 29-bit one, or an error frame where bit 0x20000000 is set (its data bytes are
    kept). ``ID#R`` and ``ID#R8`` are remote frames (length 0), ``ID##<flags>DATA`` CAN FD. A final ``R`` or ``T``
    (received, sent) is taken and not used. Interfaces become bus numbers in the order of their names. There are no
    labels. Not supported: the raw data length code above 8 that canplayer writes as ``_9`` to ``_F``.
    """

    name = "candump"
    title = "candump -L"
    shape = "(seconds) interface ID#DATA"
    pattern = re.compile(FRAME + rb"( [RT])?\s*")
    needs_line_end = True
    labelled = False
    example = (
        b"(1678840552.415482) can0 285#0000000000000D94\n"
        b"(1678840552.415684) can0 551#\n"
        b"(1678840552.415806) can1 18DAF110#023E00\n"
        b"(1678840552.415911) can0 7DF#R8\n"
        b"(1678840552.416002) can1 123##1000102030405060708090A0B\n"
        b"(1678840552.417698) can0 20000004#0004000000000000 R\n"
    )

    def __init__(self) -> None:
        self._interfaces = Interfaces()

    def parse(self, lines: Lines, rows: Rows) -> None:
        known = self._interfaces
        _parse(lines.text, lines.start, lines.stop, self.labelled, known.names, known.count, rows)

    def buses(self) -> list[str]:
        return self._interfaces.listed()


class CandumpDeltaReader(DeltaClock, CandumpReader):
    """The same lines where the time is the gap since the line before (``candump -L -td``)."""

    name = "candump_delta"
    title = "candump -L -td"
    example = (
        b"(0000000000.000000) can0 285#0000000000000D94\n"
        b"(0000000000.000202) can0 551#\n"
        b"(0000000000.000122) can1 18DAF110#023E00\n"
        b"(0000000000.000105) can0 7DF#R8\n"
        b"(0000000000.000091) can1 123##1000102030405060708090A0B\n"
        b"(0000000000.001696) can0 20000004#0004000000000000 R\n"
    )


@compiled_parser
def _parse(text, start, stop, labelled, names, count, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], labelled, names, count, rows, row)


@compiled_parser
def _parse_line(text, i, stop, labelled, names, count, rows, row):
    if text[i] != 40:  # (
        return MISSING_FIELD
    rows.t[row], i = read_seconds(text, i + 1, stop, 0)
    if i < 0:
        return BAD_TIME
    if i + 1 >= stop or text[i] != 41 or text[i + 1] != SPACE:  # )
        rows.t[row] = 0.0
        return MISSING_FIELD
    name = i + 2
    name_stop = skip_interface(text, name, stop)
    if name_stop < 0 or name_stop >= stop or text[name_stop] != SPACE:
        return BAD_INTERFACE
    code, i, most = _parse_id(text, skip(text, name_stop, stop, SPACE), stop, rows, row)
    if code != GOOD:
        return code
    if rows.flags[row] & REMOTE == 0:
        code, length, i = read_payload(text, i, stop, most, rows.payload, row)
        if code != GOOD:
            return code
        if not FD_LENGTHS[length]:
            return PAYLOAD_TOO_LONG
        rows.length[row] = length
    code = _parse_labels(text, i, stop, rows, row) if labelled else _parse_direction(text, i, stop)
    if code != GOOD:
        return code
    bus = interface_number(text, name, name_stop, names, count)
    if bus < 0:
        return BAD_INTERFACE
    rows.bus[row] = bus
    return GOOD


@compiled_parser
def _parse_id(text, i, stop, rows, row):
    """``(code, position of the data, bytes it may have)``; fills id and flags."""
    code, value, flags, i = read_can_id(text, i, stop)
    if code != GOOD:
        return code, i, 0
    if i >= stop or text[i] != 35:  # #
        return MISSING_FIELD, i, 0
    i += 1
    most = 8
    if i < stop and text[i] == 35:
        _, digits, _ = read_hex(text, i + 1, min(i + 2, stop))
        if digits == 0 or flags & ERROR:
            return BAD_FLAGS, i, 0
        if rows.payload.shape[1] < 64:
            return NEEDS_FD, i, 0
        flags |= FD
        most = 64
        i += 2
    elif i < stop and text[i] == 82:  # R
        flags |= REMOTE
        i += 1
        if i < stop and 48 <= text[i] <= 56:
            i += 1
    rows.id[row] = value
    rows.flags[row] = flags
    return GOOD, i, most


@compiled_parser
def _parse_direction(text, i, stop):
    """Nothing, or the letter R or T after one space."""
    if i == stop or (i + 2 == stop and text[i] == SPACE and (text[i + 1] == 82 or text[i + 1] == 84)):
        return GOOD
    return TRAILING_TEXT


@compiled_parser
def _parse_labels(text, i, stop, rows, row):
    """Two truth values after blanks: the frame was changed by the attacker, and it was shifted in time."""
    first, first_stop = _next_word(text, i, stop)
    second, second_stop = _next_word(text, first_stop, stop)
    if first in (i, first_stop) or second in (first_stop, second_stop):
        return MISSING_FIELD
    if second_stop != stop or not is_word(text, first, first_stop) or not is_word(text, second, second_stop):
        return TRAILING_TEXT
    changed = read_truth(text, first, first_stop)
    shifted = read_truth(text, second, second_stop)
    if changed < 0 or shifted < 0:
        return BAD_LABEL
    rows.label[row] = max(changed, shifted)
    return GOOD


@compiled_parser
def _next_word(text, i, stop):
    """``(start, stop)`` of what follows the blanks at ``i``, up to the next blank."""
    while i < stop and (text[i] == SPACE or text[i] == TAB):
        i += 1
    first = i
    while i < stop and text[i] != SPACE and text[i] != TAB:
        i += 1
    return first, i
