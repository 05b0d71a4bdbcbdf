"""Bootstrap intervals once more: blocks of bus time are drawn as docs/metrics.md says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from credit_like.verification.judged import Judged

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Most blocks, fewest blocks of a class, and the share of rounds that an interval holds.
_MOST, _FEWEST, _COVERAGE = 200, 5, 0.95
#: Rounds that are looked at together: some 10 MB at 10,000 places.
_TOGETHER = 100


@dataclass(frozen=True)
class Resampling:
    """``rounds`` resamples of blocks of ``seconds``; ``groups`` are captures that share traffic, and their clocks."""

    rounds: int
    seconds: float
    seed: int
    groups: Sequence[Mapping[str, float]]

    def draws(self, x: Judged) -> tuple[Ints, Floats] | None:
        """(block of each counted window, float64[rounds, blocks] times drawn); None where blocks are too few."""
        if self.blocks(x) < _FEWEST:
            return None
        block = self.numbered(x.counted, x.frame["capture"])
        return block, self.times(block)

    def blocks(self, x: Judged) -> int:
        """How many blocks hold windows of the rarer class."""
        block = self.numbered(x.counted, x.frame["capture"])
        return min(len(np.unique(block[mask])) for mask in (x.attack, ~x.attack))

    def times(self, block: Ints) -> Floats:
        """float64[rounds, blocks] times drawn."""
        count = int(block.max()) + 1
        drawn = np.random.default_rng(self.seed).multinomial(count, [1 / count] * count, size=self.rounds)
        return drawn.astype(np.float64)

    def numbered(self, counted: pl.DataFrame, captures: pl.Series) -> Ints:
        """The block of each window of ``counted``, some of those of ``captures``: windows of one group and the same
        stretch of its clock, numbered by group, then time."""
        if not counted.height:
            return np.zeros(0, np.int64)
        alone = sorted(set(captures) - {name for group in self.groups for name in group})
        clock = {name: (number, offset) for number, group in enumerate(self.groups) for name, offset in group.items()}
        clock |= {name: (len(self.groups) + number, 0.0) for number, name in enumerate(alone)}
        group = np.array([clock[name][0] for name in counted["capture"]])
        t = counted["t_start"].to_numpy() + np.array([clock[name][1] for name in counted["capture"]])
        start = {number: t[group == number].min() for number in np.unique(group)}
        since = t - np.array([start[number] for number in group])
        seconds = self.seconds
        while True:
            found = pl.DataFrame({"group": group, "step": np.floor(since / seconds)})
            block = found.select(pl.struct("group", "step").rank("dense")).to_series().cast(pl.Int64).to_numpy() - 1
            if block.max() + 1 <= max(_MOST, len(start)):
                return block
            seconds *= 2

    def intervals(self, x: Judged) -> dict[str, list[float]] | None:
        """Of precision, recall, f1, fpr and auroc, those that have an interval; None where nothing has."""
        drawn = self.draws(x)
        if drawn is None:
            return None
        block, weights = drawn
        samples = decisions(x, block, weights)
        samples["auroc"] = auroc_rounds(x.attack, x.score, block, weights)
        found = {name: interval(values, self.blocks(x)) for name, values in samples.items()}
        return {name: limits for name, limits in found.items() if limits is not None}

    def of_frames(self, x: Judged, windows: Ints) -> tuple[int, dict[str, list[float]] | None]:
        """(blocks of the rarer class, intervals) of frames with a column ``block``, that of their window;
        ``windows`` are the blocks of all windows. None instead of intervals where blocks are too few."""
        block = x.counted["block"].to_numpy()
        blocks = min(len(np.unique(block[mask])) for mask in (x.attack, ~x.attack))
        if blocks < _FEWEST:
            return blocks, None
        weights = self.times(windows)
        samples = decisions(x, block, weights) | {"auroc": auroc_rounds(x.attack, x.score, block, weights)}
        found = {name: interval(values, blocks) for name, values in samples.items()}
        return blocks, {name: limits for name, limits in found.items() if limits is not None}


def decisions(x: Judged, block: Ints, weights: Floats) -> dict[str, Floats]:
    """precision, recall, f1 and fpr of each round; NaN where a round leaves one undefined."""
    parts = (x.attack & x.above, x.attack & ~x.above, ~x.attack & x.above, ~x.attack & ~x.above)
    tp, fn, fp, tn = (weights @ np.bincount(block[part], minlength=weights.shape[1]) for part in parts)
    with np.errstate(invalid="ignore"):
        samples = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn)}
        return samples | {"fpr": fp / (fp + tn)}


def auroc_rounds(attack: NDArray[np.bool_], score: Floats, block: Ints, weights: Floats) -> Floats:
    """AUROC of each round: a window counts as often as its block was drawn; NaN where a class was not.

    The scores of attacks part all scores into places: 2i + 1 is the i-th of them itself, 2i what lies below it.
    """
    levels, level = np.unique(score[attack], return_inverse=True)
    place = np.searchsorted(levels, score[~attack], "left") + np.searchsorted(levels, score[~attack], "right")
    rounds, blocks = weights.shape
    attacks = _held(block[attack], level.reshape(-1), blocks, len(levels))
    benign = _held(block[~attack], place, blocks, 2 * len(levels) + 1)
    found = np.full(rounds, np.nan)
    for first in range(0, rounds, _TOGETHER):
        drawn = weights[first : first + _TOGETHER]
        hit, quiet = drawn @ attacks, drawn @ benign
        beaten = np.cumsum(quiet, axis=1)[:, 1::2] - quiet[:, 1::2] / 2
        pairs = hit.sum(axis=1) * quiet.sum(axis=1)
        np.divide((hit * beaten).sum(axis=1), pairs, out=found[first : first + _TOGETHER], where=pairs > 0)
    return found


def _held(block: Ints, place: Ints, blocks: int, places: int) -> Floats:
    """float64[blocks, places]: how many each block has at each place."""
    count = np.bincount(block * places + place, minlength=blocks * places)
    return count.reshape(blocks, places).astype(np.float64)


def interval(samples: Floats, blocks: int) -> list[float] | None:
    """The central part of the samples that are numbers; None where fewer than half are.

    With few blocks resamples vary too little: the part is as large as Student's t and the factor n / (n - 1) ask for.
    """
    known = samples[~np.isnan(samples)]
    if not len(known) or 2 * len(known) < len(samples):
        return None
    reach = stats.t.ppf(0.5 + _COVERAGE / 2, blocks - 1) * np.sqrt(blocks / (blocks - 1))
    tail = stats.norm.cdf(-reach)
    return [float(np.quantile(known, tail)), float(np.quantile(known, 1 - tail))]
