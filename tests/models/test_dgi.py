"""Deep Graph Infomax: its loss in closed form, the shuffle within graphs, and the node-level form on one big graph."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from credit_like.models import DGI, DGILoss, GraphEncoder
from credit_like.models.dgi import shuffle_within


def graph(seed: int, nodes: int, edges: int) -> Data:
    rng = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, 6, generator=rng),
        edge_index=torch.randint(0, nodes, (2, edges), generator=rng),
        edge_attr=torch.randn(edges, 3, generator=rng),
    )


def make(conv: str = "gatv2") -> DGI:
    torch.manual_seed(0)
    encoder = GraphEncoder(node_features=6, edge_features=3, conv=conv, width=8, heads=2)
    return DGI(encoder, encoder.out_dim)


ODD_GRAPHS = [graph(1, 5, 12), graph(2, 1, 0), graph(3, 1, 1), graph(4, 3, 0)]


@pytest.mark.parametrize("conv", ["gatv2", "gat", "transformer", "gin"])
def test_every_encoder_trains_on_every_graph_and_has_no_bias(conv: str) -> None:
    model, batch = make(conv), Batch.from_data_list(ODD_GRAPHS)
    _, true, shuffled = model(batch.x, batch.edge_index, batch.edge_attr, batch.batch, 4)
    DGILoss()(true, shuffled, batch.batch, 4).backward()
    for name, parameter in model.named_parameters():
        assert "bias" not in name
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_a_shuffle_keeps_every_node_in_its_graph(sizes: list[int], seed: int) -> None:
    batch = torch.repeat_interleave(torch.tensor(sizes))
    order = shuffle_within(batch, torch.Generator().manual_seed(seed))
    assert torch.equal(batch[order], batch)
    assert torch.equal(order.sort().values, torch.arange(len(batch)))


def test_a_shuffle_is_uniform() -> None:
    batch = torch.repeat_interleave(torch.arange(6000), 3)
    place = shuffle_within(batch, torch.Generator().manual_seed(0)).view(-1, 3) % 3
    orders = torch.bincount(place[:, 0] * 3 + place[:, 1], minlength=9)
    assert bool(((orders > 850) == (orders > 0)).all())
    assert int((orders > 0).sum()) == 6


def test_loss_in_closed_form() -> None:
    """Two nodes of graph 0 and one of graph 1: means over a graph's nodes, then over graphs."""
    true, shuffled = torch.tensor([1.0, -1.0, 2.0]), torch.tensor([0.0, 3.0, -2.0])
    each = [
        0.5 * (-math.log(1 / (1 + math.exp(-t))) - math.log(1 / (1 + math.exp(s))))
        for t, s in zip(true, shuffled, strict=True)
    ]
    expected = ((each[0] + each[1]) / 2 + each[2]) / 2
    assert float(DGILoss()(true, shuffled, torch.tensor([0, 0, 1]), 2)) == pytest.approx(expected, rel=1e-5)


def test_the_summary_is_of_the_graph_s_own_nodes() -> None:
    model = make()
    hidden, batch = torch.randn(5, 16), torch.tensor([0, 0, 0, 1, 1])
    summary = model.summary(hidden, batch, 2)
    torch.testing.assert_close(summary[1], torch.sigmoid(hidden[3:].mean(dim=0)))
    expected = (hidden[4] @ model.weight @ summary[1]).item()
    assert float(model.logits(hidden, summary, batch)[4]) == pytest.approx(expected, rel=1e-4)


def test_it_learns_which_features_belong_together() -> None:
    """Node 0 always carries one kind of features and node 1 the other: shuffling can be told from the edge between."""
    rng = torch.Generator().manual_seed(0)
    graphs = [
        Data(
            x=torch.eye(2, 6) + 0.1 * torch.randn(2, 6, generator=rng),
            edge_index=torch.tensor([[0], [1]]),
            edge_attr=torch.ones(1, 3),
        )
        for _ in range(64)
    ]
    model, batch = make(), Batch.from_data_list(graphs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(80):
        _, true, shuffled = model(batch.x, batch.edge_index, batch.edge_attr, batch.batch, 64, rng)
        loss = DGILoss()(true, shuffled, batch.batch, 64)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.85 * math.log(2)  # half of all shuffles leave two nodes as they are


def test_an_encoder_has_layers() -> None:
    with pytest.raises(ValueError, match="at least one message-passing layer; got layers=0"):
        GraphEncoder(node_features=6, edge_features=3, layers=0)
