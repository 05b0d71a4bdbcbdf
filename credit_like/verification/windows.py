"""Windows cut once more, from the row intervals that a certificate names and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import Capture

Ints = NDArray[np.int64]

#: What is known of a window but its graph; ``scores.parquet`` has the same columns and a score.
SCHEMA = {
    "split": pl.String(),
    "capture": pl.String(),
    "vehicle": pl.String(),
    "family": pl.String(),
    "label": pl.Int8(),
    "in_interval": pl.Boolean(),
    "bus": pl.UInt8(),
    "row_start": pl.Int64(),
    "row_stop": pl.Int64(),
    "t_start": pl.Float64(),
    "t_end": pl.Float64(),
}

#: Windows of a split; and those that something may be learnt from or chosen by: no silenced id within an attack.
TRAIN, VALIDATION, FUSION = (pl.col("split") == name for name in ("train", "validation", "fusion"))
TEST = pl.col("split").str.starts_with("test")
OUTSIDE = (pl.col("label") == 1) | ~pl.col("in_interval")


def cut(interval: Mapping[str, Any], capture: Capture, length: int, step: int) -> list[dict[str, Any]]:
    """The windows of one row interval, each bus by itself, as rows of ``SCHEMA``.

    A window is ``length`` consecutive frames of one bus; the next one starts ``step`` frames later; what is left at the
    end is in no window. The rows of the interval must exist.
    """
    frames = capture.frames
    span = np.arange(interval["row_start"], interval["row_stop"])
    found = []
    for bus in np.unique(frames.bus[span]):
        rows = span[frames.bus[span] == bus]
        for start in range(0, len(rows) - length + 1, step):
            window = rows[start : start + length]
            first, last = int(window[0]), int(window[-1])
            t_start, t_end = float(frames.t[first]), float(frames.t[last])
            label = _label(frames.label[window])
            found.append(
                {
                    "split": interval["split"],
                    "capture": capture.name,
                    "vehicle": capture.vehicle,
                    "family": _family(capture, window) if label == 1 else "",
                    "label": label,
                    "in_interval": any(
                        x.declared and t_start <= x.stop and t_end >= x.start for x in capture.intervals
                    ),
                    "bus": int(bus),
                    "row_start": first,
                    "row_stop": last + 1,
                    "t_start": t_start,
                    "t_end": t_end,
                }
            )
    return found


def window_table(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The windows as a table with the columns of ``SCHEMA``."""
    return pl.DataFrame({name: [row[name] for row in rows] for name in SCHEMA}, schema=SCHEMA)


def rows_of(capture: Capture, bus: int, row_start: int, row_stop: int) -> Ints:
    """int64[window]: the raw rows of one window; frames of another bus may lie between."""
    return np.flatnonzero(capture.frames.bus[row_start:row_stop] == bus) + row_start


def _label(labels: NDArray[np.int8]) -> int:
    """1 where any frame is an attack, else -1 where any is unlabelled, else 0."""
    if (labels == 1).any():
        return 1
    return -1 if (labels == -1).any() else 0


def _family(capture: Capture, window: Ints) -> str:
    """The named family that most attack frames of the window are of; of equally many the one named first."""
    frames = capture.frames
    kinds = frames.attack[window][frames.label[window] == 1]
    counted = Counter(int(kind) for kind in kinds if kind)
    return frames.attack_names[min(counted, key=lambda kind: (-counted[kind], kind))] if counted else ""
