"""History: one row an epoch, the best of them, and how long to wait for a better one."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from credit_like.config import ConfigError, closest
from credit_like.config.files import replacing

Row = dict[str, float]


class Patience:
    """Keeps the best value of a metric; the first of equals stays, non-finite values are never best."""

    def __init__(self, metric: str, direction: Literal["min", "max"], patience: int, min_delta: float = 0.0) -> None:
        self.metric, self.direction, self.patience, self.min_delta = metric, direction, patience, min_delta
        self.forget()

    def forget(self) -> None:
        """No epoch was best so far."""
        self.best_epoch, self.best_value = -1, math.nan

    def update(self, epoch: int, row: Row) -> bool:
        """Whether ``row`` is the best so far. Raises ConfigError when it has no such metric, listing those it has."""
        if self.metric not in row:
            names = [name for name in row if name != "epoch"]
            raise ConfigError(
                f"trainer.training_metric {self.metric!r} is in no row of results{closest(self.metric, names)}; "
                f"there are: {', '.join(names) or 'none'}"
            )
        value = row[self.metric]
        if not math.isfinite(value):
            return False
        gain = self.best_value - value if self.direction == "min" else value - self.best_value
        if self.best_epoch < 0 or gain > self.min_delta:
            self.best_epoch, self.best_value = epoch, value
            return True
        return False

    def exhausted(self, epoch: int) -> bool:
        """``epoch - best_epoch >= patience``: best at 2 and patience 3 run epochs 0..5."""
        return epoch - self.best_epoch >= self.patience

    def state_dict(self) -> dict[str, float]:
        return {"best_epoch": self.best_epoch, "best_value": self.best_value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best_epoch, self.best_value = int(state["best_epoch"]), float(state["best_value"])


class History:
    """The rows of all epochs so far. The checkpoint holds them; ``training_log.csv`` is a view, rewritten whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []

    def row_of(self, epoch: int) -> Row:
        """The row of ``epoch``, or an empty one (no epoch had a finite metric)."""
        return next((row for row in self.rows if row["epoch"] == epoch), {})

    def best_epochs(self, metric: str, direction: Literal["min", "max"], count: int) -> set[int]:
        """The epochs of the ``count`` best finite values; of equals the earlier ones."""
        sign = 1 if direction == "min" else -1
        finite = [row for row in self.rows if math.isfinite(row.get(metric, math.nan))]
        return {int(row["epoch"]) for row in sorted(finite, key=lambda row: sign * row[metric])[:count]}

    def write(self, shown: Callable[[Row], Row]) -> None:
        """Rewrite the file atomically with what ``shown`` leaves of each row: epoch, train_*/valid_* pairs, then lr.

        Raises UserError when the disk refuses; the file that was there is whole.
        """
        rows = [shown(row) for row in self.rows]
        columns = ordered_columns([name for row in rows for name in row])
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _shown(value) for name, value in row.items()} for row in rows)
        with replacing(self.path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")


def ordered_columns(names: Sequence[str]) -> list[str]:
    """``epoch``, each metric's train_ column beside its valid_ column, then whatever else, then ``lr``."""
    unique = list(dict.fromkeys(names))
    stems = dict.fromkeys(n.split("_", 1)[1] for n in unique if n.startswith(("train_", "valid_")))
    pairs = [f"{phase}_{stem}" for stem in stems for phase in ("train", "valid") if f"{phase}_{stem}" in unique]
    rest = [name for name in unique if name not in pairs and name not in ("epoch", "lr")]
    return [name for name in ("epoch", *pairs, *rest, "lr") if name in unique]


def phase_results(
    phase: str, recorded: Row, returned: Mapping[str, Any] | None, batch_weights: Sequence[float], resumed: bool
) -> Row:
    """One phase's results: what it recorded, and what it returned as floats or as lists of one value a batch.

    Names get the phase as prefix (``train_``, ``valid_``) where they have it not. Lists are averaged by the batches'
    sizes. Raises ValueError for a name that was both recorded and returned, and for a list that has not one value for
    each batch of the epoch (after a resume in mid-epoch only recorded values are exact).
    """
    row = prefixed(phase, recorded)
    for name, value in (returned or {}).items():
        column = _prefixed(phase, name)
        if column in row:
            raise ValueError(f"{column} was recorded and also returned; do one of the two")
        if isinstance(value, list | tuple):
            if batch_weights and len(value) != len(batch_weights):
                hint = " after a resume in mid-epoch; use record() for exact means" if resumed else ""
                raise ValueError(
                    f"{column} has {len(value)} values for the {len(batch_weights)} batches of the epoch{hint}"
                )
            weights = batch_weights or [1.0] * len(value)
            total = sum(weights)
            value = sum(float(v) * w for v, w in zip(value, weights, strict=True)) / total if total else math.nan
        try:
            row[column] = float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{column} must be a number, or a list of one a batch; got {value!r}") from error
    return row


def over_processes(rows: Sequence[Row], weights: Sequence[Mapping[str, float]]) -> Row:
    """One row of several processes' rows: each column's mean, by what stands behind it on each process.

    A column that all have alike stays as it is, whatever the rounding; one without weight anywhere is NaN.
    """
    together: Row = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        parts = [(row[name], weight[name]) for row, weight in zip(rows, weights, strict=True) if name in row]
        parts = [(value, weight) for value, weight in parts if weight]
        if len({value for value, _ in parts}) == 1:
            together[name] = parts[0][0]
        else:
            total = sum(weight for _, weight in parts)
            together[name] = sum(value * weight for value, weight in parts) / total if total else math.nan
    return together


def saved_columns(row: Row, wanted: bool | Sequence[str], display: Sequence[str]) -> Row:
    """What goes into the log: every column (True), those that contain one of the words, or loss and display metrics."""
    if wanted is True:
        return row
    words = ["loss", *(display if wanted is False else wanted)]
    return {name: v for name, v in row.items() if name in ("epoch", "lr") or any(word in name for word in words)}


def prefixed(phase: str, row: Mapping[str, float]) -> Row:
    """``row`` with the phase before each name that says none."""
    return {_prefixed(phase, name): value for name, value in row.items()}


def _prefixed(phase: str, name: str) -> str:
    return name if name.startswith(("train_", "valid_", "test_")) else f"{phase}_{name}"


def _shown(value: float) -> str:
    return str(int(value)) if isinstance(value, int) else repr(float(value))
