"""Reading back what ``ingest`` wrote, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can._frame_file import COLUMNS, FACTS_KEY, from_text, to_frames
from credit_like.can._seal import broken_seal, is_of_another
from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.frames import FrameTable
from credit_like.can.log_scan import BLOCK_BYTES, CaptureFacts, LogScan
from credit_like.can.readers._stream import MAX_EXPANSION, LogText
from credit_like.can.readers.parquet import ParquetReader

#: Frames that a small file may hold, and bytes that one takes at least, where it is not packed beyond reason.
_FREE_FRAMES, _FRAME_BYTES = 1 << 22, 16
#: polars can also panic on a file that is not as it should be, which is no Exception.
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, KeyError, TypeError, IndexError)


class ParquetScan(LogScan):
    """Our Parquet file: the captures of one or more logs, named ``<name>/<name it had>``.

    The source of a capture is the log that it was made from (its digest, its defects), under the file's path. Raises
    LogError for a file that is damaged, or that ``ingest`` did not write: nothing of it is used.
    """

    def __init__(self, text: LogText, reason: str, name: str) -> None:
        self.label, self.format, self.reason = text.label, ParquetReader.name, reason
        self._text = text
        with text.whole(BLOCK_BYTES) as (path, self._sha256):
            facts, self._attack_names = self._facts(path)
        sources = {
            source: replace(
                source,
                path=f"{self.label}/{source.path}",
                format=self.format,
                reason=f"{reason}; it was made from {source.format}, since {source.reason}",
            )
            for source in dict.fromkeys(capture.source for capture in facts)
        }
        self._own_names = [f"{name}/{capture.name}" for capture in facts]
        self._facts_of = [
            replace(capture, name=own, source=sources[capture.source])
            for own, capture in zip(self._own_names, facts, strict=True)
        ]

    def frames(self) -> Iterator[FrameTable]:
        with self._text.whole(BLOCK_BYTES) as (path, sha256):
            if sha256 != self._sha256:
                raise self._refusal("it changed while it was read")
            number = row = 0
            for table in self._tables(path):
                begin = 0
                while begin < len(table):
                    count = min(len(table) - begin, self._facts_of[number].frames - row)
                    yield self._frames(table[begin : begin + count], number)
                    begin, row = begin + count, row + count
                    if row == self._facts_of[number].frames:
                        number, row = number + 1, 0

    def captures(self) -> list[CaptureFacts]:
        first = self._facts_of[0].source
        known = {first: replace(first, defects=(*first.defects, *self.left_out))}
        return [replace(facts, source=known.get(facts.source, facts.source)) for facts in self._facts_of]

    def bus_ranks(self) -> NDArray[np.uint8]:
        return np.arange(256, dtype=np.uint8)

    def _facts(self, path: Path) -> tuple[list[CaptureFacts], tuple[str, ...]]:
        if is_of_another(path):
            raise UnknownFormatError(
                self.label, "a Parquet file that `credit-like ingest` did not write", "give the logs themselves"
            )
        problem = broken_seal(path)
        if problem:
            raise self._refusal(problem)
        try:
            captures, attack_names = from_text(pl.read_parquet_metadata(path)[FACTS_KEY])
            scan = pl.scan_parquet(path, glob=False)
            if dict(scan.collect_schema()) != COLUMNS:
                raise ValueError("its columns are others")
            rows = scan.select(pl.len()).collect().item()
        except _UNREADABLE as error:
            raise self._refusal(_first_line(error)) from error
        if not captures or min(c.frames for c in captures) < 1 or sum(c.frames for c in captures) != rows:
            raise self._refusal(f"it has {rows} rows, which is not what its metadata says")
        if rows > max(_FREE_FRAMES, MAX_EXPANSION * path.stat().st_size // _FRAME_BYTES):
            raise self._refusal("it unpacks to more frames than a file of its size can hold")
        return captures, attack_names

    def _tables(self, path: Path) -> Iterator[pl.DataFrame]:
        try:
            yield from pl.scan_parquet(path, glob=False).collect_batches(maintain_order=True)
        except _UNREADABLE as error:
            raise self._refusal(_first_line(error)) from error

    def _frames(self, table: pl.DataFrame, number: int) -> FrameTable:
        if (table["capture"] != number).any():
            raise self._refusal("its rows are not in the order of its captures")
        try:
            return to_frames(table, self._attack_names, self._own_names[number])
        except ValueError as error:
            raise self._refusal(str(error)) from error

    def _refusal(self, problem: str) -> LogError:
        return LogError(
            f"{self.label}: is not a whole Parquet file of frames ({problem}); make it anew with `credit-like ingest "
            "LOG... -o FILE`, or give the logs themselves"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
