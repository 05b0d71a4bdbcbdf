"""What else reads text logs: bare polars and python-can."""

from __future__ import annotations

from pathlib import Path

import can
import polars as pl

from credit_like.can import FrameTable

_PAYLOAD = (
    pl.col("data").str.len_bytes().floordiv(2).cast(pl.UInt8).alias("length"),
    # Eight bytes as one number, first byte on top; shorter payloads are filled up with zeros.
    pl.col("data")
    .str.pad_end(16, "0")
    .str.decode("hex")
    .bin.reinterpret(dtype=pl.UInt64, endianness="big")
    .alias("word"),
)
_ID = pl.col("id").str.to_integer(base=16, dtype=pl.Int32)


def polars_candump(path: Path) -> pl.DataFrame:
    """Columns t, id, length, word of 11-bit data frames; no check of any line, no buses, flags or labels."""
    lines = pl.read_csv(path, separator=" ", has_header=False, new_columns=["time", "bus", "frame"], infer_schema=False)
    return lines.select(
        pl.col("time").str.head(-1).str.slice(1).cast(pl.Float64).alias("t"),
        pl.col("frame").str.slice(0, 3).alias("id"),
        pl.col("frame").str.slice(4).alias("data"),
    ).select("t", _ID, *_PAYLOAD)


def polars_csv(path: Path) -> pl.DataFrame:
    """Columns t, id, length, word, label of a can-train-and-test CSV; no check of any line."""
    lines = pl.read_csv(
        path,
        new_columns=["t", "id", "data", "label"],
        schema_overrides={"arbitration_id": pl.String, "data_field": pl.String},
    )
    return lines.with_columns(pl.col("data").fill_null("")).select("t", _ID, *_PAYLOAD, "label")


def python_can(path: Path) -> int:
    """Frames that python-can's reader for the suffix gives (``.log``: candump, ``.csv``: its own CSV)."""
    with can.LogReader(path) as reader:
        return sum(1 for _ in reader)


def write_python_can_csv(frames: FrameTable, path: Path) -> None:
    """The frames in the CSV format that python-can reads."""
    with can.CSVWriter(path) as writer:
        for row in range(len(frames)):
            writer.on_message_received(
                can.Message(
                    timestamp=float(frames.t[row]),
                    arbitration_id=int(frames.id[row]),
                    is_extended_id=False,
                    data=frames.payload[row, : frames.length[row]].tobytes(),
                )
            )
