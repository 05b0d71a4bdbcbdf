"""What candump shows on a screen: `` (1678840552.415482)  can0  285   [8]  00 00 00 00 00 00 0D 94``."""

from __future__ import annotations

import re

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, FD, REMOTE
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._dates import read_date
from credit_like.can.readers._delta import DeltaClock
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import FD_LENGTHS, SPACE, TAB, read_bytes, read_seconds, read_word, skip
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_FLAGS,
    BAD_INTERFACE,
    BAD_TIME,
    COLUMNS_DISAGREE,
    EVENT,
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

#: How a log tells the time, which is the same in all its lines: not yet known, not at all, in seconds, by date.
_UNKNOWN, _NONE, _SECONDS, _DATE = 0, 1, 2, 3


class CandumpTextReader(TextReader):
    """Lines ``(time) interface ID [length] bytes``, as candump writes them without ``-L`` or ``-l``.

    The time is seconds (``-ta``, ``-tz``), a date and time (``-tA``, taken for UTC) or missing, which is a log without
    a clock. Three digits are an 11-bit id, eight a 29-bit one, or an error frame where bit 0x20000000 is set. A length
    of two digits is CAN FD; ``remote request`` in place of the bytes is a remote frame. Direction and flags (``-x``),
    and the bytes as text (``-a``), which must agree with them, are taken and not used. Lines that begin with a tab
    describe an error frame (``-e``) and are passed over. There are no labels. Not supported: colours, binary bytes
    (``-i``), swapped bytes (``-S``) and raw lengths above 8 (``-8``).
    """

    name = "candump_text"
    title = "candump text"
    shape = "(time) interface ID [length] byte ... byte"
    pattern = re.compile(
        rb"\s*(\([\d.: -]+\)\s+)?\S+\s+([RT]X [B-] [E-]\s+)?[0-9A-Fa-f]{3,8}\s+\[\d{1,2}\](\s+[0-9A-Fa-f]{2})*(\s.*)?"
    )
    needs_line_end = True
    example = (
        b" (1678840552.415482)  can0  285   [8]  00 00 00 00 00 00 0D 94   '........'\n"
        b" (1678840552.415684)  can0  551   [0] \n"
        b" (1678840552.415806)  can1  RX - -  18DAF110   [3]  02 3E 00\n"
        b" (1678840552.415911)  can0  7DF   [8]  remote request\n"
        b" (1678840552.416002)  can1  TX B -  123  [12]  00 01 02 03 04 05 06 07 08 09 0A 0B\n"
        b" (1678840552.417698)  can0  20000004   [8]  00 04 00 00 00 00 00 00   ERRORFRAME\n"
        b"\tcontroller-problem{rx-error-warning}\n"
    )

    def __init__(self) -> None:
        self._interfaces = Interfaces()
        self._clock = np.array([_UNKNOWN])

    def parse(self, lines: Lines, rows: Rows) -> None:
        known, clock = self._interfaces, self._clock.copy()
        _parse(lines.text, lines.start, lines.stop, clock, known.names, known.count, rows)
        if not (rows.code == NEEDS_FD).any():
            self._clock = clock

    def buses(self) -> list[str]:
        return self._interfaces.listed()


class CandumpTextDeltaReader(DeltaClock, CandumpTextReader):
    """The same lines where the time is the gap since the line before (``-td``)."""

    name = "candump_text_delta"
    title = "candump text -td"
    example = (
        b" (000.000000)  can0  285   [8]  00 00 00 00 00 00 0D 94   '........'\n"
        b" (000.000202)  can0  551   [0] \n"
        b" (000.000122)  can1  RX - -  18DAF110   [3]  02 3E 00\n"
        b" (000.000105)  can0  7DF   [8]  remote request\n"
        b" (000.000091)  can1  TX B -  123  [12]  00 01 02 03 04 05 06 07 08 09 0A 0B\n"
        b" (000.001696)  can0  20000004   [8]  00 04 00 00 00 00 00 00   ERRORFRAME\n"
    )


@compiled_parser
def _parse(text, start, stop, clock, names, count, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], clock, names, count, rows, row)


@compiled_parser
def _parse_line(text, i, stop, clock, names, count, rows, row):
    if text[i] == TAB:
        return EVENT
    i, kind = _parse_time(text, skip(text, i, stop, SPACE), stop, rows.t, row)
    if kind < 0 or (kind != clock[0] and clock[0] != _UNKNOWN):
        return BAD_TIME
    name = i
    name_stop = skip_interface(text, name, stop)
    if name_stop < 0 or name_stop >= stop or text[name_stop] != SPACE:
        return BAD_INTERFACE
    i = _skip_direction(text, skip(text, name_stop, stop, SPACE), stop)
    code, value, flags, i = read_can_id(text, i, stop)
    if code != GOOD:
        return code
    code, fd, length, i = _parse_length(text, skip(text, i, stop, SPACE), stop)
    if code != GOOD:
        return code
    if fd:
        if flags & ERROR:
            return BAD_FLAGS
        if rows.payload.shape[1] < 64:
            return NEEDS_FD
        flags |= FD
    after = read_word(text, skip(text, i, stop, SPACE), stop, b"remote request")
    if after > 0:
        if fd:
            return BAD_FLAGS
        flags |= REMOTE
        length = 0
        i = after
    code, i = read_bytes(text, i, stop, length, SPACE, rows.payload, row)
    if code != GOOD:
        return code
    code = _parse_rest(text, i, stop, flags, length, rows.payload, row)
    if code != GOOD:
        return code
    bus = interface_number(text, name, name_stop, names, count)
    if bus < 0:
        return BAD_INTERFACE
    clock[0] = kind
    rows.id[row] = value
    rows.flags[row] = flags
    rows.length[row] = length
    rows.bus[row] = bus
    return GOOD


@compiled_parser
def _parse_time(text, i, stop, t, row):
    """``(position after the time and its blanks, kind of clock)``; the kind is -1 where it cannot be read."""
    if i >= stop or text[i] != 40:  # (
        return i, _NONE
    i += 1
    kind = _SECONDS
    if i + 4 < stop and text[i + 4] == 45:  # - after the year
        kind = _DATE
        value, after = read_date(text, i, stop)
    else:
        value, after = read_seconds(text, i, stop, 0)
    if after < 0 or after + 1 >= stop or text[after] != 41 or text[after + 1] != SPACE:  # )
        return i, -1
    t[row] = value
    return skip(text, after + 1, stop, SPACE), kind


@compiled_parser
def _skip_direction(text, i, stop):
    """The position after ``RX - -``, or with TX and the letters B and E, and blanks; ``i`` where that is not there."""
    after = max(read_word(text, i, stop, b"RX "), read_word(text, i, stop, b"TX "))
    if after < 0 or after + 3 >= stop or text[after + 1] != SPACE or text[after + 3] != SPACE:
        return i
    if (text[after] != 45 and text[after] != 66) or (text[after + 2] != 45 and text[after + 2] != 69):  # - B, - E
        return i
    return skip(text, after + 3, stop, SPACE)


@compiled_parser
def _parse_length(text, i, stop):
    """``(code, is CAN FD, bytes, position after it)`` of ``[8]`` or, for CAN FD, ``[08]``."""
    if i >= stop or text[i] != 91:  # [
        return MISSING_FIELD, False, 0, i
    first = i + 1
    length = 0
    i = first
    while i < stop and 48 <= text[i] <= 57 and i < first + 2:
        length = length * 10 + text[i] - 48
        i += 1
    fd = i == first + 2
    if i == first or i >= stop or text[i] != 93 or length > (64 if fd else 8):  # ]
        return BAD_DLC, fd, length, i
    if not FD_LENGTHS[length]:
        return PAYLOAD_TOO_LONG, fd, length, i
    return GOOD, fd, length, i + 1


@compiled_parser
def _parse_rest(text, i, stop, flags, length, payload, row):
    """The bytes once more as text between quotes, or that this is an error frame, or nothing."""
    if i == stop:
        return GOOD
    if text[i] != SPACE:
        return TRAILING_TEXT
    i = skip(text, i, stop, SPACE)
    after = read_word(text, i, stop, b"ERRORFRAME")
    if flags & ERROR and after > 0:
        i = skip(text, after, stop, SPACE)
        if i == stop:
            return GOOD
    if text[i] != 39 or stop - i != length + 2 or text[stop - 1] != 39 or flags & REMOTE:  # '
        return TRAILING_TEXT
    for k in range(length):
        byte = payload[row, k]
        if text[i + 1 + k] != (byte if 31 < byte < 127 else 46):
            return COLUMNS_DISAGREE
    return GOOD
