"""Control detectors: what simple means reach on the same windows. A graph that doesn't beat them earns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

    from credit_like.graphs.store import GraphStore

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOKUP, TIMING, TREES = "id look-up", "timing only", "gradient-boosted trees"
FOREST = "isolation forest"

#: Every control and what it is, for the report.
CONTROLS = {
    LOOKUP: "share of ids and of transitions in the window that benign training traffic never showed",
    TIMING: "gradient-boosted trees on frame rate and inter-arrival times alone; ids, payloads and order are hidden",
    TREES: "gradient-boosted trees on the mean, greatest and least node features of the window; the graph is hidden",
    FOREST: "isolation forest on the node features in units of each id's benign traffic; it never sees an attack",
}

#: The supervised controls are fitted on at most so many windows: beyond that they cost time and gain next to nothing.
MAX_TRAINING_WINDOWS = 50_000
#: Windows gathered at a time, which bounds memory to a few hundred MB at 100 frames a window.
CHUNK = 20_000

#: A spread below this is rounding (a skewness of 1e-17 in place of 0): the feature is always the same.
_CONSTANT = 1e-12

_COUNT = NODE_FEATURES.index("message_count")
_GAPS = [NODE_FEATURES.index("interarrival_mean"), NODE_FEATURES.index("interarrival_std")]
_TRANSITION_COUNT = EDGE_FEATURES.index("count")


def control_scores(store: GraphStore, train: Ints, rows: Ints) -> dict[str, Floats]:
    """Scores of every control on the windows ``rows`` of the store: float64[len(rows)], higher is more suspicious.

    Fitted on the windows ``train`` (int64 indices) and on nothing else: ``id look-up`` and ``isolation forest`` on the
    benign ones of them, the others on benign and attack windows; those are left out where training holds one class.
    Windows that overlap an attack interval without holding an attack frame are not used. Seeded and deterministic.

    Raises ValueError where ``train`` holds no benign window.
    """
    windows = store.windows
    label = np.asarray(windows.label)[train]
    benign = train[(label == 0) & ~np.asarray(windows.in_interval)[train]]
    attack = train[label == 1]
    if len(benign) == 0:
        raise ValueError("controls are fitted on benign training windows and there is none")
    found = {LOOKUP: _lookup_scores(store, benign, rows), FOREST: _forest_scores(store, _sample(benign), rows)}
    if len(attack) == 0:
        return found
    fitted = _sample(np.sort(np.concatenate([benign, attack])))
    target = np.asarray(windows.label)[fitted] == 1
    timing, trees = _window_features(store, fitted)
    parts: dict[str, list[Floats]] = {TIMING: [], TREES: []}
    with threadpool_limits(1, "openmp"):  # so small a fit waits for its threads: 5 times slower on two busy cores
        models = {TIMING: _boosted_trees(timing, target), TREES: _boosted_trees(trees, target)}
        for chunk in _chunks(rows):
            for name, features in zip((TIMING, TREES), _window_features(store, chunk), strict=True):
                parts[name].append(models[name].predict_proba(features)[:, 1])
    return found | {name: np.concatenate(part) if part else np.zeros(0) for name, part in parts.items()}


def _boosted_trees(features: Floats, target: NDArray[np.bool_]) -> HistGradientBoostingClassifier:
    """Small trees, both classes of equal weight, no early stopping (which would hold windows back at random)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=15, class_weight="balanced", early_stopping=False, random_state=0
    )
    return model.fit(features, target)


def _forest_scores(store: GraphStore, benign: Ints, rows: Ints) -> Floats:
    """Minus the mean depth at which a window is isolated (Liu, Ting and Zhou 2008), shifted and scaled to 0 .. 1."""
    # It takes most of a second to import; before limits on threads, which see only what is loaded.
    from sklearn.ensemble import IsolationForest

    nodes, _ = _spans(store.node_ptr, benign)
    keys, number = np.unique(store.key[nodes], return_inverse=True)
    count = np.bincount(number).astype(np.float64)
    centre, spread = np.zeros((2, len(keys), store.x.shape[1]))
    for column in range(store.x.shape[1]):
        value = store.x[nodes, column].astype(np.float64)
        centre[:, column] = np.bincount(number, value) / count
        spread[:, column] = np.sqrt(np.bincount(number, (value - centre[number, column]) ** 2) / count)
    spread[spread < _CONSTANT] = 1.0
    model = IsolationForest(n_estimators=200, random_state=0)
    with threadpool_limits(1, "openmp"):
        model.fit(np.vstack([_relative_features(store, chunk, keys, centre, spread) for chunk in _chunks(benign)]))
        parts = [
            -model.score_samples(_relative_features(store, chunk, keys, centre, spread)) for chunk in _chunks(rows)
        ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _relative_features(store: GraphStore, rows: Ints, keys: Ints, centre: Floats, spread: Floats) -> Floats:
    """float64[n, 108]: mean, greatest and least over a window's ids of their features in units of their own benign
    traffic, within +-10; 0 for an unknown id, which a forest that never saw one could not split on."""
    nodes, window = _spans(store.node_ptr, rows)
    position = _number(store.key[nodes], keys) - 1
    known = position >= 0
    relative = np.clip((store.x[nodes] - centre[position]) / spread[position], -10.0, 10.0) * known[:, None]
    starts = np.searchsorted(window, np.arange(len(rows)))
    ids = np.bincount(window, minlength=len(rows)).astype(np.float64)
    return np.hstack(
        [
            np.add.reduceat(relative, starts) / ids[:, None],
            np.maximum.reduceat(relative, starts),
            np.minimum.reduceat(relative, starts),
        ]
    )


def _sample(rows: Ints) -> Ints:
    if len(rows) <= MAX_TRAINING_WINDOWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_TRAINING_WINDOWS, replace=False))


def _lookup_scores(store: GraphStore, benign: Ints, rows: Ints) -> Floats:
    """Share of the window's frames whose id is unknown, plus share of its transitions that are; 0 to 2."""
    known_keys = np.unique(
        np.concatenate([np.unique(store.key[_spans(store.node_ptr, x)[0]]) for x in _chunks(benign)])
    )
    known = np.unique(np.concatenate([np.unique(_transitions(store, x, known_keys)[0]) for x in _chunks(benign)]))
    scores = []
    for chunk in _chunks(rows):
        nodes, node_window = _spans(store.node_ptr, chunk)
        count = store.x[nodes, _COUNT].astype(np.float64)
        strange = ~np.isin(store.key[nodes], known_keys)
        ids = _share(node_window, count, strange, len(chunk))
        code, count, edge_window = _transitions(store, chunk, known_keys)
        transitions = _share(edge_window, count, ~np.isin(code, known), len(chunk))
        scores.append(ids + transitions)
    return np.concatenate(scores) if scores else np.zeros(0)


def _transitions(store: GraphStore, rows: Ints, known_keys: Ints) -> tuple[Ints, Floats, Ints]:
    """Of every edge of the windows: a number for its pair of ids (0 stands for every unknown id), count and window."""
    edges, window = _spans(store.edge_ptr, rows)
    first = np.asarray(store.node_ptr)[rows][window]
    numbers = [_number(store.key[first + store.edge_index[end, edges]], known_keys) for end in (0, 1)]
    return (
        numbers[0] * (len(known_keys) + 1) + numbers[1],
        store.edge_attr[edges, _TRANSITION_COUNT].astype(float),
        window,
    )


def _number(keys: Ints, known: Ints) -> Ints:
    """1 + position of each key in the sorted ``known``, 0 where it is not there."""
    position = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[position] == keys, position + 1, 0)


def _share(window: Ints, count: Floats, strange: NDArray[np.bool_], windows: int) -> Floats:
    """Counts of the strange ones over all counts, a window; 0 where a window has nothing to count."""
    total = np.bincount(window, weights=count, minlength=windows)
    return np.bincount(window, weights=count * strange, minlength=windows) / np.maximum(total, 1.0)


def _window_features(store: GraphStore, rows: Ints) -> tuple[Floats, Floats]:
    """(timing float64[n, 9], trees float64[n, 108]) of the windows ``rows``."""
    nodes, window = _spans(store.node_ptr, rows)
    x = store.x[nodes].astype(np.float64)
    starts = np.searchsorted(window, np.arange(len(rows)))
    count = x[:, _COUNT]
    ids = np.bincount(window, minlength=len(rows)).astype(np.float64)
    trees = np.hstack(
        [np.add.reduceat(x, starts) / ids[:, None], np.maximum.reduceat(x, starts), np.minimum.reduceat(x, starts)]
    )
    seconds = np.asarray(store.windows.t_stop)[rows] - np.asarray(store.windows.t_start)[rows]
    frames = np.add.reduceat(count, starts)
    gaps = x[:, _GAPS]
    timing = np.hstack(
        [
            np.stack([frames / np.maximum(seconds, 1e-6), ids, np.maximum.reduceat(count, starts) / frames], axis=1),
            np.add.reduceat(gaps * count[:, None], starts) / frames[:, None],
            np.maximum.reduceat(gaps, starts),
            np.minimum.reduceat(gaps, starts),
        ]
    )
    return timing, trees


def _spans(pointer: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """(positions, which of ``rows`` each belongs to) of everything that ``pointer`` gives to the windows ``rows``."""
    start, stop = np.asarray(pointer)[rows], np.asarray(pointer)[rows + 1]
    length = stop - start
    window = np.repeat(np.arange(len(rows)), length)
    before = np.cumsum(length) - length
    return np.arange(len(window)) - before[window] + start[window], window


def _chunks(rows: Ints) -> list[Ints]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
