"""The scores table: one row a window, and the only thing that the evaluation and the report read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval
from credit_like.config import UserError, closest
from credit_like.config.files import replacing
from credit_like.graphs.plan import VALIDATION, is_test

#: Columns of every scores table, in order. ``score`` is higher for a more suspicious window.
COLUMNS: dict[str, pl.DataType] = {
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
    "score": pl.Float64(),
}

#: Columns that are there where the detector scores single ids: one entry a node of the window, ascending by key.
NODE_COLUMNS: dict[str, pl.DataType] = {
    "node_key": pl.List(pl.Int64()),
    "node_score": pl.List(pl.Float32()),
    "node_attack": pl.List(pl.Int32()),
    "node_benign": pl.List(pl.Int32()),
}

#: Score columns of control detectors are named ``control/<name>``; float64, higher for a more suspicious window.
CONTROL_PREFIX = "control/"

#: Scores of the raw weights, where ``score`` is that of averaged ones; float64, not in every table.
RAW_SCORE = "raw_score"

_INTERVALS_KEY, _VERSION_KEY, _VERSION = "credit_like.intervals", "credit_like.scores", "1"


@dataclass(frozen=True)
class Scores:
    """``frame`` holds ``COLUMNS``, perhaps ``NODE_COLUMNS``, any ``control/<name>`` columns, ``RAW_SCORE`` where the
    weights were averaged; ``intervals`` the known attacks of each capture.

    Rows are windows of the validation split and of the test sets, never of the training split. Times are seconds of
    the capture's clock, in both.
    """

    frame: pl.DataFrame
    intervals: Mapping[str, tuple[AttackInterval, ...]]

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of the control detectors whose scores the table holds."""
        return tuple(
            name.removeprefix(CONTROL_PREFIX) for name in self.frame.columns if name.startswith(CONTROL_PREFIX)
        )

    @property
    def has_raw(self) -> bool:
        """Whether the table holds the scores of the raw weights beside those of the averaged ones."""
        return RAW_SCORE in self.frame.columns

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of the test sets, sorted."""
        return tuple(sorted(name for name in self.frame["split"].unique().to_list() if is_test(name)))


def has_nodes(frame: pl.DataFrame) -> bool:
    """Whether a scores table holds the scores of single ids too."""
    return all(name in frame.columns for name in NODE_COLUMNS)


def with_controls(frame: pl.DataFrame, controls: Mapping[str, NDArray[np.float64]]) -> pl.DataFrame:
    """``frame`` with a column ``control/<name>`` for each entry of ``controls`` (float64[n], in the order of the rows).

    Raises ValueError when an array has not one value a row.
    """
    for name, scores in controls.items():
        if scores.shape != (frame.height,):
            raise ValueError(f"control {name!r} must have {frame.height} scores, one a window; got {scores.shape}")
    return frame.with_columns(
        [pl.Series(CONTROL_PREFIX + name, scores, dtype=pl.Float64) for name, scores in controls.items()]
    )


def with_raw(frame: pl.DataFrame, raw: NDArray[np.float64] | None) -> pl.DataFrame:
    """``frame`` with the scores of the raw weights, float64[n] in the order of the rows; as it is for None.

    Raises ValueError when there is not one score a row.
    """
    if raw is None:
        return frame
    if raw.shape != (frame.height,):
        raise ValueError(f"the raw weights must have {frame.height} scores, one a window; got {raw.shape}")
    return frame.with_columns(pl.Series(RAW_SCORE, raw, dtype=pl.Float64))


def write_scores(path: Path, frame: pl.DataFrame, intervals: Mapping[str, Sequence[AttackInterval]]) -> None:
    """Writes the table as Parquet, with ``intervals`` as JSON in the file's metadata; the file is whole or not there.

    Raises ValueError when the frame breaks a rule of ``read_scores``, UserError when the file cannot be written.
    """
    problem = _problem(frame)
    if problem:
        raise ValueError(f"scores table: {problem}")
    listed = [
        {"capture": capture, "family": x.family, "start": x.start, "stop": x.stop}
        for capture, known in intervals.items()
        for x in known
    ]
    metadata = {_VERSION_KEY: _VERSION, _INTERVALS_KEY: json.dumps(listed, allow_nan=False)}
    with replacing(Path(path)) as temporary:
        frame.write_parquet(temporary, metadata=metadata)


def read_scores(path: Path) -> Scores:
    """The table and the intervals of a file that ``write_scores`` made.

    Raises UserError when the file is missing, is not a scores table, misses a column, or holds what no detector can
    have produced: a score that is not a finite number, a training window, a window that ends before it starts.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. `credit-like evaluate RUN` writes the scores of a run.")
    try:
        frame = pl.read_parquet(path)
        metadata = pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is not a whole Parquet file ({reason}). Write it anew with `credit-like evaluate RUN`."
        ) from error
    if metadata.get(_VERSION_KEY) != _VERSION:
        raise UserError(
            f"{path}: scores of version {_VERSION} are needed; found {metadata.get(_VERSION_KEY, 'none')}. "
            "Write it anew with `credit-like evaluate RUN`."
        )
    problem = _problem(frame)
    if problem:
        raise UserError(f"{path}: {problem}. Write it anew with `credit-like evaluate RUN`.")
    return Scores(frame, _intervals(path, metadata.get(_INTERVALS_KEY, "")))


def _intervals(path: Path, text: str) -> dict[str, tuple[AttackInterval, ...]]:
    found: dict[str, list[AttackInterval]] = {}
    try:
        for entry in json.loads(text):
            interval = AttackInterval(str(entry["family"]), float(entry["start"]), float(entry["stop"]))
            found.setdefault(str(entry["capture"]), []).append(interval)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: the attack intervals in the file's metadata cannot be read ({error!r}). "
            "Write it anew with `credit-like evaluate RUN`."
        ) from error
    return {capture: tuple(known) for capture, known in found.items()}


def _problem(frame: pl.DataFrame) -> str:
    """The first rule of the table that ``frame`` breaks, or the empty string."""
    nodes = NODE_COLUMNS if any(name in frame.columns for name in NODE_COLUMNS) else {}
    for name, dtype in (COLUMNS | nodes).items():
        if name not in frame.columns:
            return f"column {name!r} is missing{closest(name, frame.columns)}"
        if frame.schema[name] != dtype:
            return f"column {name!r} must be {dtype}; it is {frame.schema[name]}"
    for name in frame.columns:
        extra = name == RAW_SCORE or name.startswith(CONTROL_PREFIX)
        if name not in COLUMNS and name not in nodes and not extra:
            return f"column {name!r} is not known{closest(name, COLUMNS | NODE_COLUMNS)}"
        if extra and frame.schema[name] != pl.Float64():
            return f"column {name!r} must be Float64; it is {frame.schema[name]}"
        if frame[name].null_count():
            return f"column {name!r} has {frame[name].null_count()} empty value(s)"
        if frame.schema[name] == pl.Float64() and not frame[name].is_finite().all():
            return f"column {name!r} has values that are not finite numbers"
    for split in frame["split"].unique().sort().to_list():
        if split != VALIDATION and not is_test(split):
            return f"split {split!r} does not belong here: validation and test windows only"
    if nodes:
        sizes = frame.select(pl.col(name).list.len() for name in nodes)
        if not sizes.select(pl.all_horizontal(pl.all() == pl.col("node_key"))).to_series().all():
            return "the node columns of a row must have one entry a node each"
        if not frame["node_score"].explode(empty_as_null=False).is_finite().all():
            return "column 'node_score' has values that are not finite numbers"
    rules = {
        "label must be -1, 0 or 1": pl.col("label").is_between(-1, 1),
        "a window must not end before it starts": pl.col("t_end") >= pl.col("t_start"),
        "row_stop must be above row_start, and row_start not negative": (pl.col("row_stop") > pl.col("row_start"))
        & (pl.col("row_start") >= 0),
    }
    for rule, holds in rules.items():
        broken = frame.with_row_index("row").filter(~holds)
        if broken.height:
            return f"{rule}; row {broken['row'][0]} breaks it"
    return ""
