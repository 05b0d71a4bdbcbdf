"""From the blocks of a log, or the records of a binary file, to rows that hold frames and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_like.can.readers._base import RecordReader, TextReader
from credit_like.can.readers._findings import EXAMPLES, BadLine, Findings
from credit_like.can.readers._lines import Lines, cut_lines
from credit_like.can.readers._rows import (
    BAD_LABEL,
    COMMENT,
    EVENT,
    GOOD,
    LINE_TOO_LONG,
    NEEDS_FD,
    NO_LINE_END,
    Rows,
)

#: Frames, and for each the number of its line or record.
Block = tuple[Rows, NDArray[np.int64]]


def rows_of_text(reader: TextReader, blocks: Iterable[bytes], findings: Findings) -> Iterator[Block]:
    """The frames of the text that ``blocks`` make together; whatever else there is to say goes into ``findings``.

    Ends at the first line with a label that is not known.
    """
    digest = hashlib.sha256()
    for lines in _without_header(reader, cut_lines(_hashed(blocks, digest)), findings):
        yield _taken(reader, lines, findings)
        if findings.wrong_label is not None:
            return
    findings.sha256 = digest.hexdigest()


def rows_of_records(reader: RecordReader, path: Path, findings: Findings) -> Iterator[Block]:
    """The frames of a binary file, likewise. The digest of its bytes is for whoever unpacked it to say."""
    number = 1
    for rows in reader.records(path):
        numbers = np.arange(number, number + len(rows.code))
        number += len(rows.code)
        findings.lines += len(rows.code)
        good = rows.code == GOOD
        for row in np.flatnonzero(~good).tolist():
            findings.note(BadLine(int(numbers[row]), int(rows.code[row])))
        yield (rows, numbers) if good.all() else (rows.take(good), numbers[good])
    findings.events, findings.short = reader.events, reader.cut


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _without_header(reader: TextReader, blocks: Iterator[Lines], findings: Findings) -> Iterator[Lines]:
    for lines in blocks:
        is_header = reader.header is not None and lines.line(0).strip().lower() == reader.header
        findings.passed += is_header
        yield lines.without_first() if is_header else lines
        yield from blocks


def _taken(reader: TextReader, lines: Lines, findings: Findings) -> Block:
    rows = Rows.allocate(len(lines))
    reader.parse(lines, rows)
    if (rows.code == NEEDS_FD).any():
        rows = Rows.allocate(len(lines), 64)
        reader.parse(lines, rows)
    code = rows.code
    code[lines.too_long] = LINE_TOO_LONG
    good = code == GOOD
    findings.lines += len(lines)
    unfinished = not lines.terminated and len(lines) and (reader.needs_line_end or not good[-1])
    cut = bool(unfinished) and code[-1] not in (COMMENT, EVENT)
    if cut:
        findings.cut = BadLine(int(lines.number[-1]), NO_LINE_END, lines.line(len(lines) - 1))
        code[-1] = COMMENT
        good[-1] = False
    if good.all():
        return rows, lines.number
    events = np.flatnonzero(code == EVENT)
    findings.note_events(len(events), int(lines.number[events[0]]) if len(events) else 0)
    comments = int((code == COMMENT).sum())
    findings.lines -= comments + len(events)
    findings.passed += comments - cut
    for row in np.flatnonzero(~good & (code != COMMENT) & (code != EVENT)).tolist():
        text = lines.line(row) if len(findings.bad) < EXAMPLES or code[row] == BAD_LABEL else b""
        findings.note(BadLine(int(lines.number[row]), int(code[row]), text))
        if code[row] == BAD_LABEL:
            break
    return rows.take(good), lines.number[good]
