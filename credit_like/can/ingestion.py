"""ingest: logs in, one Parquet file out that is read back like them, only faster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source
from tqdm import tqdm

from credit_like.can._frame_file import COLUMNS, FACTS_KEY, to_columns, to_text
from credit_like.can._seal import BLANK, SEAL_KEY, seal
from credit_like.can.errors import LogError
from credit_like.can.frames import FrameTable
from credit_like.can.log_scan import CaptureFacts, LogScan
from credit_like.config import UserError
from credit_like.config.files import replacing

#: Rows that are written, and unpacked again, at a time: about 5 MB of them.
_ROW_GROUP = 1 << 18

_AS_THEY_ARE = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Ingested:
    """What a Parquet file was made from: its captures, and (left out, kept) for logs with the content of another."""

    captures: tuple[CaptureFacts, ...]
    duplicates: tuple[tuple[str, str], ...]


def ingest(logs: Mapping[str, LogScan], path: str | Path, progress: bool = True) -> Ingested:
    """Write the frames of ``logs``, by name, to a Parquet file that ``read_log`` and ``read_dataset`` read like a log.

    Everything is kept: payloads, flags, buses, labels, families, intervals, vehicles, defects, and the digests of the
    logs. Memory holds some blocks, whatever the size of the logs; the file is whole or not there. Logs of equal content
    are used once. All are read a second time where an interface appears out of order, or a duplicate is found: that is
    known only at the end of the first time.

    Raises:
        LogError: a log cannot be read (see ``read_log``), or there is none.
        UserError: the file cannot be written.
    """
    if not logs:
        raise LogError(f"{path}: there is no log to make it from; name at least one")
    with replacing(Path(path)) as temporary:
        writer = _Writer(logs, progress)
        writer.write(temporary)
        duplicates = writer.duplicates()
        if duplicates or writer.out_of_order:
            writer = _Writer(logs, progress, leave_out=duplicates, ranks=writer.ranks)
            writer.write(temporary)
        seal(temporary)
    return Ingested(tuple(writer.facts), tuple(duplicates.items()))


class _Writer:
    """Reads the logs once and writes them; ``ranks`` has the final numbers of each log's buses where they are known."""

    def __init__(
        self,
        logs: Mapping[str, LogScan],
        progress: bool,
        leave_out: Collection[str] = (),
        ranks: Mapping[str, NDArray[np.uint8]] | None = None,
    ) -> None:
        self._logs = {name: log for name, log in logs.items() if name not in leave_out}
        self._progress, self._known_ranks = progress, ranks or {}
        self._attack_names = [""]
        self._error: BaseException | None = None
        self.ranks: dict[str, NDArray[np.uint8]] = {}
        self.facts: list[CaptureFacts] = []
        self.out_of_order = False

    def write(self, path: Path) -> None:
        """Raises LogError as the logs do, OSError where the file cannot be written."""
        table = register_io_source(self._tables, schema=COLUMNS)
        try:
            table.sink_parquet(
                path, statistics=False, row_group_size=_ROW_GROUP, maintain_order=True, metadata=self._metadata
            )
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            if self._error is not None:
                raise self._error from None  # polars made another of it
            raise UserError(f"{path.parent}: cannot be written to: {str(error).splitlines()[0]}") from error

    def duplicates(self) -> dict[str, str]:
        """Logs with the content of another, and which that is."""
        first: dict[frozenset[str], str] = {}
        found = {}
        for name, log in self._logs.items():
            digests = frozenset(capture.source.sha256 for capture in log.captures())
            if first.setdefault(digests, name) != name:
                found[name] = first[digests]
        return found

    def _tables(self, *_: Any) -> Iterator[pl.DataFrame]:
        """What polars writes: called once, with wishes (columns, rows) that it does not have here."""
        try:
            with tqdm(
                desc="reading logs",
                unit=" frames",
                unit_scale=True,
                delay=2,
                disable=None if self._progress else True,  # None: no bar where stderr is no terminal
            ) as bar:
                for name, log in self._logs.items():
                    for table in self._tables_of(name, log):
                        bar.update(len(table))
                        yield table
        except BaseException as error:
            self._error = error
            raise

    def _tables_of(self, name: str, log: LogScan) -> Iterator[pl.DataFrame]:
        ranks = self._known_ranks.get(name, _AS_THEY_ARE)
        met = np.zeros(256, np.bool_)
        numbers: dict[str, int] = {}
        for frames in log.frames():
            number = numbers.setdefault(frames.capture_names[0], len(self.facts) + len(numbers))
            met[frames.bus] = True
            yield to_columns(replace(frames, bus=ranks[frames.bus]), self._attacks_of(frames), number)
        self.ranks[name] = log.bus_ranks()
        self.out_of_order |= bool((self.ranks[name] != _AS_THEY_ARE)[met].any())
        self.facts += [replace(capture, source=replace(capture.source, path=name)) for capture in log.captures()]

    def _attacks_of(self, frames: FrameTable) -> NDArray[np.int16]:
        self._attack_names += [name for name in frames.attack_names if name not in self._attack_names]
        return np.array([self._attack_names.index(name) for name in frames.attack_names], np.int16)[frames.attack]

    def _metadata(self, _: Any) -> dict[str, str]:
        """Called by polars after the last row."""
        return {FACTS_KEY: to_text(self.facts, self._attack_names), SEAL_KEY: BLANK}
