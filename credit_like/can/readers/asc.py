"""The text logs of Vector's CANoe and CANalyzer: ``0.012345 1  123  Rx   d 8 11 22 33 44 55 66 77 88``."""

from __future__ import annotations

import re

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE
from credit_like.can.metadata import Declared
from credit_like.can.readers._base import Head, TextReader
from credit_like.can.readers._delta import Gaps
from credit_like.can.readers._directives import Directives
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import (
    DLC_LENGTHS,
    SPACE,
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
    BAD_PAYLOAD,
    BAD_TIME,
    COMMENT,
    DLC_DISAGREES,
    EVENT,
    GOOD,
    ID_TOO_LARGE,
    MISSING_FIELD,
    NEEDS_FD,
    TRAILING_TEXT,
    Rows,
)

_BASE = re.compile(rb"base\s+(hex|dec)(?:\s+timestamps\s+(absolute|relative))?", re.IGNORECASE)

#: Bits of the flags field of a CANFD line: it was a CAN FD frame, and a remote frame.
_FLAG_FD, _FLAG_REMOTE = 0x1000, 0x10


class AscReader(TextReader):
    """Lines ``seconds channel ID Rx d length bytes``, or ``seconds CANFD channel Rx ID name brs esi dlc length bytes``.

    The header says whether numbers are hexadecimal or decimal (``base``), and whether a time is that since the start of
    the measurement or since the line before (``timestamps relative``). ``x`` after an id marks 29 bits; ``r`` in place
    of ``d`` is a remote frame (length 0), ``ErrorFrame`` an error frame with id 0. CANFD lines whose flags say so are
    classic frames. Channels become bus numbers in their order. Comments and headers are passed over, and so are events
    that are no CAN frames (statistics, the state of a controller, transmit requests, other kinds of bus), which are
    counted. There are no labels. Not supported: symbolic names in place of ids, the start date.
    """

    name = "asc"
    title = "Vector ASC"
    shape = "seconds channel ID Rx d length byte ... byte"
    pattern = re.compile(
        rb"\s*\d+\.\d+\s+(\d+\s+([0-9A-Fa-f]+x?\s+(Rx|Tx|TxRq)\s+[dr]\b.*|ErrorFrame.*|Statistic:.*)|CANFD\s+\d+\s.*)"
    )
    needs_line_end = True
    example = (
        b"date Sat Nov 21 10:11:15.123 2026\n"
        b"base hex  timestamps absolute\n"
        b"internal events logged\n"
        b"// version 9.0.0\n"
        b"Begin Triggerblock Sat Nov 21 10:11:15.123 2026\n"
        b"   0.000000 Start of measurement\n"
        b"   0.001000 1  123             Rx   d 8 11 22 33 44 55 66 77 88  Length = 236000 BitCount = 121 ID = 291\n"
        b"   0.002500 2  18DAF110x       Tx   d 3 02 3E 00\n"
        b"   0.003000 1  7DF             Rx   r 8\n"
        b"   0.003500 1  551             Rx   d 0\n"
        b"   0.004000 CANFD   1 Rx   321  EngineData 1 0 9 12 00 01 02 03 04 05 06 07 08 09 0A 0B  0 0 3000 0 0 0\n"
        b"   0.004500 CANFD   2 Tx        322             0 0 2  2 AB CD       0    0        0        0\n"
        b"   0.005000 1  ErrorFrame\n"
        b"   0.006000 1  Statistic: D 4 R 1 XD 1 XR 0 E 1 O 0 B 1.5%\n"
        b"End TriggerBlock\n"
    )

    def __init__(self) -> None:
        self._directives = Directives(re.compile(rb"\s*\d"))
        self._base = 16
        self._gaps: Gaps | None = None

    def parse(self, lines: Lines, rows: Rows) -> None:
        for line in self._directives.before_frames(lines):
            match = _BASE.match(line)
            if match is not None:
                self._base = 10 if match[1].lower() == b"dec" else 16
                self._gaps = Gaps() if (match[2] or b"").lower() == b"relative" else None
        _parse(lines.text, lines.start, lines.stop, self._base, rows)
        if self._gaps is not None and not (rows.code == NEEDS_FD).any():
            self._gaps.add_up(rows)

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        for line in head.lines[:10]:
            if _BASE.match(line):
                return 1.0, f"its header says {line.strip().decode('ascii', 'replace')!r}"
        return super().recognise(head, declared)


@compiled_parser
def _parse(text, start, stop, base, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], base, rows, row)


@compiled_parser
def _parse_line(text, i, stop, base, rows, row):
    i = skip(text, i, stop, SPACE)
    if not 48 <= text[i] <= 57:
        return COMMENT if _is_heading(text, i, stop) else MISSING_FIELD
    time, i = read_seconds(text, i, stop, 0)
    if i < 0:
        return BAD_TIME
    if i >= stop or text[i] != SPACE:
        return MISSING_FIELD
    rows.t[row] = time
    i = skip(text, i, stop, SPACE)
    after = _read_name(text, i, stop, b"canfd")
    if 0 < after < stop and text[after] == SPACE:
        if rows.payload.shape[1] < 64:
            return NEEDS_FD
        return _parse_fd(text, skip(text, after, stop, SPACE), stop, base, rows, row)
    if _is_letter(text[i]):
        return EVENT
    bus, i = _read_channel(text, i, stop)
    if bus < 0:
        return BAD_INTERFACE
    rows.bus[row] = bus
    if read_word(text, i, stop, b"Statistic: ") > 0:
        return EVENT
    if _is_error_frame(text, i, stop):
        rows.flags[row] = ERROR
        return GOOD
    code, i = _parse_id(text, i, stop, base, rows, row)
    if code != GOOD:
        return code
    code, i = _parse_direction(text, i, stop)
    if code != GOOD:
        return code
    return _parse_classic(text, i, stop, base, rows, row)


@compiled_parser
def _parse_classic(text, i, stop, base, rows, row):
    """From ``d`` or ``r`` to the end of the line."""
    if i >= stop or (text[i] != 100 and text[i] != 114):  # d, r
        return BAD_FLAGS
    remote = text[i] == 114
    i += 1
    if i < stop and text[i] != SPACE:
        return BAD_FLAGS
    after = skip(text, i, stop, SPACE)
    dlc = np.int64(0)
    if after < stop and not (remote and text[after] == 76):  # L of Length
        dlc, i = _read_code(text, after, stop, base)
    elif not remote:
        return BAD_DLC
    if i < 0:
        return BAD_DLC
    if remote:
        rows.flags[row] |= REMOTE
        dlc = np.int64(0)
    length = min(dlc, 8)
    code, i = _read_data(text, i, stop, length, base, rows.payload, row)
    if code != GOOD:
        return code
    if i < stop and read_word(text, skip(text, i, stop, SPACE), stop, b"Length ") < 0:
        return TRAILING_TEXT
    rows.length[row] = length
    return GOOD


@compiled_parser
def _parse_fd(text, i, stop, base, rows, row):
    """From the channel to the end of a CANFD line."""
    bus, i = _read_channel(text, i, stop)
    if bus < 0:
        return BAD_INTERFACE
    rows.bus[row] = bus
    code, i = _parse_direction(text, i, stop)
    if code != GOOD:
        return code
    if _is_error_frame(text, i, stop):
        rows.flags[row] = ERROR
        return GOOD
    code, i = _parse_id(text, i, stop, base, rows, row)
    if code != GOOD:
        return code
    if i + 1 < stop and not ((text[i] == 48 or text[i] == 49) and text[i + 1] == SPACE):  # the name of the message
        while i < stop and text[i] != SPACE:
            i += 1
        i = skip(text, i, stop, SPACE)
    for _ in range(2):  # bit-rate switch, error state
        if i + 1 >= stop or (text[i] != 48 and text[i] != 49) or text[i + 1] != SPACE:
            return BAD_FLAGS
        i = skip(text, i + 1, stop, SPACE)
    dlc, i = _read_code(text, i, stop, base)
    if i < 0:
        return BAD_DLC
    length, i = read_decimal(text, skip(text, i, stop, SPACE), stop, 2)
    if i < 0 or (length != DLC_LENGTHS[dlc] and length != 0):
        return BAD_DLC
    code, i = _read_data(text, i, stop, length, base, rows.payload, row)
    if code != GOOD:
        return code
    bits = _read_flags(text, i, stop)
    if bits < 0:
        return TRAILING_TEXT
    if bits & _FLAG_FD == 0 and length > 8:
        return BAD_DLC
    if bits & _FLAG_FD:
        rows.flags[row] |= FD
    if bits & _FLAG_REMOTE or (dlc > 0 and length == 0):
        rows.flags[row] |= REMOTE
        rows.payload[row, :length] = 0
        length = np.int64(0)
    rows.length[row] = length
    return GOOD


@compiled_parser
def _read_channel(text, i, stop):
    """``(channel, position after it and its blanks)``; the channel is -1 where there is none from 1 to 255."""
    channel, i = read_decimal(text, i, stop, 3)
    if i < 0 or i >= stop or text[i] != SPACE or not 1 <= channel <= 255:
        return np.int64(-1), i
    return channel, skip(text, i, stop, SPACE)


@compiled_parser
def _parse_id(text, i, stop, base, rows, row):
    """``(code, position after the id and its blanks)``; fills id and flags."""
    if base == 16:
        value, digits, i = read_hex(text, i, stop)
        good = 0 < digits <= 8
    else:
        value, i = read_decimal(text, i, stop, 9)
        good = i > 0
    if not good:
        return BAD_ID, i
    flags = 0
    if i < stop and text[i] == 120:  # x
        flags = EXTENDED
        i += 1
    if i >= stop or text[i] != SPACE:
        return BAD_ID, i
    if value > (0x1FFFFFFF if flags else 0x7FF):
        return ID_TOO_LARGE, i
    rows.id[row] = value
    rows.flags[row] = flags
    return GOOD, skip(text, i, stop, SPACE)


@compiled_parser
def _parse_direction(text, i, stop):
    """``(code, position after the direction and its blanks)``; a transmit request is no frame."""
    if read_word(text, i, stop, b"TxRq ") > 0:
        return EVENT, i
    after = max(read_word(text, i, stop, b"Rx "), read_word(text, i, stop, b"Tx "))
    return (GOOD, skip(text, after, stop, SPACE)) if after > 0 else (BAD_FLAGS, i)


@compiled_parser
def _read_code(text, i, stop, base):
    """``(data length code, position after it)``; the position is -1 where it is none from 0 to 15."""
    if base == 16:
        value, digits, i = read_hex(text, i, stop)
        good = digits == 1
    else:
        value, i = read_decimal(text, i, stop, 2)
        good = i > 0 and value <= 15
    return (value, i) if good else (np.int64(0), -1)


@compiled_parser
def _read_data(text, i, stop, count, base, payload, row):
    """``(code, position after it)``: ``count`` bytes after blanks, of two hexadecimal or up to three decimal digits."""
    for k in range(count):
        if i >= stop:
            return DLC_DISAGREES, i
        if text[i] != SPACE:
            return BAD_PAYLOAD, i
        i = skip(text, i, stop, SPACE)
        if base == 16:
            value, digits, i = read_hex(text, i, stop)
            good = digits == 2
        else:
            value, i = read_decimal(text, i, stop, 3)
            good = i > 0 and value < 256
        if not good:
            return BAD_PAYLOAD, i
        payload[row, k] = value
    if i < stop and text[i] != SPACE:
        return BAD_PAYLOAD, i
    return GOOD, i


@compiled_parser
def _read_flags(text, i, stop):
    """The flags of a CANFD line, its third number after the data; those of a CAN FD frame where there are none.

    -1 where something else than numbers follows the data.
    """
    flags = np.int64(_FLAG_FD)
    place = 0
    i = skip(text, i, stop, SPACE)
    while i < stop:
        value, digits, after = read_hex(text, i, stop)
        if digits == 0 or digits > 8 or (after < stop and text[after] != SPACE):
            return np.int64(-1)
        place += 1
        if place == 3:
            flags = value
        i = skip(text, after, stop, SPACE)
    return flags


@compiled_parser
def _is_error_frame(text, i, stop):
    after = _read_name(text, i, stop, b"errorframe")
    return after == stop or (0 < after < stop and text[after] == SPACE)


@compiled_parser
def _read_name(text, i, stop, name):
    """The position after ``name`` (small letters) in any case, or -1."""
    if stop - i < len(name):
        return -1
    for k in range(len(name)):
        byte = text[i + k]
        if (byte + 32 if 65 <= byte <= 90 else byte) != name[k]:
            return -1
    return i + len(name)


@compiled_parser
def _is_letter(byte):
    return 65 <= byte <= 90 or 97 <= byte <= 122


@compiled_parser
def _is_heading(text, i, stop):
    """Whether the line is a comment or one of those that stand at the start and end of a log."""
    if read_word(text, i, stop, b"//") > 0:
        return True
    for name in (b"date ", b"base ", b"begin triggerblock", b"end triggerblock", b"previous log file:"):
        if _read_name(text, i, stop, name) > 0:
            return True
    for name in (b"internal events logged", b"no internal events logged"):
        if _read_name(text, i, stop, name) == stop:
            return True
    return False
