"""The control detectors once more: fitted on the training windows, asked about a sample of the judged ones.

What a control is, docs/metrics.md says; its figures are only worth something if its scores are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from threadpoolctl import threadpool_limits

from credit_like.verification.reference import ReferenceGraph

Floats = NDArray[np.float64]

#: Columns of a node's features, and of an edge's.
_COUNT, _GAP, _GAP_SPREAD, _TIMES = 24, 31, 32, 10
#: Controls are fitted on no more windows; of more, so many are drawn with seed 0.
_MOST = 50_000


@dataclass(frozen=True)
class SeenWindow:
    """A window's graph, the seconds from its first frame to its last, and whether it holds an attack frame. Features
    count in float32, as in a store."""

    graph: ReferenceGraph
    seconds: float
    attack: bool

    @cached_property
    def x(self) -> Floats:
        """float64[N, 36]"""
        return self.graph.x.astype(np.float32).astype(np.float64)


Windows = Sequence[SeenWindow]


def lookup(training: Windows, asked: Windows) -> Floats:
    """Share of the window's frames with an id that benign training never showed, plus that of such transitions."""
    benign = _benign(training)
    ids = {int(key) for window in benign for key in window.graph.key}

    def transitions(window: SeenWindow) -> list[tuple[tuple[int, int], float]]:
        names = [int(key) if int(key) in ids else -1 for key in window.graph.key]
        pairs = ((names[a], names[b]) for a, b in window.graph.edge_index.T)
        return list(zip(pairs, window.graph.edge_attr[:, _TIMES].tolist(), strict=True))

    known = {pair for window in benign for pair, _ in transitions(window)}
    scores = []
    for window in asked:
        frames = window.graph.x[:, _COUNT]
        strange = sum(n for key, n in zip(window.graph.key, frames, strict=True) if int(key) not in ids)
        moves = transitions(window)
        odd = sum(n for pair, n in moves if pair not in known)
        scores.append(strange / frames.sum() + odd / max(sum(n for _, n in moves), 1))
    return np.array(scores, np.float64)


def timing(window: SeenWindow) -> Floats:
    """Frames a second, ids, share of the busiest; the ids' inter-arrival mean and deviation: mean over frames, most and
    least over ids. float64[9]."""
    count, gaps = window.x[:, _COUNT], window.x[:, [_GAP, _GAP_SPREAD]]
    frames = count.sum()
    rate = frames / max(window.seconds, 1e-6)
    weighted = (gaps * count[:, None]).sum(axis=0) / frames
    return np.array([rate, len(count), count.max() / frames, *weighted, *gaps.max(axis=0), *gaps.min(axis=0)])


def spread_out(values: Floats) -> Floats:
    """Mean, greatest and least of each column over a window's ids."""
    return np.concatenate([values.sum(axis=0) / len(values), values.max(axis=0), values.min(axis=0)])


def boosted(features: Callable[[SeenWindow], Floats]) -> Callable[[Windows, Windows], Floats]:
    """Gradient-boosted trees on ``features``, benign against attack, both of equal weight."""

    def scores(training: Windows, asked: Windows) -> Floats:
        fitted_on = _drawn(training)
        model = HistGradientBoostingClassifier(
            max_iter=100, max_leaf_nodes=15, class_weight="balanced", early_stopping=False, random_state=0
        )
        with threadpool_limits(1, "openmp"):
            model.fit(np.stack([features(x) for x in fitted_on]), np.array([x.attack for x in fitted_on]))
            found: Floats = model.predict_proba(np.stack([features(window) for window in asked]))[:, 1]
        return found

    return scores


def isolation_forest(training: Windows, asked: Windows) -> Floats:
    """How early a window is isolated, by its ids' features in units of their own benign traffic, within +-10."""
    benign = _drawn(_benign(training))
    x = np.concatenate([window.x for window in benign])
    keys, number = np.unique(np.concatenate([window.graph.key for window in benign]), return_inverse=True)
    of_id = [x[number.reshape(-1) == place] for place in range(len(keys))]
    centre, deviation = (np.stack([f(own, axis=0) for own in of_id]) for f in (np.mean, np.std))
    deviation[deviation < 1e-12] = 1.0  # what rounding leaves of a feature that never changes

    def features(window: SeenWindow) -> Floats:
        place = np.searchsorted(keys, window.graph.key).clip(max=len(keys) - 1)
        relative = ((window.x - centre[place]) / deviation[place]).clip(-10, 10)
        relative[keys[place] != window.graph.key] = 0.0  # unknown ids
        return spread_out(relative)

    model = IsolationForest(n_estimators=200, random_state=0)
    with threadpool_limits(1, "openmp"):
        model.fit(np.stack([features(window) for window in benign]))
        found: Floats = -model.score_samples(np.stack([features(window) for window in asked]))
    return found


#: Every simple control by its name in the scores table: (windows of training in the order of the store, those asked
#: about) -> float64[asked]. Training holds benign windows and, for the trees, attacks.
SIMPLE: dict[str, Callable[[Windows, Windows], Floats]] = {
    "id look-up": lookup,
    "timing only": boosted(timing),
    "gradient-boosted trees": boosted(lambda window: spread_out(window.x)),
    "isolation forest": isolation_forest,
}


def _benign(windows: Windows) -> Windows:
    return [window for window in windows if not window.attack]


def _drawn(windows: Windows) -> Windows:
    """Those that a control is fitted on."""
    if len(windows) <= _MOST:
        return windows
    chosen = np.random.default_rng(0).choice(np.arange(len(windows)), _MOST, replace=False)
    return [windows[place] for place in np.sort(chosen)]
