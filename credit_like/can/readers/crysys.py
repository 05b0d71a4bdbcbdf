"""The CrySyS data set (Gazdag, Ferenc, Buttyan, Scientific Data 10, 903, 2023): labelled candump, and recordings."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from credit_like._compiled import compiled_parser
from credit_like.can.frames import FrameTable
from credit_like.can.metadata import Declared
from credit_like.can.readers._base import TextReader
from credit_like.can.readers._lines import Lines
from credit_like.can.readers._numbers import SPACE, read_seconds, skip
from credit_like.can.readers._rows import BAD_TIME, GOOD, TRAILING_TEXT, Rows
from credit_like.can.readers.candump import FRAME, CandumpReader
from credit_like.can.readers.hcrl import parse_dlc_and_bytes, parse_id_and_flags


class CrysysReader(CandumpReader):
    """A candump line, then two truth values: the frame was changed by the attack, and it was shifted in time.

    A frame with either of them true is labelled 1. ``msg-mod`` attacks rewrite frames (masquerade), ``msg-inj`` attacks
    add them (spoofing). The benign logs of the set have no label columns and are read as candump; the JSON file beside
    each says that they are benign, or when the attack starts and ends.
    """

    name = "crysys"
    title = "candump with CrySyS labels"
    shape = "(seconds) interface ID#DATA label shifted"
    pattern = re.compile(FRAME + rb"\s+\w+\s+\w+\s*")
    label_tokens = ("1", "0", "True", "False")
    needs_line_end = False
    labelled = True
    example = (
        b"(0.000000) can0 110#02202e1300181300 False\tFalse\n"
        b"(0.000177) can0 300# False\tFalse\n"
        b"(12.091016) can0 410#0003009000461501 1\tFalse\n"
        b"(17.991966) can0 120#00322328164e7000 False\tTrue\n"
    )

    def family(self, path: Path, declared: Declared | None) -> str:
        for kind, family in (("msg-mod", "masquerade"), ("msg-inj", "spoofing")):
            if kind in path.name:
                return family
        return super().family(path, declared)


class CrysysCsvReader(TextReader):
    """The recording that a trace was made from: ``seconds id 000 length bytes`` between blanks, 100 for a remote frame.

    The lines have no label. Files named as the set names them (``S-1-1-orig.csv``) hold no attack and are labelled 0.
    """

    name = "crysys_csv"
    title = "CrySyS CSV"
    shape = "seconds id 000 length byte ... byte"
    pattern = re.compile(rb"\d[\d.]* +[0-9A-Fa-f]{1,8} +\d{3} +\d( +[0-9A-Fa-f]{2})*\s*")
    example = (
        b"1618676990.693704        0110    000    8    02 20 2e 13 00 18 13 00\n"
        b"1618676990.693881        0300    000    0    \n"
        b"1618676990.694110        05f0    100    2    01 00\n"
    )

    def parse(self, lines: Lines, rows: Rows) -> None:
        _parse(lines.text, lines.start, lines.stop, rows)

    def annotate(self, frames: FrameTable, start: float, path: Path, declared: Declared | None) -> FrameTable:
        if "-orig" not in path.name:
            return frames
        return replace(frames, label=np.zeros(len(frames), np.int8))


@compiled_parser
def _parse(text, start, stop, rows):
    for row in range(len(start)):
        rows.code[row] = _parse_line(text, start[row], stop[row], rows, row)


@compiled_parser
def _parse_line(text, i, stop, rows, row):
    rows.t[row], i = read_seconds(text, i, stop, 0)
    if i < 0 or i >= stop or text[i] != SPACE:
        return BAD_TIME
    code, i = parse_id_and_flags(text, skip(text, i, stop, SPACE), stop, rows, row)
    if code != GOOD:
        return code
    code, i = parse_dlc_and_bytes(text, i, stop, rows, row)
    if code != GOOD:
        return code
    return GOOD if i == stop else TRAILING_TEXT
