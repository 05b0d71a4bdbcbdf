"""The trace files of PCAN-View, version 1.1 (PEAK-System, "PCAN Trace File Format", section 1.1)."""

from __future__ import annotations

import re

from credit_like.can._compiled import compiled_parser
from credit_like.can.frames import ERROR, EXTENDED, REMOTE
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import SPACE, read_bytes, read_hex, read_seconds, read_word, skip
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_FLAGS,
    BAD_ID,
    BAD_TIME,
    COMMENT,
    GOOD,
    ID_TOO_LARGE,
    MISSING_FIELD,
    TRAILING_TEXT,
    Rows,
)


class TrcReader(TextReader):
    """``;`` comments, then ``number) milliseconds Rx ID length bytes``; times are seconds from the start of the trace.

    Four digits are an 11-bit id, eight a 29-bit one. ``RTR`` in place of the bytes is a remote frame (length 0), type
    ``Error`` an error frame. ``Warng`` lines report the controller's state and are passed over like comments. There are
    no labels. Not supported: the other versions, whose columns differ, and the start date.
    """

    name = "trc"
    title = "PCAN trace 1.1"
    shape = "number) milliseconds Rx ID length byte ... byte"
    header = b";$fileversion=1.1"
    pattern = re.compile(rb"\s*\d+\)\s+\d[\d.]*\s+(Rx|Tx|Error|Warng)\s+([0-9A-F]{4}|[0-9A-F]{8})\s+\d\b.*")
    example = (
        b";$FILEVERSION=1.1\n"
        b";---+--   ----+----  --+--  ----+---  +  -+ -- -- -- -- -- -- --\n"
        b"     1)         0.1  Rx         0410  8  0C 00 1A 0B 00 0D 04 C1 \n"
        b"     2)         0.3  Tx     18DAF110  0 \n"
        b"     3)         1.7  Rx         0100  8  RTR \n"
        b"     4)         7.1  Warng  FFFFFFFF  4  00 00 00 08  BUSHEAVY \n"
        b"     5)        10.0  Error      0008  4  00 19 08 08 \n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse(lines.text, lines.start, lines.stop, rows)


@compiled_parser
def _parse(text, start, stop, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], rows, row)


@compiled_parser
def _parse_line(text, i, stop, rows, row):
    if text[i] == 59:  # ;
        return COMMENT
    i = skip(text, i, stop, SPACE)
    first = i
    while i < stop and 48 <= text[i] <= 57:
        i += 1
    if i == first or i + 1 >= stop or text[i] != 41 or text[i + 1] != SPACE:  # )
        return MISSING_FIELD
    rows.t[row], i = read_seconds(text, skip(text, i + 1, stop, SPACE), stop, 3)
    if i < 0 or i >= stop or text[i] != SPACE:
        return BAD_TIME
    flags, i = _parse_type(text, skip(text, i, stop, SPACE), stop)
    if flags < 0:
        return -flags
    value, digits, i = read_hex(text, skip(text, i, stop, SPACE), stop)
    if (digits != 4 and digits != 8) or i >= stop or text[i] != SPACE:
        return BAD_ID
    if value > (0x7FF if digits == 4 else 0x1FFFFFFF):
        return ID_TOO_LARGE
    if digits == 8:
        flags |= EXTENDED
    i = skip(text, i, stop, SPACE)
    if i >= stop or not 48 <= text[i] <= 56:
        return BAD_DLC
    length = text[i] - 48
    i += 1
    after = read_word(text, skip(text, i, stop, SPACE), stop, b"RTR")
    if after > 0:
        flags |= REMOTE
        length = 0
        i = after
    code, i = read_bytes(text, i, stop, length, SPACE, rows.payload, row)
    if code != GOOD:
        return code
    if i != stop:
        return TRAILING_TEXT
    rows.id[row] = value
    rows.flags[row] = flags
    rows.length[row] = length
    return GOOD


@compiled_parser
def _parse_type(text, i, stop):
    """``(flags, position after the type)``; minus a code in place of the flags where the line is no frame."""
    after = max(read_word(text, i, stop, b"Rx "), read_word(text, i, stop, b"Tx "))
    if after > 0:
        return 0, after
    after = read_word(text, i, stop, b"Error ")
    if after > 0:
        return ERROR, after
    return (-COMMENT if read_word(text, i, stop, b"Warng ") > 0 else -BAD_FLAGS), i
