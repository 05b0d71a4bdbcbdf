"""A text parsed to its end: columns, and everything that has to be said about its lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from credit_like.can.readers._base import Reader
from credit_like.can.readers._lines import Lines, cut_lines
from credit_like.can.readers._rows import BAD_LABEL, COMMENT, GOOD, LINE_TOO_LONG, NEEDS_FD, NO_LINE_END, Rows


@dataclass(frozen=True)
class BadLine:
    """A line that is no frame: number from 1, key of its reason in ``REASONS``, and its bytes (of the first ones)."""

    number: int
    code: int
    text: bytes = b""


@dataclass
class ParsedText:
    """What became of a text.

    ``parts`` are the frames, a block each; ``lines`` counts those that should be frames (no header, comment or blank);
    ``bad`` those that are none; ``cut`` is a last line that is not taken because it may be cut short, or None;
    ``wrong_label`` the first line with a label that is not known, or None (parsing ends there); ``restarts`` are
    (row, line, seconds) where time runs backwards by that much; ``sha256`` is the digest of the bytes.
    """

    parts: list[Rows] = field(default_factory=list)
    rows: int = 0
    lines: int = 0
    bad: list[BadLine] = field(default_factory=list)
    cut: BadLine | None = None
    wrong_label: BadLine | None = None
    restarts: list[tuple[int, int, float]] = field(default_factory=list)
    sha256: str = ""
    last_time: float = -np.inf


#: Bytes of bad lines are kept for the message about them, which shows this many.
EXAMPLES = 5


def parse_text(reader: Reader, blocks: Iterable[bytes]) -> ParsedText:
    """Every line of the text that ``blocks`` make together, parsed by ``reader``; see :class:`ParsedText`."""
    parsed = ParsedText()
    digest = hashlib.sha256()
    for lines in _without_header(reader, cut_lines(_hashed(blocks, digest))):
        _take(parsed, reader, lines)
        if parsed.wrong_label is not None:
            break
    parsed.sha256 = digest.hexdigest()
    return parsed


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _without_header(reader: Reader, blocks: Iterator[Lines]) -> Iterator[Lines]:
    for lines in blocks:
        is_header = reader.header is not None and lines.line(0).strip().lower() == reader.header
        yield lines.without_first() if is_header else lines
        yield from blocks


def _take(parsed: ParsedText, reader: Reader, lines: Lines) -> None:
    rows = Rows.allocate(len(lines))
    reader.parse(lines, rows)
    if (rows.code == NEEDS_FD).any():
        rows = Rows.allocate(len(lines), 64)
        reader.parse(lines, rows)
    code = rows.code
    code[lines.too_long] = LINE_TOO_LONG
    good = code == GOOD
    parsed.lines += len(lines)
    if not lines.terminated and len(lines) and (reader.needs_line_end or code[-1] != GOOD) and code[-1] != COMMENT:
        parsed.cut = BadLine(int(lines.number[-1]), NO_LINE_END, lines.line(len(lines) - 1))
        code[-1] = COMMENT
        good[-1] = False
    if not good.all():
        parsed.lines -= int((code == COMMENT).sum())
        for row in np.flatnonzero(~good & (code != COMMENT)).tolist():
            text = lines.line(row) if len(parsed.bad) < EXAMPLES or code[row] == BAD_LABEL else b""
            parsed.bad.append(BadLine(int(lines.number[row]), int(code[row]), text))
            if code[row] == BAD_LABEL:
                parsed.wrong_label = parsed.bad[-1]
                return
        rows = rows.take(good)
    _note_restarts(parsed, rows.t, lines.number[good])
    parsed.parts.append(rows)
    parsed.rows += len(rows.t)


def _note_restarts(parsed: ParsedText, t: NDArray[np.float64], numbers: NDArray[np.int64]) -> None:
    if len(t) == 0:
        return
    steps = np.diff(t, prepend=parsed.last_time)
    for row in np.flatnonzero(steps < 0):
        parsed.restarts.append((parsed.rows + int(row), int(numbers[row]), -float(steps[row])))
    parsed.last_time = float(t[-1])
