"""PackedLoader: batches like PyG's own, orders that depend on seed and epoch only, and positions to resume from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch
from torch_geometric.nn import GATv2Conv, global_mean_pool

from credit_like.config import UserError
from credit_like.graphs import _gather
from credit_like.graphs._gather import Gathered, PackedGraphs, gather_compiled, gather_on_device, resident
from credit_like.graphs.loader import PackedLoader
from credit_like.graphs.store import GraphStore


def assert_equal_batches(made: Batch, expected: Batch) -> None:
    assert type(made).__name__ == type(expected).__name__
    assert list(made.keys()) == list(expected.keys())
    for name in expected.keys():  # noqa: SIM118  a batch iterates over pairs
        assert made[name].dtype == expected[name].dtype, name
        assert made[name].is_contiguous(), name
        assert made[name].untyped_storage().nbytes() == made[name].nbytes, name  # no view that keeps an epoch alive
        assert torch.equal(made[name], expected[name]), name
    assert made.num_graphs == expected.num_graphs
    assert made.num_nodes == expected.num_nodes
    assert made.validate()
    for one, other in zip(made.to_data_list(), expected.to_data_list(), strict=True):
        assert list(one.keys()) == list(other.keys())
        for name in other.keys():  # noqa: SIM118
            assert torch.equal(one[name], other[name]), name
    picked = made[torch.tensor([0, made.num_graphs - 1])]
    assert torch.equal(picked[1].edge_index, expected[expected.num_graphs - 1].edge_index)


Gather = Callable[[PackedGraphs, torch.Tensor, int, int], Gathered]


@pytest.mark.parametrize("gather", [gather_compiled, gather_on_device])
@given(data=st.data())
def test_a_batch_is_what_pyg_makes_of_the_same_graphs(store: GraphStore, gather: Gather, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(st.integers(0, len(store) - 1), min_size=1, max_size=12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gather, "gather_compiled", gather)
        (made,) = PackedLoader(store, np.array(graphs), batch_size=len(graphs))
    assert_equal_batches(made, Batch.from_data_list([store.graph(i) for i in graphs]))


def test_a_pyg_layer_takes_a_batch(store: GraphStore) -> None:
    batch = next(iter(PackedLoader(store, np.arange(8))))
    out = GATv2Conv(36, 4, edge_dim=11)(batch.x, batch.edge_index, batch.edge_attr)
    assert global_mean_pool(out, batch.batch, batch.num_graphs).shape == (8, 4)


def seen(loader: PackedLoader) -> list[int]:
    return [i for batch in loader for i in batch.window.tolist()]


def test_an_epoch_visits_every_index_once_in_an_order_of_its_own(store: GraphStore) -> None:
    indices = store.select("train")
    assert seen(PackedLoader(store, indices, 16)) == indices.tolist()
    loader = PackedLoader(store, indices, 16, shuffle=True, seed=3)
    orders = []
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        assert len(loader) == len(list(loader)) == -(-len(indices) // 16)
        orders.append(seen(loader))
        again = PackedLoader(store, indices, 16, shuffle=True, seed=3)
        again.set_epoch(epoch)
        assert seen(again) == orders[-1]
        assert sorted(orders[-1]) == indices.tolist()
    other = PackedLoader(store, indices, 16, shuffle=True, seed=4)
    assert len({tuple(order) for order in (*orders, seen(other), indices)}) == 4


@given(
    max_nodes=st.none() | st.integers(40, 300),
    max_edges=st.none() | st.integers(40, 300),
    batch_size=st.none() | st.integers(1, 9),
    shuffle=st.booleans(),
)
def test_budgets_are_kept_and_used(
    store: GraphStore, max_nodes: int | None, max_edges: int | None, batch_size: int | None, shuffle: bool
) -> None:
    if max_nodes is max_edges is batch_size is None:
        batch_size = 4
    loader = PackedLoader(store, np.arange(60), batch_size, max_nodes, max_edges, shuffle=shuffle)
    batches = list(loader)
    assert sorted(i for batch in batches for i in batch.window.tolist()) == list(range(60))
    assert len(loader) == len(batches)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        sizes = ((batch.num_nodes, max_nodes), (batch.num_edges, max_edges), (batch.num_graphs, batch_size))
        assert all(limit is None or size <= limit for size, limit in sizes)
        if following is not None:  # the next graph would not have fitted
            first = following.get_example(0)
            more = (first.num_nodes, first.num_edges, 1)
            assert any(limit is not None and size + m > limit for (size, limit), m in zip(sizes, more, strict=True))


@given(
    n=st.integers(4, 60),
    batch_size=st.none() | st.integers(4, 17),
    max_nodes=st.none() | st.integers(60, 400),
    replicas=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_processes_share_an_epoch(
    store: GraphStore, n: int, batch_size: int | None, max_nodes: int | None, replicas: int, epoch: int
) -> None:
    """Disjoint, complete, as many batches for each; without budgets the union of the k-th is one process's k-th."""
    if batch_size is max_nodes is None:
        batch_size = 4

    def share(rank: int, of: int) -> list[list[int]]:
        loader = PackedLoader(store, np.arange(n), batch_size, max_nodes, shuffle=True, rank=rank, num_replicas=of)
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(loader) == len(batches)
        assert all(max_nodes is None or batch.num_nodes <= max_nodes for batch in batches)
        return [batch.window.tolist() for batch in batches]

    shares = [share(rank, replicas) for rank in range(replicas)]
    assert len({len(batches) for batches in shares}) == 1
    union = [[i for part in step for i in part] for step in zip(*shares, strict=True)]
    alone = share(0, 1)
    assert sorted(i for step in union for i in step) == list(range(n))
    if max_nodes is None:
        steps = len(union) if len(union) == len(alone) else len(union) - 1  # a last batch that is too small to share
        assert union[:steps] == alone[:steps]
        for step in zip(*shares, strict=True):
            assert max(map(len, step)) - min(map(len, step)) <= 1


def test_a_share_resumes_where_it_was_and_no_other_does(store: GraphStore) -> None:
    def loader(rank: int) -> PackedLoader:
        return PackedLoader(store, np.arange(40), 8, shuffle=True, rank=rank, num_replicas=2)

    whole, begun = seen(loader(1)), loader(1)
    batches = iter(begun)
    done = [i for _ in range(2) for i in next(batches).window.tolist()]
    resumed = loader(1)
    resumed.load_state_dict(begun.state_dict())
    assert done + seen(resumed) == whole
    other = loader(0)
    other.load_state_dict(begun.state_dict())
    with pytest.raises(ValueError, match="the loader's state is of another order"):
        list(other)
    with pytest.raises(ValueError, match="rank must lie in"):
        loader(2)


def test_a_graph_larger_than_the_budget_is_named(store: GraphStore) -> None:
    largest = int(np.diff(store.node_ptr).argmax())
    most = int(np.diff(store.node_ptr).max())
    with pytest.raises(UserError, match=f"max_nodes is {most - 1}, but graph {largest} alone has {most}"):
        PackedLoader(store, np.arange(len(store)), max_nodes=most - 1)


def test_weights_choose_how_often_a_graph_is_drawn(store: GraphStore) -> None:
    indices = np.array([4, 9, 30])
    loader = PackedLoader(store, np.repeat(indices, 1000), 256, weights=np.repeat([0.0, 1.0, 3.0], 1000))
    drawn = seen(loader)
    assert len(drawn) == 3000
    assert set(drawn) == {9, 30}
    assert 0.70 < np.mean(np.array(drawn) == 30) < 0.80  # 0.75 +- 6 standard deviations
    assert drawn == seen(loader)
    loader.set_epoch(1)
    assert drawn != seen(loader)
    loader.set_weights(np.repeat([1.0, 0.0, 0.0], 1000))
    assert set(seen(loader)) == {4}
    loader.set_weights(None)
    assert seen(loader) == np.repeat(indices, 1000).tolist()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_weights_that_are_none(store: GraphStore, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must"):
        PackedLoader(store, np.array([0, 1]), weights=weights)


@given(epoch=st.integers(0, 3), done=st.integers(0, 7), weighted=st.booleans(), budget=st.booleans())
def test_a_loaded_position_yields_exactly_the_batches_that_remained(
    store: GraphStore, epoch: int, done: int, weighted: bool, budget: bool
) -> None:
    def fresh() -> PackedLoader:
        limits = {"batch_size": None, "max_nodes": 120} if budget else {"batch_size": 8}
        weights = np.arange(1.0, 61.0) if weighted else None
        return PackedLoader(store, np.arange(60), shuffle=True, seed=5, weights=weights, **limits)

    loader = fresh()
    loader.set_epoch(epoch)
    whole = [batch.window.tolist() for batch in loader]
    iterator = iter(loader)
    for _ in range(min(done, len(whole))):
        next(iterator)
    state = json.loads(json.dumps(loader.state_dict()))  # plain data

    resumed = fresh()
    resumed.load_state_dict(state)
    resumed.set_epoch(epoch)
    assert [batch.window.tolist() for batch in resumed] == whole[done:]
    assert [batch.window.tolist() for batch in resumed] == whole  # a position is used once
    resumed.load_state_dict(state)
    resumed.set_epoch(epoch + 1)  # and never for another epoch
    assert sum(map(len, (batch.window for batch in resumed))) == 60


def test_a_position_in_another_order_is_refused(store: GraphStore) -> None:
    state = PackedLoader(store, np.arange(20), 4, shuffle=True, seed=1).state_dict()
    for other in (
        PackedLoader(store, np.arange(20), 4, shuffle=True, seed=2),
        PackedLoader(store, np.arange(20), 5, shuffle=True, seed=1),
        PackedLoader(store, np.arange(21), 4, shuffle=True, seed=1),
    ):
        other.load_state_dict(state)
        with pytest.raises(ValueError, match="another order"):
            next(iter(other))


@pytest.mark.parametrize(
    ("indices", "error"),
    [
        (np.array([-1]), IndexError),
        (np.array([10**6]), IndexError),
        (np.array([0.5]), ValueError),
        (np.array([True, False]), ValueError),
        (np.array([[0, 1]]), ValueError),
    ],
)
def test_indices_are_checked(store: GraphStore, indices: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error, match="indices must be"):
        PackedLoader(store, indices)


@pytest.mark.parametrize("limits", [{"batch_size": None}, {"batch_size": 0}, {"max_nodes": 0}, {"max_edges": -1}])
def test_limits_are_checked(store: GraphStore, limits: dict[str, int | None]) -> None:
    with pytest.raises(ValueError, match=r"give a|must be at least 1"):
        PackedLoader(store, np.arange(3), **limits)


def test_no_indices_make_no_batches(store: GraphStore) -> None:
    loader = PackedLoader(store, np.array([], np.int64))
    assert len(loader) == 0
    assert list(loader) == []


def test_writing_into_a_batch_reaches_neither_store_nor_next_batch(store: GraphStore) -> None:
    loader = PackedLoader(store, np.arange(4))
    before = next(iter(loader)).x.clone()
    for batch in loader:
        batch.x.zero_()
        batch.window.zero_()
    assert torch.equal(next(iter(loader)).x, before)
    store.verify()


def test_loaders_of_one_store_share_its_tensors(store: GraphStore) -> None:
    device = torch.device("cpu")
    assert resident(store, device) is resident(store, device)
    assert PackedLoader(store, np.arange(2))._graphs is resident(store, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_kindly(store: GraphStore) -> None:
    with pytest.raises(UserError, match=r"'cuda:0' was asked for, but torch finds 0 CUDA GPUs; use cpu"):
        PackedLoader(store, np.arange(2), device="cuda:0")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_batches_on_a_gpu(store: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    monkeypatch.setattr(_gather, "_SHARE_OF_GPU", share)
    other = GraphStore.open(store.folder)
    (made,) = PackedLoader(other, np.arange(9), device="cuda")
    assert all(made[name].is_cuda for name in made.keys())  # noqa: SIM118
    assert_equal_batches(made.to("cpu"), Batch.from_data_list([store.graph(i) for i in range(9)]))
