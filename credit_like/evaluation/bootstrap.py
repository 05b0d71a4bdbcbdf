"""Block-bootstrap intervals: stretches of bus time are drawn again, not windows, which resemble their neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: More blocks than this make intervals no truer and cost more: neighbours are joined until no more are left.
MAX_BLOCKS = 200
#: Fewer blocks than this with attacks, or without, say nothing about what another drive would give.
MIN_BLOCKS = 5
#: The intervals hold this share of the resamples.
COVERAGE = 0.95


def time_blocks(group: Ints, t: Floats, seconds: float) -> Ints:
    """int64[n] block of each window, numbered from 0: windows of one group and the same ``seconds`` of its clock.

    ``group`` int64[n] is a number shared by captures of the same recorded drive, so that the copies of a stretch of
    traffic are drawn together and do not count as evidence of their own; ``t`` float64[n] are seconds on the clock that
    those captures share. Blocks are doubled in length until at most ``MAX_BLOCKS`` are left.
    """
    if len(t) == 0:
        return np.zeros(0, np.int64)
    starts = np.full(int(group.max()) + 1, np.inf)
    np.minimum.at(starts, group, t)
    since = t - starts[group]
    while True:
        step = np.floor(since / seconds).astype(np.int64)
        found, block = np.unique(group * (int(step.max()) + 1) + step, return_inverse=True)
        if len(found) <= max(MAX_BLOCKS, len(np.unique(group))):
            return block.reshape(-1).astype(np.int64)
        seconds *= 2


def resamples(blocks: int, rounds: int, seed: int) -> Floats:
    """float64[rounds, blocks]: how often each block is drawn in each round; a row sums to ``blocks``."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=rounds).astype(np.float64)


def count_blocks(block: Ints, mask: Bools, blocks: int) -> Floats:
    """float64[blocks]: windows of each block for which ``mask`` holds."""
    return np.bincount(block[mask], minlength=blocks).astype(np.float64)


def decision_samples(weights: Floats, attack: Bools, alarm: Bools, block: Ints) -> dict[str, Floats]:
    """precision, recall, f1 and fpr of every round, float64[rounds]; NaN where a round leaves one undefined."""
    blocks = weights.shape[1]
    masks = (attack & alarm, ~attack & alarm, attack & ~alarm, ~attack & ~alarm)
    return samples_of_counts(weights, *(count_blocks(block, mask, blocks) for mask in masks))


def samples_of_counts(weights: Floats, tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> dict[str, Floats]:
    """The same from what each block holds, float64[blocks] of each outcome."""
    tp, fp, fn, tn = (weights @ count for count in (tp, fp, fn, tn))
    with np.errstate(invalid="ignore"):
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "fpr": fp / (fp + tn),
        }


def auroc_samples(weights: Floats, attack: Bools, score: Floats, block: Ints) -> Floats:
    """AUROC of every round, float64[rounds], exact with ties; NaN where a round drew one class only."""
    return auroc_samples_of_counts(weights, attack.astype(np.float64), (~attack).astype(np.float64), score, block)


def auroc_samples_of_counts(weights: Floats, attack: Floats, benign: Floats, score: Floats, block: Ints) -> Floats:
    """The same where each of n scores is that of ``attack`` float64[n] frames and of ``benign`` float64[n] others.

    AUROC is a mean over pairs of an attack and a benign frame, so the wins are counted once for each pair of blocks;
    a round then weighs that matrix instead of sorting its frames again.
    """
    blocks = weights.shape[1]
    hit, quiet = np.flatnonzero(attack), np.flatnonzero(benign)
    quiet = quiet[np.lexsort((score[quiet], block[quiet]))]
    begin = np.searchsorted(block[quiet], np.arange(blocks + 1))
    wins = np.zeros((blocks, blocks))
    for other in np.unique(block[quiet]):
        mine = quiet[begin[other] : begin[other + 1]]
        total = np.concatenate([[0.0], np.cumsum(benign[mine])])
        below, not_above = (np.searchsorted(score[mine], score[hit], side) for side in ("left", "right"))
        beaten = (total[below] + total[not_above]) / 2
        wins[:, other] = np.bincount(block[hit], weights=attack[hit] * beaten, minlength=blocks)
    drawn = [weights @ np.bincount(block, weights=count, minlength=blocks) for count in (attack, benign)]
    with np.errstate(invalid="ignore"):
        return ((weights @ wins) * weights).sum(axis=1) / (drawn[0] * drawn[1])


def percentile_interval(samples: Floats, coverage: float = COVERAGE) -> tuple[float, float] | None:
    """The central ``coverage`` of the defined samples; None where fewer than half of them are defined."""
    defined = samples[np.isfinite(samples)]
    if 2 * len(defined) < len(samples) or len(defined) == 0:
        return None
    tail = (1 - coverage) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def expanded_coverage(coverage: float, blocks: int) -> float:
    """What a percentile interval has to hold so that with ``blocks`` blocks, 2 or more, it covers ``coverage``.

    The tails are those of Student's t in place of the normal's, and the spread that n draws lose is given back: the
    expanded percentile interval of Hesterberg, "What Teachers Should Know About the Bootstrap", The American
    Statistician 69 (2015).
    """
    from scipy import stats  # takes most of a second to import

    t = stats.t.ppf((1 + coverage) / 2, blocks - 1) * math.sqrt(blocks / (blocks - 1))
    return float(1 - 2 * stats.norm.sf(t))


def blocks_of_both(attack: Bools, block: Ints, benign: Bools | None = None) -> int:
    """How many blocks hold windows of the rarer of the two classes; ``benign`` where it is not just ``~attack``."""
    quiet = ~attack if benign is None else benign
    return min(len(np.unique(block[attack])), len(np.unique(block[quiet])))


def intervals(samples: Mapping[str, Floats], blocks: int, coverage: float = COVERAGE) -> dict[str, tuple[float, float]]:
    """The interval of each figure that has one, widened for so few ``blocks`` of the rarer class."""
    widened = expanded_coverage(coverage, blocks)
    found = {name: percentile_interval(values, widened) for name, values in samples.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def too_few_blocks(attack: Bools, block: Ints, benign: Bools | None = None, what: str = "windows") -> str:
    """Why these windows give no interval, or the empty string; ``benign`` bool[n] where it is not just ``~attack``."""
    for name, mask in (("attack", attack), ("benign", ~attack if benign is None else benign)):
        found = len(np.unique(block[mask]))
        if found < MIN_BLOCKS:
            return f"{name} {what} lie in fewer than {MIN_BLOCKS} stretches of time ({found})"
    return ""


def shared_clocks(captures: Sequence[str], groups: Sequence[Mapping[str, float]]) -> dict[str, tuple[int, float]]:
    """For each capture the number of its group and the seconds that its clock is behind the group's.

    A group maps its captures to those offsets; a capture outside the groups is a group of its own.
    """
    clocks = {name: (number, offset) for number, group in enumerate(groups) for name, offset in group.items()}
    alone = [name for name in captures if name not in clocks]
    return clocks | {name: (len(groups) + number, 0.0) for number, name in enumerate(alone)}
