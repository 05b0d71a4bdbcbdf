"""Whole groups to splits: the assignment that covers most attack families and comes nearest to the fractions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from credit_like.graphs._blocks import ENOUGH_SHARE, ENOUGH_WINDOWS

#: Up to this many groups every assignment is tried (3^9 = 19,683); beyond it, hill climbs from ``STARTS`` starts.
EXHAUSTIVE = 9
STARTS = 16

#: Penalties, so that coverage comes before fractions: a kind that training or test lacks, one that validation lacks.
_LACKS_REQUIRED, _LACKS_WANTED = 1000.0, 10.0


def assign(windows: NDArray[np.int64], fractions: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Give each of G groups to split 0 (train), 1 (validation) or 2 (test).

    ``windows`` is int64[G, K]: windows of each kind that a group holds, benign ones first, then any kind that training
    and test should both see (attack families, vehicles). ``fractions`` are what the splits should hold of each.
    Returns int64[G]. The seed decides between assignments that are equally good. Fewer than three groups raise
    ValueError.
    """
    groups = len(windows)
    if groups < 3:
        raise ValueError(f"three splits need at least three groups; got {groups}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(groups)
    ordered = windows[order].astype(np.float64)
    if groups <= EXHAUSTIVE:
        candidates = np.array(list(product(range(3), repeat=groups)), np.int64)
    else:
        starts = [rng.choice(3, groups, p=np.asarray(fractions)) for _ in range(STARTS)]
        candidates = np.array([_climb(start, ordered, fractions) for start in starts])
    splits = np.empty(groups, np.int64)
    splits[order] = candidates[np.argmin(_costs(_totals(candidates, ordered), fractions))]
    return splits


def covered(splits: NDArray[np.int64], windows: NDArray[np.int64], fractions: Sequence[float], families: int) -> bool:
    """Whether train and test get enough of every kind, and validation of benign windows and of an attack.

    Kinds 1 to ``families`` are the attack families.
    """
    enough = _enough(_totals(splits[None], windows.astype(np.float64)), fractions)[0]
    return bool(enough[[0, 2]].all() and enough[1, 0] and (not families or enough[1, 1 : 1 + families].any()))


def _climb(splits: NDArray[np.int64], windows: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.int64]:
    """Move one group to another split, the best move each time, for as long as that is better."""
    splits = splits.copy()
    groups = np.arange(len(splits))
    totals = _totals(splits[None], windows)[0]
    cost = _costs(totals[None], fractions)[0]
    while True:
        moved = np.repeat(totals[None, None], len(splits), 0).repeat(3, 1)  # [group, its new split, split, kind]
        moved[groups, :, splits] -= windows[:, None]
        for split in range(3):
            moved[:, split, split] += windows
        costs = _costs(moved.reshape(-1, *totals.shape), fractions)
        group, split = divmod(int(np.argmin(costs)), 3)
        if costs.min() >= cost - 1e-9:
            return splits
        cost, totals = costs.min(), moved[group, split]
        splits[group] = split


def _totals(candidates: NDArray[np.int64], windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """float64[N, 3, K]: windows of each kind in each split, for N assignments of the groups."""
    one_hot = (candidates[:, None, :] == np.arange(3)[None, :, None]).astype(np.float64)
    return np.asarray(one_hot @ windows)


def _enough(totals: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.bool_]:
    """bool[N, 3, K]: whether each split has enough windows of each kind."""
    wanted = ENOUGH_SHARE * np.asarray(fractions)[:, None] * totals.sum(1, keepdims=True)
    return np.asarray(totals >= np.maximum(ENOUGH_WINDOWS, wanted))


def _costs(totals: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.float64]:
    """float64[N]: penalties for what is lacking, then the mean distance from the fractions."""
    lacks = ~_enough(totals, fractions)
    shares = totals / np.maximum(totals.sum(1, keepdims=True), 1)
    distance = np.abs(shares - np.asarray(fractions)[:, None]).mean((1, 2))
    required = lacks[:, [0, 2]].sum((1, 2)) + lacks[:, 1, 0]
    return np.asarray(_LACKS_REQUIRED * required + _LACKS_WANTED * lacks[:, 1, 1:].sum(1) + distance)
