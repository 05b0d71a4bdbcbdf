"""The CSV of the DAGA data set (Stabili et al., IEEE Transactions on Vehicular Technology, 2022)."""

from __future__ import annotations

import re
from pathlib import Path

from credit_like._compiled import compiled_parser
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import (
    COMMA,
    id_flags,
    is_word,
    read_hex,
    read_hex_digit,
    read_seconds,
    read_truth,
)
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_ID,
    BAD_LABEL,
    BAD_PAYLOAD,
    BAD_TIME,
    COLUMNS_DISAGREE,
    DLC_DISAGREES,
    GOOD,
    MISSING_FIELD,
    TRAILING_TEXT,
    Rows,
)

_VEHICLE = re.compile(r"(?:.*_)?([A-Za-z]+\d*)_\d+\.can")


class DagaReader(TextReader):
    """Header ``timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY``; one CSV in a zip.

    ``DLC`` is the payload length in bits. Ids and payloads are numbers without leading zeros, the payload in as many
    bytes as DLC says: ``64,0,0`` is eight zero bytes. ``PAYLOAD_BIN`` repeats the payload and must agree. Times may be
    written ``9e-06``. ``ANOMALY`` is True or False in any case. File names ``..._V40_03.can...`` name the vehicle.
    """

    name = "daga"
    title = "DAGA CSV"
    shape = "timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY"
    header = b"timestamp,can_id,dlc,payload_hex,payload_bin,anomaly"
    pattern = re.compile(rb"-?\d[\d.eE+-]*,[0-9A-Fa-f]{1,8},\d{1,2},[0-9A-Fa-f]{0,16},[01]{0,64},\w+\s*")
    label_tokens = ("True", "False", "TRUE", "FALSE")
    example = (
        b"timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY\n"
        b"0.0,10,16,2FB0,0010111110110000,FALSE\n"
        b"9e-06,1D0,64,0,0,True\n"
        b"0.00044,291,24,061,000000000000000001100001,False\n"
        b"153.4297777777778,1,0,,,False\n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse(lines.text, lines.start, lines.stop, rows)

    def vehicle(self, path: Path) -> str:
        match = _VEHICLE.match(path.name)
        return match[1] if match else ""


@compiled_parser
def _parse(text, start, stop, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], rows, row)


@compiled_parser
def _parse_line(text, i, stop, rows, row):
    rows.t[row], i = read_seconds(text, i, stop, 0)
    if i < 0:
        return BAD_TIME
    if i >= stop or text[i] != COMMA:
        return MISSING_FIELD
    value, digits, i = read_hex(text, i + 1, stop)
    flags = id_flags(value, digits)
    if flags < 0:
        return BAD_ID
    if i >= stop or text[i] != COMMA:
        return MISSING_FIELD
    first = i + 1
    i = first
    bits = 0
    while i < stop and 48 <= text[i] <= 57 and i < first + 2:
        bits = bits * 10 + (text[i] - 48)
        i += 1
    if i == first or bits > 64 or bits % 8 != 0:
        return BAD_DLC
    code, i = _parse_payload(text, i, stop, bits, rows, row)
    if code != GOOD:
        return code
    if i >= stop:
        return MISSING_FIELD
    if not is_word(text, i, stop):
        return TRAILING_TEXT
    truth = read_truth(text, i, stop)
    if truth < 0:
        return BAD_LABEL
    rows.id[row] = value
    rows.flags[row] = flags
    rows.length[row] = bits // 8
    rows.label[row] = truth
    return GOOD


@compiled_parser
def _parse_payload(text, i, stop, bits, rows, row):
    """``(code, position of the label)``: ``,hex,binary,`` as one number of ``bits``, right-aligned."""
    if i >= stop or text[i] != COMMA:
        return MISSING_FIELD, i
    first = i + 1
    last = first
    while last < stop and text[last] != COMMA:
        last += 1
    if (last - first) * 4 > bits or (last == first) != (bits == 0):
        return DLC_DISAGREES, i
    if last >= stop:
        return MISSING_FIELD, i
    first_bit = last + 1
    last_bit = first_bit
    while last_bit < stop and text[last_bit] != COMMA:
        last_bit += 1
    if last_bit >= stop:
        return MISSING_FIELD, i
    if last_bit - first_bit > bits or (last_bit == first_bit) != (bits == 0):
        return COLUMNS_DISAGREE, i
    for nibble in range(bits // 4):  # from the right
        at = last - 1 - nibble
        value = read_hex_digit(text, at) if at >= first else 0
        if value == 255:
            return BAD_PAYLOAD, i
        for bit in range(4):
            at = last_bit - 1 - (4 * nibble + bit)
            digit = text[at] if at >= first_bit else 48
            if digit != 48 + ((value >> bit) & 1):
                return COLUMNS_DISAGREE, i
        byte = bits // 8 - 1 - nibble // 2
        rows.payload[row, byte] |= value << 4 * (nibble % 2)
    return GOOD, last_bit + 1
