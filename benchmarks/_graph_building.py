"""What else makes node features of windows: a polars group-by, and loops over windows in numpy and in pandas."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can import FrameTable


def polars_node_features(frames: FrameTable, window: int) -> pl.DataFrame:
    """31 of the 36 node features as one group-by: no entropy, clustering, degrees, and moments of short payloads."""
    n = len(frames)
    table = pl.DataFrame(
        {
            "window": np.arange(n, dtype=np.int32) // window,
            "late": (np.arange(n) % window >= window // 2),
            "id": frames.id,
            "t": frames.t,
            "length": frames.length,
            **{f"b{k}": frames.payload[:, k] for k in range(8)},
            "word": frames.payload.view(np.uint64)[:, 0],
        }
    )
    byte = pl.col([f"b{k}" for k in range(8)]).cast(pl.Float64)
    gap = pl.col("t").diff()
    return table.group_by("window", "id").agg(
        byte.mean().name.suffix("_mean"),
        byte.std(ddof=0).name.suffix("_std"),
        (byte.max() - byte.min()).name.suffix("_range"),
        byte.skew().name.suffix("_skew"),
        byte.kurtosis().name.suffix("_kurtosis"),
        pl.len().alias("count"),
        pl.col("late").mean(),
        (pl.col("word").diff() != 0).mean().alias("change_rate"),
        gap.mean().alias("gap_mean"),
        gap.std(ddof=0).alias("gap_std"),
        pl.col("length").mean(),
    )


def numpy_loop(frames: FrameTable, starts: NDArray[np.int64], window: int) -> list[NDArray[np.float64]]:
    """float64[ids, 29] for every window: means, deviations and ranges of bytes, count, gaps, changes, mean length."""
    return [_numpy_window(frames[start : start + window]) for start in starts]


def _numpy_window(frames: FrameTable) -> NDArray[np.float64]:
    order = np.argsort(frames.id, kind="stable")
    ids, first, count = np.unique(frames.id[order], return_index=True, return_counts=True)
    payload, t = frames.payload[order].astype(np.float64), frames.t[order]
    mean = np.add.reduceat(payload, first) / count[:, None]
    owner = np.repeat(np.arange(len(ids)), count)
    deviation = np.sqrt(np.add.reduceat((payload - mean[owner]) ** 2, first) / count[:, None])
    spread = np.maximum.reduceat(payload, first) - np.minimum.reduceat(payload, first)
    same = owner[1:] == owner[:-1]
    pairs = np.maximum(count - 1, 1)
    gaps = np.diff(t)[same]
    gap_mean = np.bincount(owner[1:][same], gaps, len(ids)) / pairs
    gap_std = np.sqrt(np.bincount(owner[1:][same], (gaps - gap_mean[owner[1:][same]]) ** 2, len(ids)) / pairs)
    changed = (np.diff(payload, axis=0) != 0).any(axis=1)[same]
    change_rate = np.bincount(owner[1:][same], changed, len(ids)) / pairs
    length = np.bincount(owner, frames.length[order], len(ids)) / count
    return np.column_stack([mean, deviation, spread, count, gap_mean, gap_std, change_rate, length])


def pandas_loop(frames: FrameTable, starts: NDArray[np.int64], window: int) -> list[object]:
    """The same with a pandas group-by a window. Raises ImportError where pandas, no dependency of ours, is missing."""
    import pandas as pd

    bytes_ = [f"b{k}" for k in range(8)]
    tables = []
    for start in starts:
        rows = frames[start : start + window]
        table = pd.DataFrame(rows.payload, columns=bytes_).assign(id=rows.id, t=rows.t, length=rows.length)
        groups = table.groupby("id")
        gaps = groups["t"].diff()
        changed = (groups[bytes_].diff().fillna(0) != 0).any(axis=1)
        tables.append(
            pd.concat(
                [
                    groups[bytes_].mean(),
                    groups[bytes_].std(ddof=0),
                    groups[bytes_].max() - groups[bytes_].min(),
                    groups.size(),
                    gaps.groupby(table["id"]).agg(["mean", "std"]),
                    changed.groupby(table["id"]).sum() / (groups.size() - 1).clip(lower=1),
                    groups["length"].mean(),
                ],
                axis=1,
            )
        )
    return tables
