"""The trace files of PCAN-View, versions 1.0 to 2.1 (PEAK-System, "PCAN Trace File Format")."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE
from credit_like.can.metadata import Declared
from credit_like.can.readers._base import Head, TextReader
from credit_like.can.readers._directives import Directives
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import (
    DLC_LENGTHS,
    FD_LENGTHS,
    SPACE,
    read_bytes,
    read_decimal,
    read_hex,
    read_seconds,
    read_word,
    skip,
)
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_FLAGS,
    BAD_ID,
    BAD_INTERFACE,
    BAD_TIME,
    COMMENT,
    EVENT,
    GOOD,
    ID_TOO_LARGE,
    MISSING_FIELD,
    NEEDS_FD,
    TRAILING_TEXT,
    Rows,
)

#: Columns of each version, in the letters of PEAK's own ``$COLUMNS``: number, offset, bus, type, id, direction,
#: reserved, length in bytes, data length code, data.
_COLUMNS = {"1.0": "NOIlD", "1.1": "NOTIlD", "1.2": "NOBTIlD", "1.3": "NOBTIRLD", "2.0": "NOTIdlD", "2.1": "NOTBIdRLD"}
_FILE_VERSION, _COLUMN_LIST = b";$fileversion=", b";$columns="
_N, _O, _B, _T, _I, _D, _DIRECTION, _RESERVED, _BYTES, _CODE = np.frombuffer(b"NOBTIDdRlL", np.uint8).tolist()


class TrcReader(TextReader):
    """``;`` comments, then columns that depend on the version; times are seconds from the start of the trace.

    Version 1.1 has ``number) milliseconds Rx ID length bytes``, 1.0 no type, 1.2 and 1.3 a bus before the type, 2.0 and
    2.1 what ``;$COLUMNS=`` says. Without ``;$FILEVERSION=`` it is 1.0. Four digits are an 11-bit id, eight (or seven,
    as python-can writes) a 29-bit one. ``RTR`` in place of the bytes and type ``RR`` are remote frames (length 0),
    types ``Error`` and ``ER`` error frames, ``FD``, ``FB``, ``FE`` and ``BI`` CAN FD. Other types report the state of
    the hardware and are passed over. There are no labels. Not supported: the start date.
    """

    name = "trc"
    title = "PCAN trace"
    shape = "number) milliseconds Rx ID length byte ... byte"
    pattern = re.compile(rb"\s*\d+\)\s+\d[\d.]*\s+([0-9A-F]{4}|[0-9A-F]{7,8})\s+\d\b.*")
    needs_line_end = True
    example = (
        b";$FILEVERSION=1.1\n"
        b";---+--   ----+----  --+--  ----+---  +  -+ -- -- -- -- -- -- --\n"
        b"     1)         0.1  Rx         0410  8  0C 00 1A 0B 00 0D 04 C1 \n"
        b"     2)         0.3  Tx     18DAF110  0 \n"
        b"     3)         1.7  Rx         0100  8  RTR \n"
        b"     4)         7.1  Warng  FFFFFFFF  4  00 00 00 08  BUSHEAVY \n"
        b"     5)        10.0  Error      0008  4  00 19 08 08 \n"
    )

    def __init__(self) -> None:
        self._directives = Directives(re.compile(rb"[^;]"))
        self._version = "1.0"
        self._columns = _letters(_COLUMNS["1.0"])

    def parse(self, lines: Lines, rows: Rows) -> None:
        for line in self._directives.before_frames(lines):
            if line.lower().startswith(_FILE_VERSION):
                self._version = line[len(_FILE_VERSION) :].decode("ascii", "replace").strip()
                self._columns = _letters(_COLUMNS.get(self._version, ""))
            elif line.lower().startswith(_COLUMN_LIST) and self._version in ("2.0", "2.1"):
                self._columns = _letters(line[len(_COLUMN_LIST) :].decode("ascii", "replace").replace(",", "").strip())
        _parse(lines.text, lines.start, lines.stop, self._version < "2", self._columns, rows)

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        for line in head.lines:
            if line.lower().startswith(_FILE_VERSION):
                version = line[len(_FILE_VERSION) :].decode("ascii", "replace").strip()
                return float(version in _COLUMNS), f"its header says $FILEVERSION={version}"
        rows = [line for line in head.lines if not line.startswith(b";")]
        hits = sum(cls.pattern.fullmatch(line) is not None for line in rows)
        return hits / max(1, len(rows)), f"{hits} of its first {len(rows)} lines have the form of version 1.0"


def _letters(columns: str) -> NDArray[np.uint8]:
    """The columns for the parser; none, so that no line can be read, where one is missing that it cannot do without."""
    usable = {"O", "I"} <= set(columns) and {"l", "L"} & set(columns) and "D" not in columns[:-1] and columns.isascii()
    return np.frombuffer((columns if usable else "").encode("ascii"), np.uint8)


@compiled_parser
def _parse(text, start, stop, first_form, columns, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], first_form, columns, rows, row)


@compiled_parser
def _parse_line(text, i, stop, first_form, columns, rows, row):
    if text[i] == 59:  # ;
        return COMMENT
    if len(columns) == 0:
        return MISSING_FIELD
    i = skip(text, i, stop, SPACE)
    flags = 0
    length = 0
    for place in range(len(columns)):
        column = columns[place]
        if column == _D:
            break
        if place > 0:
            if i >= stop or text[i] != SPACE:
                return MISSING_FIELD
            i = skip(text, i, stop, SPACE)
        if column == _N:
            i = _skip_number(text, i, stop, first_form)
            if i < 0:
                return MISSING_FIELD
        elif column == _O:
            rows.t[row], i = read_seconds(text, i, stop, 3)
            if i < 0 or i >= stop or text[i] != SPACE:
                return BAD_TIME
        elif column == _B:
            bus, i = read_decimal(text, i, stop, 3)
            if i < 0 or not 1 <= bus <= 255:
                return BAD_INTERFACE
            rows.bus[row] = bus
        elif column == _T:
            kind, i = _parse_type(text, i, stop, first_form)
            if kind < 0:
                return -kind
            flags |= kind
            if flags & FD and rows.payload.shape[1] < 64:
                return NEEDS_FD
        elif column == _I:
            code, flags, i = _parse_id(text, i, stop, flags, rows, row)
            if code != GOOD:
                return code
        elif column in (_BYTES, _CODE):
            length, i = _parse_length(text, i, stop, flags, column == _CODE)
            if length < 0:
                return BAD_DLC
        else:
            i = _skip_column(text, i, stop, column)
            if i < 0:
                return BAD_FLAGS
    after = read_word(text, skip(text, i, stop, SPACE), stop, b"RTR") if first_form else -1
    if after > 0 and text[i] == SPACE:
        flags |= REMOTE
        i = after
    if flags & REMOTE:
        length = 0
    code, i = read_bytes(text, i, stop, length, SPACE, rows.payload, row)
    if code != GOOD:
        return code
    if i != stop:
        return TRAILING_TEXT
    rows.flags[row] = flags
    rows.length[row] = length
    return GOOD


@compiled_parser
def _skip_number(text, i, stop, first_form):
    """The position after the number of the message, ``1)`` or ``1``; -1 where there is none."""
    first = i
    while i < stop and 48 <= text[i] <= 57:
        i += 1
    if i == first:
        return -1
    if not first_form:
        return i
    return i + 1 if i < stop and text[i] == 41 else -1  # )


@compiled_parser
def _parse_type(text, i, stop, first_form):
    """``(flags, position after the type)``; minus a code in place of the flags where the line is no frame."""
    if first_form:
        after = max(read_word(text, i, stop, b"Rx "), read_word(text, i, stop, b"Tx "))
        if after > 0:
            return 0, after - 1
        after = read_word(text, i, stop, b"Error ")
        if after > 0:
            return ERROR, after - 1
        return (-EVENT if read_word(text, i, stop, b"Warng ") > 0 else -BAD_FLAGS), i
    if i + 2 >= stop or text[i + 2] != SPACE:
        return -BAD_FLAGS, i
    if read_word(text, i, stop, b"DT") > 0:
        return 0, i + 2
    for word in (b"FD", b"FB", b"FE", b"BI"):
        if read_word(text, i, stop, word) > 0:
            return FD, i + 2
    if read_word(text, i, stop, b"RR") > 0:
        return REMOTE, i + 2
    if read_word(text, i, stop, b"ER") > 0:
        return ERROR, i + 2
    for word in (b"ST", b"EC", b"EV"):
        if read_word(text, i, stop, word) > 0:
            return -EVENT, i
    return -BAD_FLAGS, i


@compiled_parser
def _parse_id(text, i, stop, flags, rows, row):
    """``(code, flags, position after the id)``; an error frame may have ``-`` for its id."""
    if flags & ERROR and i < stop and text[i] == 45:
        return GOOD, flags, i + 1
    value, digits, i = read_hex(text, i, stop)
    if (digits != 4 and digits != 7 and digits != 8) or i >= stop or text[i] != SPACE:
        return BAD_ID, flags, i
    if value == 0xFFFFFFFF:
        return EVENT, flags, i
    if value > (0x7FF if digits == 4 else 0x1FFFFFFF):
        return ID_TOO_LARGE, flags, i
    rows.id[row] = value
    return GOOD, flags | (0 if digits == 4 else EXTENDED), i


@compiled_parser
def _parse_length(text, i, stop, flags, is_code):
    """``(bytes, position after the length)``, from the bytes themselves or from a code; -1 where it is out of range."""
    value, i = read_decimal(text, i, stop, 2)
    if i < 0:
        return -1, i
    if is_code:
        if value > 15:
            return -1, i
        length = np.int64(DLC_LENGTHS[value])
        return (length if flags & FD else min(length, 8)), i
    if value > (64 if flags & FD else 8) or not FD_LENGTHS[value]:
        return -1, i
    return value, i


@compiled_parser
def _skip_column(text, i, stop, column):
    """The position after a column that says nothing of the frame; -1 where it is not what it should be."""
    if column == _DIRECTION:
        return max(read_word(text, i, stop, b"Rx"), read_word(text, i, stop, b"Tx"))
    if column == _RESERVED:
        return read_word(text, i, stop, b"-")
    while i < stop and text[i] != SPACE:
        i += 1
    return i
