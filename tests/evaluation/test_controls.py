"""Controls on a store made by hand: each sees what it claims to see, learns from training windows and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from credit_like.evaluation import CONTROLS, control_scores
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES

WINDOW_FRAMES = 20


@dataclass
class Frames:
    """What the frames of one window are drawn from."""

    ids: tuple[int, ...] = (10, 20, 30)
    seconds: float = 0.1
    payload: float = 50.0
    label: int = 0
    in_interval: bool = False


def store_of(drawn: list[Frames], seed: int = 0) -> Any:
    """A store of one window for each entry, ids in turn, with the arrays and the dtypes of the real one."""
    rng = np.random.default_rng(seed)
    x, key, edges, counts, node_ptr, edge_ptr = [], [], [], [], [0], [0]
    for frames in drawn:
        order = np.resize(np.array(frames.ids), WINDOW_FRAMES)
        ids = np.unique(order)
        node = np.zeros((len(ids), len(NODE_FEATURES)), np.float32)
        node[:, NODE_FEATURES.index("byte0_mean")] = rng.normal(frames.payload, 2.0, len(ids))
        node[:, NODE_FEATURES.index("message_count")] = [np.sum(order == i) for i in ids]
        node[:, NODE_FEATURES.index("interarrival_mean")] = frames.seconds / WINDOW_FRAMES * len(ids)
        pairs, times = np.unique(np.stack([order[:-1], order[1:]]), axis=1, return_counts=True)
        x.append(node)
        key.append(ids.astype(np.int64))
        edges.append(np.searchsorted(ids, pairs).astype(np.int32))
        counts.append(times)
        node_ptr.append(node_ptr[-1] + len(ids))
        edge_ptr.append(edge_ptr[-1] + len(times))
    edge_attr = np.zeros((edge_ptr[-1], len(EDGE_FEATURES)), np.float32)
    edge_attr[:, EDGE_FEATURES.index("count")] = np.concatenate(counts)
    start = np.arange(len(drawn), dtype=np.float64)
    windows = SimpleNamespace(
        label=np.array([f.label for f in drawn], np.int8),
        in_interval=np.array([f.in_interval for f in drawn]),
        t_start=start,
        t_stop=start + np.array([f.seconds for f in drawn]),
    )
    return SimpleNamespace(
        x=np.concatenate(x),
        key=np.concatenate(key),
        edge_index=np.concatenate(edges, axis=1),
        edge_attr=edge_attr,
        node_ptr=np.array(node_ptr),
        edge_ptr=np.array(edge_ptr),
        windows=windows,
    )


TRAINING = [Frames() for _ in range(60)] + [Frames(seconds=0.02, payload=200.0, label=1) for _ in range(40)]


def scored(*extra: Frames) -> dict[str, np.ndarray]:
    """Scores of the windows ``extra`` by controls fitted on ``TRAINING``."""
    store = store_of([*TRAINING, *extra])
    rows = np.arange(len(TRAINING), len(TRAINING) + len(extra))
    return control_scores(store, np.arange(len(TRAINING)), rows)


def test_every_control_scores_every_window() -> None:
    found = scored(Frames(), Frames(label=1))
    assert set(found) == set(CONTROLS)
    for scores in found.values():
        assert scores.shape == (2,)
        assert scores.dtype == np.float64


def test_the_look_up_table_counts_frames_and_transitions_of_unknown_ids() -> None:
    found = scored(Frames(), Frames(ids=(10, 99)), Frames(ids=(98, 99)))["id look-up"]
    assert found.tolist() == [0.0, 1.5, 2.0]  # half of the frames and every transition; all of both


def test_the_look_up_table_sees_known_ids_in_another_order() -> None:
    found = scored(Frames(ids=(30, 20, 10)))["id look-up"]
    assert found.tolist() == [1.0]


def test_the_look_up_table_learns_from_benign_training_windows_alone() -> None:
    taught = [*TRAINING, Frames(ids=(99,), label=1), Frames(ids=(98,), in_interval=True)]
    store = store_of([*taught, Frames(ids=(99,)), Frames(ids=(98,)), Frames(ids=(97,))])
    rows = np.arange(len(taught), len(taught) + 3)
    assert control_scores(store, np.arange(len(taught)), rows)["id look-up"].tolist() == [2.0, 2.0, 2.0]


def test_timing_sees_time_and_no_payload() -> None:
    slow, fast, odd = scored(Frames(), Frames(seconds=0.02), Frames(payload=200.0))["timing only"]
    assert fast > 0.9 > 0.1 > slow
    assert odd == slow


def test_trees_see_payloads_and_no_order() -> None:
    plain, odd, turned = scored(Frames(), Frames(payload=200.0), Frames(ids=(30, 20, 10)))["gradient-boosted trees"]
    assert odd > 0.9
    assert max(plain, turned) < 0.1


def test_rows_and_their_order_do_not_matter_to_a_score() -> None:
    store = store_of([*TRAINING, Frames(), Frames(ids=(1, 2)), Frames(seconds=0.03), Frames(payload=120.0)])
    train, rows = np.arange(len(TRAINING)), np.arange(len(TRAINING), len(TRAINING) + 4)
    whole, turned = control_scores(store, train, rows), control_scores(store, train, rows[::-1])
    for name in CONTROLS:
        assert turned[name][::-1].tolist() == whole[name].tolist()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = [Frames(ids=(10, 20 + i)) for i in range(7)]
    whole = scored(*extra)
    monkeypatch.setattr("credit_like.evaluation.controls.CHUNK", 3)
    for name, scores in scored(*extra).items():
        assert scores.tolist() == whole[name].tolist()


def test_the_isolation_forest_learns_from_benign_training_windows_alone() -> None:
    taught = [*TRAINING, *(Frames(payload=200.0, in_interval=True) for _ in range(40))]
    store = store_of([*taught, Frames(), Frames(payload=200.0)])
    rows = np.arange(len(taught), len(taught) + 2)
    plain, odd = control_scores(store, np.arange(len(taught)), rows)["isolation forest"]
    assert odd > plain + 0.1
    assert control_scores(store, np.arange(60), rows)["isolation forest"].tolist() == [plain, odd]


def test_the_isolation_forest_does_not_split_on_rounding() -> None:
    """A feature that is 0, or as good as 0, gives the same trees: in units of its spread it would be +-1."""
    store = store_of([*TRAINING, Frames(), Frames(payload=200.0)])
    rows, train = np.arange(60, 62), np.arange(60)
    exact = control_scores(store, train, rows)["isolation forest"]
    always = np.flatnonzero(np.ptp(store.x, axis=0) == 0)
    column = int(always[store.x[0, always] == 0][0])
    store.x[:, column] = np.where(np.random.default_rng(0).random(len(store.x)) < 0.5, 0.0, 1.5e-17)
    assert control_scores(store, train, rows)["isolation forest"].tolist() == exact.tolist()


def test_without_attack_windows_what_needs_none_is_fitted() -> None:
    store = store_of([Frames() for _ in range(5)])
    assert set(control_scores(store, np.arange(4), np.array([4]))) == {"id look-up", "isolation forest"}


def test_without_benign_windows_there_is_nothing_to_fit() -> None:
    store = store_of([Frames(label=1), Frames(in_interval=True), Frames(label=-1)])
    with pytest.raises(ValueError, match="fitted on benign training windows and there is none"):
        control_scores(store, np.arange(3), np.array([0]))
