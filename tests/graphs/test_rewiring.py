"""Edges taken away and dealt out anew: within each graph, alike for a window in every batch, nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from credit_like.can import Capture, FrameTable, SourceFile
from credit_like.graphs import (
    GraphStore,
    PackedLoader,
    Segment,
    SplitPlan,
    WindowSettings,
    remove_edges,
    rewire_edges,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    rng = np.random.default_rng(0)
    n = 600
    frames = FrameTable.build(
        np.arange(n) * 0.001,
        rng.integers(1, 13, n).astype(np.int32),
        rng.integers(0, 256, (n, 8)).astype(np.uint8),
        np.full(n, 8, np.uint8),
        capture_name="a",
    )
    plan = SplitPlan((Segment("a", "train", 0, n),), "groups", ())
    folder = tmp_path_factory.mktemp("store") / "s"
    capture = Capture("a", frames, SourceFile("a", "", "", "", n))
    return GraphStore.build(folder, [capture], plan, WindowSettings(window=40), progress=False)


def edges(store: GraphStore, order: list[int], size: int, change: object = rewire_edges) -> dict[int, list[tuple]]:
    """Of each window its edges as (source key, target key, features)."""
    found: dict[int, list[tuple]] = {}
    for batch in PackedLoader(store, np.array(order), size, change=change):  # type: ignore[arg-type]
        owner = batch.batch[batch.edge_index[0]]
        assert torch.equal(owner, batch.batch[batch.edge_index[1]])  # no edge leaves its graph
        number = batch.edge_index[1] * batch.num_nodes + batch.edge_index[0]
        assert bool((number.diff() >= 0).all())
        for place, window in enumerate(batch.window.tolist()):
            mine = owner == place
            ends = batch.key[batch.edge_index[:, mine]].t().tolist()
            found[window] = [(*pair, *x) for pair, x in zip(ends, batch.edge_attr[mine].tolist(), strict=True)]
    return found


def test_a_window_is_rewired_alike_in_every_batch(store: GraphStore) -> None:
    order = list(range(len(store)))
    once, again = edges(store, order, 4), edges(store, order[::-1], 7)
    assert len(once) == 15
    assert {w: sorted(x) for w, x in once.items()} == {w: sorted(x) for w, x in again.items()}


def test_every_id_keeps_its_degrees_and_every_edge_its_source_and_features(store: GraphStore) -> None:
    order = list(range(len(store)))
    before, after = edges(store, order, 5, None), edges(store, order, 5)
    moved = 0
    for window in order:
        old, new = before[window], after[window]
        assert sorted(x[0:1] + x[2:] for x in old) == sorted(x[0:1] + x[2:] for x in new)
        assert sorted(x[1] for x in old) == sorted(x[1] for x in new)
        moved += len(set(old) - set(new))
    assert moved / sum(map(len, before.values())) > 0.8
    assert len({tuple(x[1] for x in sorted(after[w], key=lambda x: (x[0], x[2:]))) for w in order}) == len(order)


def test_without_edges_the_nodes_stay(store: GraphStore) -> None:
    whole = next(iter(PackedLoader(store, np.arange(6), 6)))
    bare = next(iter(PackedLoader(store, np.arange(6), 6, change=remove_edges)))
    assert bare.edge_index.shape == (2, 0)
    assert bare.edge_attr.shape == (0, whole.edge_attr.shape[1])
    for name in ("x", "key", "y", "batch", "ptr", "window"):
        assert torch.equal(bare[name], whole[name])
