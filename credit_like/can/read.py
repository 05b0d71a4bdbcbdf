"""read_log: one log file in, captures out, whatever its format and packing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval, Capture, Defect, SourceFile
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.frames import FrameTable
from credit_like.can.intervals import families_by_interval, intervals_from_labels
from credit_like.can.metadata import Declared, declared_for
from credit_like.can.readers import READERS, Reader
from credit_like.can.readers._parse import EXAMPLES, BadLine, ParsedText, parse_text
from credit_like.can.readers._recognise import HEAD_BYTES, excerpt, recognise
from credit_like.can.readers._rows import REASONS, Rows
from credit_like.can.readers._stream import LogText, texts_in
from credit_like.config import closest

#: Text is unpacked and parsed in blocks of this size: large enough that the cost of a block does not matter.
BLOCK_BYTES = 8 << 20

#: Time may run backwards this often, and on the share of lines that may be bad, before a log is refused.
_FREE_RESTARTS = 16


def read_log(
    path: str | Path,
    format: str | None = None,
    max_bad_lines: float = 0.001,
    assume_rate: float | None = None,
    *,
    name: str | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> list[Capture]:
    """The captures in one log file: one, or several where time runs backwards (``name#2``) or a zip holds several logs.

    The format is recognised by content (``source.format`` and ``source.reason`` say which and why); gzip, zip and zstd
    are unpacked on the way. Memory holds the frames and one block of text. Every line that is no frame, every jump
    back in time and everything else that was not taken as it stands is a ``Defect`` of the source.

    Args:
        path: the log. Labels and intervals are completed from the metadata files that stand beside it.
        format: a name in ``READERS`` to read it as, instead of recognising it.
        max_bad_lines: the share of lines, 0 to 1, that may be no frames.
        assume_rate: frames a second for a log whose clock stands still; without it such a log is refused.
        name: what to call the capture; the file's name by default.
        block_bytes: size of the blocks; the result does not depend on it.

    Raises:
        LogError: the file is missing, empty, damaged, of no known format, has an unknown label, more bad lines than
            allowed, no clock, or time that runs backwards again and again.
    """
    if not 0 <= max_bad_lines <= 1:
        raise ValueError(f"max_bad_lines must be a share from 0 to 1, got {max_bad_lines}")
    if assume_rate is not None and not assume_rate > 0:
        raise ValueError(f"assume_rate must be frames a second above 0, got {assume_rate}")
    if format is not None and format not in READERS:
        raise LogError(f"{path}: no reader is named {format!r}{closest(format, READERS)}; known: {', '.join(READERS)}")
    path = Path(path)
    texts = texts_in(path)
    declared = declared_for(path) if len(texts) == 1 else None
    captures: list[Capture] = []
    left_out: list[Defect] = []
    for text in texts:
        own_name = (name or path.name) + (f"/{text.member}" if len(texts) > 1 else "")
        try:
            log = _open(text, format, declared, block_bytes)
        except UnknownFormatError as error:
            if len(texts) == 1:
                raise
            left_out.append(Defect(0, f"not read from the zip: {text.member}: {error.why}"))
            continue
        captures += _captures(log, own_name, max_bad_lines, assume_rate)
    if not captures:
        raise UnknownFormatError(str(path), f"none of the {len(texts)} files in the zip is a log", left_out[0].reason)
    source = captures[0].source
    captures[0] = replace(captures[0], source=replace(source, defects=source.defects + tuple(left_out)))
    return captures


@dataclass(frozen=True)
class _OpenLog:
    """A text with the reader chosen for it, not yet parsed."""

    text: LogText
    reader: Reader
    reason: str
    declared: Declared | None
    blocks: Iterator[bytes]


def _open(text: LogText, format: str | None, declared: Declared | None, block_bytes: int) -> _OpenLog:
    blocks = text.blocks(block_bytes)
    head = bytearray()
    while len(head) < HEAD_BYTES and (block := next(blocks, b"")):
        head += block
    if not head.strip():
        raise UnknownFormatError(text.label, "is empty", "give a log with frames")
    reader, reason = (
        (READERS[format], "asked for by name") if format else recognise(text.label, bytes(head[:HEAD_BYTES]), declared)
    )
    return _OpenLog(text, reader(), reason, declared, itertools.chain([bytes(head)], blocks))


def _captures(log: _OpenLog, name: str, max_bad_lines: float, assume_rate: float | None) -> list[Capture]:
    parsed = parse_text(log.reader, log.blocks)
    _refuse(log, parsed, max_bad_lines)
    defects = _line_defects(parsed)
    frames = _frames(log, parsed)
    if len(frames) > 1 and not parsed.restarts and frames.t[0] == frames.t[-1]:
        if assume_rate is None:
            raise LogError(
                f"{log.text.label}: has no clock, every frame has the time {frames.t[0]:g}; say how many frames a "
                "second to assume (assume_rate)"
            )
        frames = replace(frames, t=np.arange(len(frames)) / assume_rate)
        defects.append(Defect(0, f"the log has no clock; {assume_rate:g} frames a second are assumed"))
    declared = log.declared
    if declared and parsed.restarts:
        defects.append(
            Defect(0, f"{declared.file} counts time from the first frame: it is used for the first capture only")
        )
    if declared and declared.frames is not None and declared.frames != len(frames):
        defects.append(Defect(0, f"{declared.file} says {declared.frames} frames, {len(frames)} were read"))
    source = SourceFile(
        path=log.text.label,
        sha256=parsed.sha256,
        format=log.reader.name,
        reason=log.reason,
        frames=len(frames),
        defects=tuple(defects),
    )
    vehicle = (declared.vehicle if declared else "") or log.reader.vehicle(log.text.path)
    borders = [0, *(row for row, _, _ in parsed.restarts), len(frames)]
    captures = []
    for number, (first, last) in enumerate(itertools.pairwise(borders), 1):
        own_name = name if number == 1 else f"{name}#{number}"
        own = _labelled(frames[first:last], log, declared if number == 1 else None)
        own = replace(own, capture_names=(own_name,))
        intervals = _intervals(own, log, declared if number == 1 else None)
        if declared and declared.families:
            own = families_by_interval(own, intervals)
        captures.append(Capture(own_name, own, source, vehicle, intervals))
    return captures


def _refuse(log: _OpenLog, parsed: ParsedText, max_bad_lines: float) -> None:
    """Raises LogError where the text is not to be trusted as a log of this format."""
    label, title = log.text.label, log.reader.title
    if parsed.wrong_label is not None:
        raise LogError(
            f"{label}:{parsed.wrong_label.number}: unknown label in {excerpt(parsed.wrong_label.text)}; {title} knows "
            f"{', '.join(log.reader.label_tokens)}; correct the label or remove the line"
        )
    count = len(parsed.bad)
    if count > max_bad_lines * parsed.lines:
        first = "; ".join(_described(line) for line in parsed.bad[:EXAMPLES])
        raise LogError(
            f"{label}: {count} of {parsed.lines} lines ({count / parsed.lines:.3%}) are no frames of {title} "
            f"({log.reader.shape}), more than {max_bad_lines:.3%}. {first}. Mend the lines, name the format if it is "
            "another, or allow more (max_bad_lines)"
        )
    if parsed.rows == 0:
        raise LogError(f"{label}: holds no frame ({title}, {log.reason}); give a log with frames")
    if len(parsed.restarts) > max(_FREE_RESTARTS, max_bad_lines * parsed.rows):
        _, line, back = parsed.restarts[0]
        raise LogError(
            f"{label}:{line}: time runs backwards by {back:g} s, and so it does {len(parsed.restarts)} times in "
            f"{parsed.rows} frames; sort the log by time, or split it into its recordings"
        )


def _line_defects(parsed: ParsedText) -> list[Defect]:
    defects = [Defect(line.number, REASONS[line.code]) for line in parsed.bad]
    defects += [
        Defect(line, f"time runs backwards by {back:g} s: a new capture starts here")
        for _, line, back in parsed.restarts
    ]
    if parsed.cut is not None:
        defects.append(Defect(parsed.cut.number, REASONS[parsed.cut.code]))
    return sorted(defects, key=lambda defect: defect.line)


def _described(line: BadLine) -> str:
    return f"line {line.number}: {REASONS[line.code]}: {excerpt(line.text)}"


def _frames(log: _OpenLog, parsed: ParsedText) -> FrameTable:
    """One table of all parts, which are given up on the way; interfaces are numbered by the order of their names."""
    parts = [part._asdict() for part in parsed.parts]
    parsed.parts.clear()
    columns: dict[str, Any] = {}
    for column in Rows._fields:
        columns[column] = _joined([part.pop(column) for part in parts])
    names = log.reader.buses()
    if names:
        order = np.empty(len(names), np.uint8)
        order[np.argsort(names, kind="stable")] = np.arange(len(names))
        columns["bus"] = order[columns["bus"]]
    del columns["code"]
    return FrameTable.build(**columns)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One array of all; of payloads of 8 and 64 bytes the narrow ones are widened."""
    if parts[0].ndim == 2:
        width = max(part.shape[1] for part in parts)
        parts = [
            np.pad(part, ((0, 0), (0, width - part.shape[1]))) if part.shape[1] < width else part for part in parts
        ]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _labelled(frames: FrameTable, log: _OpenLog, declared: Declared | None) -> FrameTable:
    """The frames of one capture with the labels that stand beside the log, and the family of their attack."""
    frames = log.reader.annotate(frames, log.text.path, declared)
    if declared is not None and declared.normal and (frames.label == -1).all():
        frames = replace(frames, label=np.zeros(len(frames), np.int8))
    if (frames.label == 1).any():
        attack = (frames.label == 1).astype(np.int16)
        frames = replace(frames, attack=attack, attack_names=("", log.reader.family(log.text.path, declared)))
    return frames


def _intervals(frames: FrameTable, log: _OpenLog, declared: Declared | None) -> tuple[AttackInterval, ...]:
    if declared is None or not declared.intervals:
        return intervals_from_labels(frames)
    families = declared.families or (log.reader.family(log.text.path, declared),) * len(declared.intervals)
    first = float(frames.t[0])
    return tuple(
        AttackInterval(family, first + start, first + stop)
        for family, (start, stop) in zip(families, declared.intervals, strict=True)
    )
