"""The two text forms of the HCRL car-hacking data sets (Song, Woo, Kim, Vehicular Communications 21, 100198, 2020)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import REMOTE, FrameTable
from credit_like.can.metadata import Declared
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import (
    COMMA,
    SPACE,
    id_flags,
    is_word,
    read_bytes,
    read_hex,
    read_seconds,
    read_word,
    skip,
)
from credit_like.can.readers._rows import (
    BAD_DLC,
    BAD_FLAGS,
    BAD_ID,
    BAD_LABEL,
    BAD_TIME,
    GOOD,
    MISSING_FIELD,
    TRAILING_TEXT,
    Rows,
)


class HcrlCsvReader(TextReader):
    """Attack files: ``seconds,id,dlc,byte,...,flag``, no header; after ``dlc`` bytes R (normal) or T (injected)."""

    name = "hcrl_csv"
    title = "HCRL CSV"
    shape = "seconds,id,dlc,byte,...,byte,R|T"
    pattern = re.compile(rb"-?\d[\d.eE+-]*,[0-9A-Fa-f]{1,8},\d(,[0-9A-Fa-f]{2})*,\w\s*")
    label_tokens = ("R", "T")
    example = (
        b"1666123414.590352,0315,7,69,00,00,00,00,90,00,R\n"
        b"1666123414.591185,0210,8,00,00,00,00,00,00,00,00,T\n"
        b"1666123414.591408,02a0,0,R\n"
        b"1666123414.591633,18daf110,2,3f,FF,R\n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse_csv(lines.text, lines.start, lines.stop, rows)


class HcrlTextReader(TextReader):
    """Normal run: ``Timestamp: seconds  ID: id  000  DLC: n  bytes``; three digits of flags, 100 for a remote frame.

    The lines have no label. Files named as the sets name their attack-free ones (``normal_run_data.txt``,
    ``Attack_free_dataset.txt``) are labelled 0.
    """

    name = "hcrl_text"
    title = "HCRL text"
    shape = "Timestamp: seconds ID: id 000 DLC: n byte ... byte"
    pattern = re.compile(rb"Timestamp: +\d[\d.eE+-]* +ID: +[0-9A-Fa-f]{1,8} +\d{3} +DLC: +\d( +[0-9A-Fa-f]{2})*\s*")
    example = (
        b"Timestamp: 1666123550.709434        ID: 0316    000    DLC: 7    5f ff ff ff c6 66 00\n"
        b"Timestamp: 1666123550.709629        ID: 0412    000    DLC: 0    \n"
        b"Timestamp: 1666123550.709918        ID: 05f0    100    DLC: 2    01 00\n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse_text(lines.text, lines.start, lines.stop, rows)

    def annotate(self, frames: FrameTable, start: float, path: Path, declared: Declared | None) -> FrameTable:
        if not any(word in path.name.lower() for word in ("normal", "attack_free")):
            return frames
        return replace(frames, label=np.zeros(len(frames), np.int8))


@compiled_parser
def _parse_csv(text, start, stop, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_csv_line(text, start[row], stop[row], rows, row)


@compiled_parser
def _parse_csv_line(text, i, stop, rows, row):
    rows.t[row], i = read_seconds(text, i, stop, 0)
    if i < 0:
        return BAD_TIME
    if i >= stop or text[i] != COMMA:
        return MISSING_FIELD
    value, digits, i = read_hex(text, i + 1, stop)
    flags = id_flags(value, digits)
    if flags < 0:
        return BAD_ID
    if i + 2 >= stop or text[i] != COMMA:
        return MISSING_FIELD
    if not 48 <= text[i + 1] <= 56:
        return BAD_DLC
    length = text[i + 1] - 48
    code, i = read_bytes(text, i + 2, stop, length, COMMA, rows.payload, row)
    if code != GOOD:
        return code
    if i + 1 >= stop or text[i] != COMMA:
        return MISSING_FIELD
    if not is_word(text, i + 1, stop):
        return TRAILING_TEXT
    if i + 2 != stop or (text[i + 1] != 82 and text[i + 1] != 84):  # R, T
        return BAD_LABEL
    rows.id[row] = value
    rows.flags[row] = flags
    rows.length[row] = length
    rows.label[row] = text[i + 1] == 84
    return GOOD


@compiled_parser
def _parse_text(text, start, stop, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_text_line(text, start[row], stop[row], rows, row)


@compiled_parser
def _parse_text_line(text, i, stop, rows, row):
    i = read_word(text, i, stop, b"Timestamp: ")
    if i < 0:
        return MISSING_FIELD
    rows.t[row], i = read_seconds(text, skip(text, i, stop, SPACE), stop, 0)
    if i < 0 or i >= stop or text[i] != SPACE:
        return BAD_TIME
    i = read_word(text, skip(text, i, stop, SPACE), stop, b"ID: ")
    if i < 0:
        return MISSING_FIELD
    code, i = parse_id_and_flags(text, skip(text, i, stop, SPACE), stop, rows, row)
    if code != GOOD:
        return code
    i = read_word(text, i, stop, b"DLC: ")
    if i < 0:
        return MISSING_FIELD
    code, i = parse_dlc_and_bytes(text, skip(text, i, stop, SPACE), stop, rows, row)
    if code != GOOD:
        return code
    return GOOD if i == stop else TRAILING_TEXT


@compiled_parser
def parse_id_and_flags(text, i, stop, rows, row):
    """``(code, position after them and their blanks)`` of ``0316    000``; the flags are 100 for a remote frame."""
    value, digits, i = read_hex(text, i, stop)
    flags = id_flags(value, digits)
    if flags < 0 or i >= stop or text[i] != SPACE:
        return BAD_ID, i
    i = skip(text, i, stop, SPACE)
    after = read_word(text, i, stop, b"000 ")
    if after < 0:
        after = read_word(text, i, stop, b"100 ")
        if after < 0:
            return BAD_FLAGS, i
        flags |= REMOTE
    rows.id[row] = value
    rows.flags[row] = flags
    return GOOD, skip(text, after, stop, SPACE)


@compiled_parser
def parse_dlc_and_bytes(text, i, stop, rows, row):
    """``(code, position after them)`` of ``2    01 00``; in these sets a remote frame keeps the bytes it is given."""
    if i >= stop or not 48 <= text[i] <= 56:
        return BAD_DLC, i
    length = text[i] - 48
    code, i = read_bytes(text, i + 1, stop, length, SPACE, rows.payload, row)
    rows.length[row] = length
    return code, i
