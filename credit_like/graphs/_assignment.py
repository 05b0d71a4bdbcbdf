"""Whole groups to splits: the assignment that covers most attack families and comes nearest to the fractions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from credit_like.graphs._blocks import ENOUGH_SHARE, ENOUGH_WINDOWS

#: Up to so many assignments (9 groups to 3 splits, 7 to 4) all are tried; beyond, hill climbs from ``STARTS`` starts.
EXHAUSTIVE = 20_000
STARTS = 16

#: Penalties, so that coverage comes before fractions: a kind that training or test lacks, one that another split lacks.
_LACKS_REQUIRED, _LACKS_WANTED = 1000.0, 10.0


def assign(windows: NDArray[np.int64], fractions: Sequence[float], seed: int) -> NDArray[np.int64]:
    """Give each of G groups to one of S splits: 0 is training, S - 1 test, those between are fusion and validation.

    ``windows`` is int64[G, K]: windows of each kind that a group holds, benign ones first, then any kind that training
    and test should both see (attack families, vehicles). ``fractions`` are what the S splits should hold of each.
    Returns int64[G]. The seed decides between assignments that are equally good. Fewer groups than splits raise
    ValueError.
    """
    groups, count = len(windows), len(fractions)
    if groups < count:
        raise ValueError(f"{count} splits need at least {count} groups; got {groups}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(groups)
    ordered = windows[order].astype(np.float64)
    if count**groups <= EXHAUSTIVE:
        candidates = np.array(list(product(range(count), repeat=groups)), np.int64)
    else:
        starts = [rng.choice(count, groups, p=np.asarray(fractions)) for _ in range(STARTS)]
        candidates = np.array([_climb(start, ordered, fractions) for start in starts])
    splits = np.empty(groups, np.int64)
    splits[order] = candidates[np.argmin(_costs(_totals(candidates, ordered, count), fractions))]
    return splits


def covered(splits: NDArray[np.int64], windows: NDArray[np.int64], fractions: Sequence[float], families: int) -> bool:
    """Whether train and test get enough of every kind, and the splits between of benign windows and of an attack.

    Kinds 1 to ``families`` are the attack families.
    """
    enough = _enough(_totals(splits[None], windows.astype(np.float64), len(fractions)), fractions)[0]
    between = enough[1:-1]
    attacked = not families or between[:, 1 : 1 + families].any(1).all()
    return bool(enough[[0, -1]].all() and between[:, 0].all() and attacked)


def _climb(splits: NDArray[np.int64], windows: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.int64]:
    """Move one group to another split, the best move each time, for as long as that is better."""
    splits, count = splits.copy(), len(fractions)
    groups = np.arange(len(splits))
    totals = _totals(splits[None], windows, count)[0]
    cost = _costs(totals[None], fractions)[0]
    while True:
        moved = np.repeat(totals[None, None], len(splits), 0).repeat(count, 1)  # [group, its new split, split, kind]
        moved[groups, :, splits] -= windows[:, None]
        for split in range(count):
            moved[:, split, split] += windows
        costs = _costs(moved.reshape(-1, *totals.shape), fractions)
        group, split = divmod(int(np.argmin(costs)), count)
        if costs.min() >= cost - 1e-9:
            return splits
        cost, totals = costs.min(), moved[group, split]
        splits[group] = split


def _totals(candidates: NDArray[np.int64], windows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """float64[N, S, K]: windows of each kind in each of ``count`` splits, for N assignments of the groups."""
    one_hot = (candidates[:, None, :] == np.arange(count)[None, :, None]).astype(np.float64)
    return np.asarray(one_hot @ windows)


def _enough(totals: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.bool_]:
    """bool[N, S, K]: whether each split has enough windows of each kind."""
    wanted = ENOUGH_SHARE * np.asarray(fractions)[:, None] * totals.sum(1, keepdims=True)
    return np.asarray(totals >= np.maximum(ENOUGH_WINDOWS, wanted))


def _costs(totals: NDArray[np.float64], fractions: Sequence[float]) -> NDArray[np.float64]:
    """float64[N]: penalties for what is lacking, then the mean distance from the fractions."""
    lacks = ~_enough(totals, fractions)
    shares = totals / np.maximum(totals.sum(1, keepdims=True), 1)
    distance = np.abs(shares - np.asarray(fractions)[:, None]).mean((1, 2))
    between = lacks[:, 1:-1]
    required = lacks[:, [0, -1]].sum((1, 2)) + between[:, :, 0].sum(1)
    return np.asarray(_LACKS_REQUIRED * required + _LACKS_WANTED * between[:, :, 1:].sum((1, 2)) + distance)
