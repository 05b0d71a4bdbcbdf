"""open_log: one log file in, its frames out in blocks, so that memory does not grow with the log."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_like.can._verdict import defects, refuse
from credit_like.can.captures import AttackInterval, Defect, SourceFile
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.frames import FrameTable
from credit_like.can.intervals import AttackRuns, families_by_interval
from credit_like.can.log_scan import BLOCK_BYTES, CaptureFacts, LogScan
from credit_like.can.metadata import Declared, declared_for
from credit_like.can.parquet_scan import ParquetScan
from credit_like.can.readers import READERS, Reader, RecordReader, TextReader
from credit_like.can.readers._base import DamagedFile, MissingExtra
from credit_like.can.readers._blocks import Block, rows_of_records, rows_of_text
from credit_like.can.readers._findings import LISTED, Findings
from credit_like.can.readers._recognise import HEAD_BYTES, recognise
from credit_like.can.readers._rows import Rows
from credit_like.can.readers._stream import LogText, texts_in
from credit_like.can.readers.parquet import ParquetReader
from credit_like.config import closest


def open_log(
    path: str | Path,
    format: str | None = None,
    max_bad_lines: float = 0.001,
    assume_rate: float | None = None,
    *,
    name: str | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> list[LogScan]:
    """The logs in a file, recognised but not yet read: one, or several in a zip. Arguments as for ``read_log``.

    Raises LogError when the file is missing, empty, damaged where it begins, or of no known format.
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
    scans: list[LogScan] = []
    left_out: list[Defect] = []
    for text in texts:
        own_name = (name or path.name) + (f"/{text.member}" if len(texts) > 1 else "")
        try:
            reader, reason = _recognised(text, format, declared, block_bytes)
            if issubclass(reader, ParquetReader):
                scans.append(ParquetScan(text, reason, own_name))
                continue
        except UnknownFormatError as error:
            if len(texts) == 1:
                raise
            left_out.append(Defect(0, f"not read from the zip: {text.member}: {error.why}"))
            continue
        scans.append(ReaderScan(text, reader, reason, own_name, declared, max_bad_lines, assume_rate, block_bytes))
    if not scans:
        raise UnknownFormatError(str(path), f"none of the {len(texts)} files in the zip is a log", left_out[0].reason)
    scans[0].left_out = tuple(left_out)
    return scans


def _recognised(
    text: LogText, format: str | None, declared: Declared | None, block_bytes: int
) -> tuple[type[Reader], str]:
    head = bytearray()
    with closing(text.blocks(min(block_bytes, HEAD_BYTES))) as blocks:
        while len(head) < HEAD_BYTES and (block := next(blocks, b"")):
            head += block
    if not head.strip():
        raise UnknownFormatError(text.label, "is empty", "give a log with frames")
    if format is not None:
        return READERS[format], "asked for by name"
    return recognise(text.label, bytes(head[:HEAD_BYTES]), declared)


@dataclass
class _Part:
    """A capture while it is read: its rows, first time, and the runs of attack frames in it."""

    start: float
    rows: int = 0
    attacks: AttackRuns = field(default_factory=AttackRuns)


class ReaderScan(LogScan):
    """A log that is read by a :class:`Reader`."""

    def __init__(
        self,
        text: LogText,
        reader: type[Reader],
        reason: str,
        name: str,
        declared: Declared | None,
        max_bad_lines: float,
        assume_rate: float | None,
        block_bytes: int,
    ) -> None:
        self.label, self.format, self.reason = text.label, reader.name, reason
        self._text, self._class, self._name, self._declared = text, reader, name, declared
        self._max_bad_lines, self._assume_rate, self._block_bytes = max_bad_lines, assume_rate, block_bytes
        self._begin()

    def _begin(self) -> None:
        self._reader = self._class()
        self.findings = Findings()
        self._parts: list[_Part] = []
        self._buses = np.zeros(256, np.bool_)
        self._rate: float | None = None

    def frames(self) -> Iterator[FrameTable]:
        self._begin()
        if self._assume_rate is not None and self._stands_still():
            self._rate = self._assume_rate
        findings = self.findings
        first = last = None
        for rows, numbers in self._blocks(self._reader, findings):
            if not len(numbers):
                continue
            first = float(rows.t[0]) if first is None else first
            steps = np.diff(rows.t, prepend=rows.t[0] if last is None else last)
            last = float(rows.t[-1])
            if self._rate is not None:
                rows = rows._replace(t=(findings.rows + np.arange(len(numbers))) / self._rate)
            jumps = np.flatnonzero(steps < 0).tolist()
            findings.rows += len(numbers)
            findings.restarts += [(int(numbers[row]), -float(steps[row])) for row in jumps]
            if len(findings.restarts) >= LISTED:
                del findings.restarts[LISTED:]
                break
            for number, (begin, end) in enumerate(itertools.pairwise([0, *jumps, len(numbers)])):
                if number or not self._parts:
                    self._parts.append(_Part(float(rows.t[begin])))
                if end > begin:
                    yield self._table(rows.take(slice(begin, end)) if jumps else rows)
        refuse(self.label, self._reader, self.reason, findings, self._max_bad_lines)
        if self._rate is None and findings.rows > 1 and not findings.restarts and first == last:
            raise LogError(
                f"{self.label}: has no clock, every frame has the time {first:g}; say how many frames a second to "
                "assume with --assume-rate or data.assume_rate"
            )

    def _blocks(self, reader: Reader, findings: Findings) -> Generator[Block, None, None]:
        if isinstance(reader, TextReader):
            yield from rows_of_text(reader, self._text.blocks(self._block_bytes), findings)
        elif isinstance(reader, RecordReader):
            with self._text.whole(BLOCK_BYTES) as (path, findings.sha256):
                try:
                    yield from rows_of_records(reader, path, findings)
                except MissingExtra as error:
                    raise LogError(
                        f"{self.label}: is {reader.title}, which needs the extra {error}; pip install "
                        f"'credit-like[{error}]', or convert the log to another format"
                    ) from error
                except DamagedFile as error:
                    raise LogError(
                        f"{self.label}: is not a whole {reader.title} ({error}); fetch it again, or convert what can "
                        "be saved to another format"
                    ) from error

    def _stands_still(self) -> bool:
        """Whether all frames have one time; of a log that has a clock only the beginning is read to know it."""
        first = None
        with closing(self._blocks(self._class(), Findings())) as blocks:
            for rows, numbers in blocks:
                if len(numbers):
                    first = rows.t[0] if first is None else first
                    if (rows.t != first).any():
                        return False
        return True

    def _table(self, rows: Rows) -> FrameTable:
        """The rows as the next frames of the newest capture, with all that is known of their labels."""
        part = self._parts[-1]
        declared = self._declared_for(len(self._parts))
        columns = rows._asdict()
        del columns["code"]
        frames = FrameTable.build(**columns, capture_name=self._name_of(len(self._parts)))
        frames = self._reader.annotate(frames, part.start, self._text.path, declared)
        if declared is not None and declared.normal and (frames.label == -1).all():
            frames = replace(frames, label=np.zeros(len(frames), np.int8))
        if (frames.label == 1).any():
            attack = (frames.label == 1).astype(np.int16)
            frames = replace(frames, attack=attack, attack_names=("", self._reader.family(self._text.path, declared)))
            if declared is not None and declared.families:
                frames = families_by_interval(frames, self._declared_intervals(declared, part.start))
        part.rows += len(frames)
        part.attacks.add(frames)
        self._buses |= np.bincount(frames.bus, minlength=256).astype(np.bool_)
        return frames

    def captures(self) -> list[CaptureFacts]:
        source = SourceFile(
            path=self.label,
            sha256=self.findings.sha256,
            format=self.format,
            reason=self.reason,
            frames=self.findings.rows,
            defects=(*defects(self._reader, self.findings), *self._further_defects(), *self.left_out),
        )
        vehicle = (self._declared.vehicle if self._declared else "") or self._reader.vehicle(self._text.path)
        return [
            CaptureFacts(self._name_of(number), part.rows, source, vehicle, self._intervals(number, part))
            for number, part in enumerate(self._parts, 1)
        ]

    def bus_ranks(self) -> NDArray[np.uint8]:
        met = np.flatnonzero(self._buses)
        names = self._reader.buses()
        ordered = sorted(met.tolist(), key=names.__getitem__) if names else met.tolist()
        ranks = np.zeros(256, np.uint8)
        ranks[ordered] = np.arange(len(ordered))
        return ranks

    def _name_of(self, number: int) -> str:
        return self._name if number == 1 else f"{self._name}#{number}"

    def _declared_for(self, number: int) -> Declared | None:
        return self._declared if number == 1 else None

    def _declared_intervals(self, declared: Declared, start: float) -> tuple[AttackInterval, ...]:
        families = declared.families or (self._reader.family(self._text.path, declared),) * len(declared.intervals)
        return tuple(
            AttackInterval(family, start + begin, start + end)
            for family, (begin, end) in zip(families, declared.intervals, strict=True)
        )

    def _intervals(self, number: int, part: _Part) -> tuple[AttackInterval, ...]:
        declared = self._declared_for(number)
        if declared is None or not declared.intervals:
            return part.attacks.intervals()
        return self._declared_intervals(declared, part.start)

    def _further_defects(self) -> Iterator[Defect]:
        if self._rate is not None:
            yield Defect(0, f"the log has no clock; {self._rate:g} frames a second are assumed")
        declared = self._declared
        if declared is not None and self.findings.restarts:
            yield Defect(0, f"{declared.file} counts time from the first frame: it is used for the first capture only")
        if declared is not None and declared.frames not in (None, self.findings.rows):
            yield Defect(0, f"{declared.file} says {declared.frames} frames, {self.findings.rows} were read")
