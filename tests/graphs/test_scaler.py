"""FeatureScaler: statistics of benign training windows, over all ids and over each, carried by the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from credit_like.config import UserError
from credit_like.graphs import scaler as scaler_module
from credit_like.graphs.features import NODE_FEATURES
from credit_like.graphs.scaler import FeatureScaler, ScalerSettings
from credit_like.graphs.store import GraphStore, rows_of
from credit_like.graphs.vocabulary import Vocabulary

KINDS = pytest.mark.parametrize("kind", ["z", "robust"])


def fitted(store: GraphStore, **settings: object) -> tuple[Vocabulary, FeatureScaler]:
    benign = store.select("train", label=0)
    vocabulary = Vocabulary.fit(store, benign)
    return vocabulary, FeatureScaler.fit(store, benign, vocabulary, ScalerSettings(**settings))


def inputs(store: GraphStore, vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    key = torch.from_numpy(store.key.copy())
    return torch.from_numpy(store.x.copy()), torch.from_numpy(store.edge_attr.copy()), vocabulary(key)


def plain(values: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each column, column by column."""
    centre, scale = [], []
    for column in values.astype(np.float64).T:
        spread = column.std()
        if kind == "robust":
            low, high = np.percentile(column, [25, 75])
            spread = (high - low) / 1.3489795 if high > low else spread
        centre.append(np.median(column) if kind == "robust" else column.mean())
        scale.append(1.0 if column.min() == column.max() else spread)
    return np.array(centre), np.array(scale)


@KINDS
def test_global_and_id_relative_columns(store: GraphStore, kind: str) -> None:
    benign = store.select("train", label=0)
    nodes = rows_of(store.node_ptr, benign)
    enough = int(np.median(np.unique(store.key[nodes], return_counts=True)[1]))  # half of the ids are seen more rarely
    vocabulary, scaler = fitted(store, kind=kind, min_count=enough, clip=1e6)
    x, edge_attr, ids = inputs(store, vocabulary)
    scaled, edges = scaler(x, edge_attr, ids)
    centre, scale = plain(store.x[nodes], kind)
    np.testing.assert_allclose(scaled[:, :36], (store.x - centre) / scale, rtol=1e-4, atol=1e-4)
    edge_centre, edge_scale = plain(store.edge_attr[rows_of(store.edge_ptr, benign)], kind)
    np.testing.assert_allclose(edges, (store.edge_attr - edge_centre) / edge_scale, rtol=1e-4, atol=1e-4)

    own_statistics = 0
    for number in range(len(vocabulary)):
        rows = np.flatnonzero(ids.numpy() == number)
        own = np.intersect1d(rows, nodes)
        if number > 0 and len(own) >= enough:
            centre_of_id, scale_of_id = plain(store.x[own], kind)
            own_statistics += 1
        else:
            centre_of_id, scale_of_id = centre, scale
        expected = (store.x[rows] - centre_of_id) / scale_of_id
        np.testing.assert_allclose(scaled[rows, 36:], expected, rtol=1e-3, atol=1e-3)
    assert 0 < own_statistics < len(vocabulary) - 1


@KINDS
def test_blocks_of_columns_do_not_show(store: GraphStore, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    _, whole = fitted(store, kind=kind)
    monkeypatch.setattr(scaler_module, "_BLOCK_BYTES", 1)
    _, columns = fitted(store, kind=kind)
    for name, buffer in whole.named_buffers():
        torch.testing.assert_close(columns.get_buffer(name), buffer)


def test_scaled_benign_training_nodes_have_mean_0_and_deviation_1(store: GraphStore) -> None:
    vocabulary, scaler = fitted(store, clip=100)
    x, edge_attr, ids = inputs(store, vocabulary)
    nodes = rows_of(store.node_ptr, store.select("train", label=0))
    scaled = scaler(x, edge_attr, ids)[0][nodes, :36]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(36), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(36), atol=1e-4, rtol=0)


def test_a_constant_column_is_shifted_and_not_blown_up(store: GraphStore) -> None:
    _, scaler = fitted(store)
    constant = [f for f in range(36) if np.ptp(store.x[rows_of(store.node_ptr, store.select("train", 0)), f]) == 0]
    assert all(scaler.node_scale[f] == 1 for f in constant)
    values = np.full((50, 3), 1 / 3, np.float32)
    values[::2] = np.nextafter(values[::2], np.float32(1))  # float32 rounding is no spread
    for kind in ("z", "robust"):
        centre, scale = scaler_module._statistics(values, np.arange(50), kind)
        assert scale.tolist() == [1, 1, 1]
        np.testing.assert_allclose(centre, 1 / 3, rtol=1e-6)
    values = np.array([[3e-16], [-2e-16]] * 25, np.float32)  # a skewness of zero, as it is rounded
    for kind in ("z", "robust"):
        assert scaler_module._statistics(values, np.arange(50), kind)[1] == 1


def test_a_column_whose_middle_half_is_constant_is_scaled_by_its_deviation() -> None:
    values = np.zeros((100, 1), np.float32)
    values[:10] = 5
    _, scale = scaler_module._statistics(values, np.arange(100), "robust")
    assert scale[0] == pytest.approx(values.std())


def test_clipping_and_shapes(store: GraphStore) -> None:
    vocabulary, scaler = fitted(store, clip=0.5)
    x, edge_attr, ids = inputs(store, vocabulary)
    scaled, edges = scaler(x, edge_attr, ids)
    assert scaled.shape == (len(x), 72) == (len(x), scaler.node_features)
    assert edges.shape == edge_attr.shape == (len(edge_attr), scaler.edge_features)
    assert scaled.dtype == edges.dtype == torch.float32
    assert scaled.abs().max() == edges.abs().max() == 0.5

    vocabulary, scaler = fitted(store, relative=False)
    assert scaler.node_features == 36
    assert scaler(x, edge_attr, ids)[0].shape == (len(x), 36)


def test_windows_of_other_splits_and_attacks_are_refused(store: GraphStore) -> None:
    vocabulary, _ = fitted(store)
    with pytest.raises(ValueError, match="training windows only"):
        FeatureScaler.fit(store, store.select(label=0), vocabulary, ScalerSettings())
    with pytest.raises(ValueError, match="benign windows only"):
        FeatureScaler.fit(store, store.select("train"), vocabulary, ScalerSettings())
    with pytest.raises(UserError, match="a feature scaler cannot be fitted"):
        FeatureScaler.fit(store, np.array([], np.int64), vocabulary, ScalerSettings())


def test_no_test_window_moves_it(store: GraphStore) -> None:
    """The statistics are those of the windows given: other windows give other ones."""
    benign = store.select("train", label=0)
    vocabulary = Vocabulary.fit(store, benign)
    half = FeatureScaler.fit(store, benign[: len(benign) // 2], vocabulary, ScalerSettings())
    whole = FeatureScaler.fit(store, benign, vocabulary, ScalerSettings())
    assert half.digest() != whole.digest()
    assert whole.digest() == fitted(store)[1].digest()


def test_it_travels_in_a_checkpoint(store: GraphStore, tmp_path: Path) -> None:
    vocabulary, scaler = fitted(store, clip=3.0)
    torch.save(scaler.state_dict(), tmp_path / "s.pt")
    restored = FeatureScaler.empty(len(vocabulary), ScalerSettings())
    x, edge_attr, ids = inputs(store, vocabulary)
    assert restored(x, edge_attr, ids)[0].isnan().all()  # not filled yet
    restored.load_state_dict(torch.load(tmp_path / "s.pt", weights_only=True))
    for made, expected in zip(restored(x, edge_attr, ids), scaler(x, edge_attr, ids), strict=True):
        assert torch.equal(made, expected)
    assert restored.digest() == scaler.digest()
    with pytest.raises(RuntimeError, match="size mismatch"):
        FeatureScaler.empty(3, ScalerSettings()).load_state_dict(scaler.state_dict())


def test_a_strange_payload_of_a_known_id_stands_out_in_its_own_columns(store: GraphStore) -> None:
    vocabulary, scaler = fitted(store, min_count=2)
    x, edge_attr, ids = inputs(store, vocabulary)
    length = NODE_FEATURES.index("payload_length")
    node = x[:1].clone()
    node[0, length] = 64
    scaled, _ = scaler(node, edge_attr, ids[:1])
    assert scaled[0, 36 + length] == 10
