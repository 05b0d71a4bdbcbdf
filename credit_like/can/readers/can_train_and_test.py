"""The CSV of can-train-and-test (Lampe, Meng, Computers & Security 140, 103777, 2024)."""

from __future__ import annotations

import re

from credit_like._compiled import compiled_parser
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import COMMA, id_flags, is_word, read_hex, read_payload, read_seconds
from credit_like.can.readers._rows import BAD_ID, BAD_LABEL, BAD_TIME, GOOD, MISSING_FIELD, TRAILING_TEXT, Rows


class CanTrainAndTestReader(TextReader):
    """Header ``timestamp,arbitration_id,data_field,attack``; payload without separators, maybe empty; attack 0 or 1."""

    name = "can_train_and_test"
    title = "can-train-and-test CSV"
    shape = "timestamp,arbitration_id,data_field,attack"
    header = b"timestamp,arbitration_id,data_field,attack"
    pattern = re.compile(rb"-?\d[\d.eE+-]*,[0-9A-Fa-f]{1,8},([0-9A-Fa-f]{2}){0,8},[01]\s*")
    label_tokens = ("0", "1")
    example = (
        b"timestamp,arbitration_id,data_field,attack\n"
        b"1717547911.118073,32A,03ED31B871D31760,0\n"
        b"1717547911.118795,1EB,012B,1\n"
        b"1717547911.119012,0C1,,0\n"
        b"1717547911.119200,18DAF110,00,0\n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse(lines.text, lines.start, lines.stop, rows)


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
    code, length, i = read_payload(text, i + 1, stop, 8, rows.payload, row)
    if code != GOOD:
        return code
    if i + 1 >= stop or text[i] != COMMA:
        return MISSING_FIELD
    if not is_word(text, i + 1, stop):
        return TRAILING_TEXT
    if i + 2 != stop or (text[i + 1] != 48 and text[i + 1] != 49):
        return BAD_LABEL
    rows.id[row] = value
    rows.flags[row] = flags
    rows.length[row] = length
    rows.label[row] = text[i + 1] - 48
    return GOOD
