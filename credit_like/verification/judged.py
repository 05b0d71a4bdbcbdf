"""A set of scored windows at a threshold, and its figures, one function a figure and each from its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: Bins of the calibration error.
_BINS = 15


@dataclass(frozen=True)
class Judged:
    """Rows of a scores table with a column ``alarm``; ``threshold`` is that of the single window."""

    frame: pl.DataFrame
    threshold: float

    def where(self, chosen: pl.Expr) -> Judged:
        return Judged(self.frame.filter(chosen), self.threshold)

    @cached_property
    def counted(self) -> pl.DataFrame:
        """Attack windows, and the benign ones: without an attack frame, and outside every declared attack."""
        return self.frame.filter((pl.col("label") == 1) | BENIGN)

    @cached_property
    def attack(self) -> Bools:
        return (self.counted["label"] == 1).to_numpy()

    @cached_property
    def score(self) -> Floats:
        return self.counted["score"].to_numpy()

    @cached_property
    def above(self) -> Bools:
        return self.score > self.threshold

    @cached_property
    def hours(self) -> float:
        """Bus time that benign windows cover, each instant of a capture once."""
        seconds = 0.0
        for _, part in self.frame.filter(BENIGN).sort("t_start").group_by("capture", maintain_order=True):
            reached = -math.inf
            for start, end in part.select("t_start", "t_end").iter_rows():
                seconds += max(0.0, end - max(start, reached))
                reached = max(reached, end)
        return seconds / 3600

    @cached_property
    def curve(self) -> tuple[Floats, Floats]:
        """Attack and benign windows at or above each score there is, from the highest score down."""
        levels = np.unique(self.score)[::-1]
        ranked = (np.sort(self.score[self.attack]), np.sort(self.score[~self.attack]))
        tp, fp = (len(scores) - np.searchsorted(scores, levels, side="left") for scores in ranked)
        return tp.astype(np.float64), fp.astype(np.float64)

    def count(self, attack: bool, above: bool) -> int:
        return int(((self.attack == attack) & (self.above == above)).sum())


BENIGN = (pl.col("label") == 0) & ~pl.col("in_interval")


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _precision(x: Judged) -> float | None:
    return _ratio(x.count(True, True), int(x.above.sum())) if x.attack.any() else None


def _recall(x: Judged) -> float | None:
    return _ratio(x.count(True, True), int(x.attack.sum()))


def _f1(x: Judged) -> float | None:
    wrong = x.count(False, True) + x.count(True, False)
    return 2 * x.count(True, True) / (2 * x.count(True, True) + wrong) if x.attack.any() else None


def _mcc(x: Judged) -> float | None:
    if not _both(x):
        return None
    tp, fp, tn, fn = (float(x.count(a, b)) for a, b in ((True, True), (False, True), (False, False), (True, False)))
    scale = math.sqrt(tp + fp) * math.sqrt(tp + fn) * math.sqrt(tn + fp) * math.sqrt(tn + fn)
    return (tp * tn - fp * fn) / scale if scale else 0.0


def _fpr(x: Judged) -> float | None:
    return _ratio(x.count(False, True), int((~x.attack).sum()))


def _false_alarms_per_hour(x: Judged) -> float | None:
    """Runs of benign windows that alarm; windows follow each other unless a window's length of rows lies between."""
    runs = 0
    for _, part in (
        x.frame.with_columns(false=BENIGN & pl.col("alarm")).sort("row_start").group_by("split", "capture", "bus")
    ):
        reached, length, ringing = -1, 0, False
        for start, stop, false in part.select("row_start", "row_stop", "false").iter_rows():
            runs += false and not (ringing and start - reached < length)
            reached, length, ringing = stop, stop - start, false
    return _ratio(runs, x.hours)


def _auroc(x: Judged) -> float | None:
    """Share of pairs of an attack and a benign window in which the attack scores higher; equal scores count half."""
    if not _both(x):
        return None
    benign = np.sort(x.score[~x.attack])
    lower = np.searchsorted(benign, x.score[x.attack], side="left")
    not_higher = np.searchsorted(benign, x.score[x.attack], side="right")
    return float((lower + not_higher).sum() / 2 / (x.attack.sum() * len(benign)))


def _auprc(x: Judged) -> float | None:
    """Precision at every score there is, weighted by the recall that it adds."""
    if not _both(x):
        return None
    tp, fp = x.curve
    return float((np.diff(tp, prepend=0.0) * tp / (tp + fp)).sum() / x.attack.sum())


def _recall_at(rate: float) -> Callable[[Judged], float | None]:
    def figure(x: Judged) -> float | None:
        benign = int((~x.attack).sum())
        if not _both(x) or benign * rate < 1:
            return None
        tp, fp = x.curve
        return float(tp[fp / benign <= rate].max(initial=0.0) / x.attack.sum())

    return figure


def _precision_at_recall_95(x: Judged) -> float | None:
    if not _both(x):
        return None
    tp, fp = x.curve
    enough = tp / x.attack.sum() >= 0.95
    return float((tp / (tp + fp))[enough].max())


def _calibration_error(x: Judged) -> float | None:
    """Mean over windows of |share of attacks - mean score| of their bin; 15 bins of [0, 1], closed at the right."""
    if not len(x.score) or x.score.min() < 0 or x.score.max() > 1:
        return None
    number = np.ceil(x.score * _BINS).astype(int).clip(1, _BINS)
    bins = [number == b for b in range(1, _BINS + 1)]
    return float(sum(abs(x.attack[b].sum() - x.score[b].sum()) for b in bins) / len(x.score))


def _both(x: Judged) -> bool:
    return bool(x.attack.any() and not x.attack.all())


def _labelled(label: int, *, inside: bool = False) -> Callable[[Judged], int]:
    chosen = (pl.col("label") == label) & (pl.col("in_interval") if inside else True)
    return lambda x: x.frame.filter(chosen).height


#: Every figure of a set of windows that ``metrics.json`` may hold. One that is not here is not verified.
FIGURES: dict[str, Callable[[Judged], float | int | None]] = {
    "windows": lambda x: len(x.attack),
    "attack": lambda x: int(x.attack.sum()),
    "benign": lambda x: int((~x.attack).sum()),
    "left_out": _labelled(0, inside=True),
    "unlabelled": _labelled(-1),
    "benign_hours": lambda x: x.hours,
    "true_positive": lambda x: x.count(True, True),
    "false_positive": lambda x: x.count(False, True),
    "true_negative": lambda x: x.count(False, False),
    "false_negative": lambda x: x.count(True, False),
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "mcc": _mcc,
    "fpr": _fpr,
    "false_alarms_per_hour": _false_alarms_per_hour,
    "false_alarm_windows_per_hour": lambda x: _ratio(x.count(False, True), x.hours),
    "auroc": _auroc,
    "auprc": _auprc,
    "recall_at_fpr_1e2": _recall_at(1e-2),
    "recall_at_fpr_1e3": _recall_at(1e-3),
    "precision_at_recall_95": _precision_at_recall_95,
    "calibration_error": _calibration_error,
}
