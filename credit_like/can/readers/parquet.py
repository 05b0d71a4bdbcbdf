"""Parquet as ``credit-like ingest`` writes it: frames of one or more logs, with all that their readers said of them."""

from __future__ import annotations

from typing import ClassVar

from credit_like.can.metadata import Declared
from credit_like.can.readers._base import Head, Reader


class ParquetReader(Reader):
    """Our own cache of logs that were read before; ``credit_like.can.parquet_scan`` reads it.

    Every capture keeps its labels, families, intervals, vehicle and the defects of the log that it came from. Not
    supported: Parquet files of others, whose columns mean what only they know.
    """

    name = "parquet"
    title = "Parquet"
    shape = "binary"
    unit = "row"

    magic: ClassVar[bytes] = b"PAR1"

    @classmethod
    def recognise(cls, head: Head, declared: Declared | None) -> tuple[float, str]:
        return float(head.data.startswith(cls.magic)), f"it begins with {cls.magic.decode()!r}"
