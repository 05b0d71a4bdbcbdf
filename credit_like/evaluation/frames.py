"""The frame as the unit: a frame takes the score that the detector gives its arbitration id in the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import Capture
from credit_like.evaluation import bootstrap
from credit_like.evaluation.document import FrameFigures
from credit_like.evaluation.figures import Bootstrap, WindowSet, window_set
from credit_like.evaluation.metrics import calibration_error, confusion, decision_figures, ranking_figures
from credit_like.evaluation.scores import NODE_COLUMNS, has_nodes
from credit_like.graphs.store import GraphStore, rows_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COUNTED = ("node_score", "node_attack", "node_benign")

NO_SCORES = "the detector gives ids no score of their own"


def with_nodes(
    frame: pl.DataFrame, store: GraphStore, rows: Ints, score: NDArray[np.float32], captures: Sequence[Capture]
) -> pl.DataFrame:
    """The scores table of the windows ``rows`` with ``NODE_COLUMNS``: of every id its key, score and labelled frames.

    ``score`` float32[N] is that of each node of the windows, in the order of ``rows`` and of the nodes in the store.
    Raises ValueError when it has another length.
    """
    nodes = rows_of(store.node_ptr, rows)
    if score.shape != nodes.shape:
        raise ValueError(f"there must be {len(nodes)} node scores, one a node of the windows; got {score.shape}")
    attack, benign = frame_counts(captures, store, rows)
    columns = {"node_key": store.key[nodes], "node_score": score, "node_attack": attack, "node_benign": benign}
    sizes = store.node_ptr[rows + 1] - store.node_ptr[rows]
    listed = (
        pl.DataFrame({"row": np.repeat(np.arange(len(rows)), sizes), **columns})
        .group_by("row", maintain_order=True)
        .agg(pl.all())
        .select(pl.col(name).cast(dtype) for name, dtype in NODE_COLUMNS.items())
    )
    return frame.with_columns(listed.get_columns())


def frame_counts(captures: Sequence[Capture], store: GraphStore, rows: Ints) -> tuple[Ints, Ints]:
    """(attack, benign) int64[N]: frames labelled 1 and 0 of each node of the windows ``rows``, nodes in their order."""
    by_name = {capture.name: capture for capture in captures}
    windows, nodes = store.windows[rows], rows_of(store.node_ptr, rows)
    keys = np.asarray(store.key)[nodes]
    known, rank = np.unique(keys, return_inverse=True)
    owner = np.repeat(np.arange(len(rows)), store.node_ptr[rows + 1] - store.node_ptr[rows])
    code = owner * len(known) + rank.reshape(-1)  # ascends, as keys do within a window
    attack, benign = np.zeros(len(nodes), np.int64), np.zeros(len(nodes), np.int64)
    for number, bus in {(int(c), int(b)) for c, b in zip(windows.capture, windows.bus, strict=True)}:
        frames = by_name[windows.capture_names[number]].frames
        carried = np.flatnonzero(frames.bus == bus)
        mine = np.flatnonzero((windows.capture == number) & (windows.bus == bus))
        first, stop = (np.searchsorted(carried, x[mine]) for x in (windows.row_start, windows.row_stop))
        length = stop - first
        raw = carried[np.repeat(stop - np.cumsum(length), length) + np.arange(length.sum())]
        window = np.repeat(mine, length)
        node = np.searchsorted(code, window * len(known) + np.searchsorted(known, frames.key[raw]))
        for label, count in ((1, attack), (0, benign)):
            count += np.bincount(node[frames.label[raw] == label], minlength=len(nodes))
    return attack, benign


def benign_frame_scores(rows: pl.DataFrame) -> Floats:
    """float64[n]: the scores of the benign frames of the windows, one a frame; to calibrate a threshold on."""
    return rows.select(_repeated("node_benign")).to_series().to_numpy()


def frame_figures(
    rows: pl.DataFrame,
    threshold: float | None,
    draws: Bootstrap,
    groups: Sequence[Mapping[str, float]] = (),
    family: str | None = None,
) -> FrameFigures:
    """All figures of the attack frames of the windows, or of those of one attack ``family``, against the benign ones.

    Frames of windows without an attack frame that overlap an attack interval are left out, as the windows are, and
    frames without label are not counted. Where windows overlap, a frame counts once in each. Without node scores, or
    without a ``threshold``, every figure is undefined. For the intervals whole windows are drawn again, in the blocks
    of ``draws``, ``groups`` being captures that share traffic.
    """
    if not has_nodes(rows) or threshold is None:
        return FrameFigures.undefined_because(NO_SCORES)
    silent = (pl.col("label") == 0) & pl.col("in_interval")
    frames_of = pl.col("node_attack").list.sum() + pl.col("node_benign").list.sum()
    left_out = int(rows.filter(silent).select(frames_of.sum()).item() or 0)
    counted = rows.filter(~silent)
    of_family = counted if family is None else counted.filter(pl.col("family") == family)
    hit = of_family.select(_repeated("node_attack")).to_series().to_numpy()
    quiet = counted.select(_repeated("node_benign")).to_series().to_numpy()
    attack = np.concatenate([np.ones(len(hit), np.bool_), np.zeros(len(quiet), np.bool_)])
    score = np.concatenate([hit, quiet])
    counts = confusion(attack, score > threshold)
    figures, undefined = decision_figures(counts)
    ranking, ranking_undefined = ranking_figures(attack, score)
    error, reason = calibration_error(attack, score)
    undefined |= ranking_undefined | ({"calibration_error": reason} if error is None else {})
    blocks, intervals, no_interval = _intervals(window_set(rows, groups), rows, threshold, draws, family)
    return FrameFigures(
        frames=len(score),
        attack=len(hit),
        benign=len(quiet),
        left_out=left_out,
        **asdict(counts),
        **figures,
        **ranking,
        calibration_error=error,
        undefined={name: why.replace("window", "frame") for name, why in undefined.items()},
        blocks=blocks,
        intervals=intervals,
        no_interval=no_interval,
    )


def _intervals(
    windows: WindowSet, rows: pl.DataFrame, threshold: float, draws: Bootstrap, family: str | None
) -> tuple[int, dict[str, tuple[float, float]], str]:
    """(blocks of the rarer class, intervals, why there are none)."""
    kept = ~((windows.label == 0) & windows.in_interval)
    if not kept.any():
        return 0, {}, "no window"
    owner = np.repeat(np.arange(rows.height), rows["node_key"].list.len().to_numpy())
    score, attack, benign = (rows[name].explode(empty_as_null=False).cast(pl.Float64).to_numpy() for name in _COUNTED)
    if family is not None:
        attack = attack * (windows.family == family)[owner]
    block_of = np.zeros(rows.height, np.int64)
    block_of[kept] = draws.blocks(windows[kept])
    counted = kept[owner]
    block, score, attack, benign = block_of[owner][counted], score[counted], attack[counted], benign[counted]
    blocks = bootstrap.blocks_of_both(attack > 0, block, benign > 0)
    reason = bootstrap.too_few_blocks(attack > 0, block, benign > 0, "frames")
    if reason:
        return blocks, {}, reason
    weights = draws.weights(block_of[kept])
    above = score > threshold
    outcomes = (attack * above, benign * above, attack * ~above, benign * ~above)
    tp, fp, fn, tn = (np.bincount(block, weights=x, minlength=weights.shape[1]).astype(np.float64) for x in outcomes)
    samples = bootstrap.samples_of_counts(weights, tp, fp, fn, tn)
    samples["auroc"] = bootstrap.auroc_samples_of_counts(weights, attack, benign, score, block)
    return blocks, bootstrap.intervals(samples, blocks), ""


def _repeated(count: str) -> pl.Expr:
    """The score of each id as often as it has frames of the kind that the column ``count`` counts."""
    scores = pl.col("node_score").explode(empty_as_null=False).cast(pl.Float64)
    return scores.repeat_by(pl.col(count).explode(empty_as_null=False)).explode(empty_as_null=False)
