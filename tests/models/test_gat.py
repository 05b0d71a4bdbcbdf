"""The GAT and its parts: every choice is defined for every graph, and a graph's logits are its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from credit_like.models import GAT, Detector, GraphPool, HashIds, LookupIds, make_id_encoder

FEATURES, EDGE_FEATURES = 6, 3


def graph(seed: int, nodes: int, edges: int) -> Data:
    """A random graph with ids 0..9."""
    rng = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, FEATURES, generator=rng),
        ids=torch.randint(0, 10, (nodes,), generator=rng),
        edge_index=torch.randint(0, nodes, (2, edges), generator=rng),
        edge_attr=torch.randn(edges, EDGE_FEATURES, generator=rng),
    )


def logits(model: GAT, graphs: Sequence[Data]) -> Tensor:
    batch = Batch.from_data_list(list(graphs))
    return model(batch.x, batch.ids, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)


def make(**choice: object) -> GAT:
    torch.manual_seed(0)
    sizes = {
        "num_ids": 10,
        "node_features": FEATURES,
        "edge_features": EDGE_FEATURES,
        "width": 8,
        "heads": 2,
        "fc": (4,),
    }
    return GAT(**{**sizes, **choice})


ODD_GRAPHS = (graph(1, 5, 12), graph(2, 1, 0), graph(3, 1, 1), graph(4, 3, 0))


@pytest.mark.parametrize(
    "choice",
    [
        *(
            {"conv": conv, "jump": jump}
            for conv, jump in product(("gatv2", "gat", "transformer", "gin"), ("cat", "lstm"))
        ),
        *({"jump": jump} for jump in ("last", "max")),
        *({"id_encoder": kind, "projection": 5} for kind in ("lookup", "hash", "none")),
        {"pooling": ("sum",), "layers": 1, "fc": ()},
        {"pooling": ("mean", "max", "sum"), "layers": 3, "fc": (8, 4)},
    ],
    ids=str,
)
def test_every_choice_trains_on_every_graph(choice: dict[str, object]) -> None:
    model = make(**choice)
    out = logits(model, ODD_GRAPHS)
    assert out.shape == (4, 2)
    nn.functional.cross_entropy(out, torch.tensor([0, 1, 0, 1])).backward()
    assert torch.isfinite(out).all()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not unused


@pytest.mark.parametrize("conv", ["gatv2", "gat", "transformer", "gin"])
def test_graphs_without_any_edge_in_the_batch(conv: str) -> None:
    model = make(conv=conv).eval()
    alone = logits(model, [graph(4, 3, 0)])
    assert torch.isfinite(alone).all()


def test_a_node_without_neighbours_keeps_its_features() -> None:
    model = make(id_encoder="none").eval()
    assert not torch.allclose(logits(model, [graph(5, 1, 0)]), logits(model, [graph(6, 1, 0)]))


@pytest.mark.parametrize("conv", ["gatv2", "gat", "transformer", "gin"])
def test_batch_composition_does_not_change_a_graphs_logits(conv: str) -> None:
    model = make(conv=conv).eval()
    together = logits(model, ODD_GRAPHS)
    for row, alone in zip(together, ODD_GRAPHS, strict=True):
        torch.testing.assert_close(row, logits(model, [alone])[0])


@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 12), edges=st.integers(0, 30))
def test_numbering_of_nodes_and_order_of_edges_do_not_matter(seed: int, nodes: int, edges: int) -> None:
    model = make().eval()
    before = graph(seed, nodes, edges)
    rng = torch.Generator().manual_seed(seed + 1)
    order, edge_order = torch.randperm(nodes, generator=rng), torch.randperm(edges, generator=rng)
    after = Data(
        x=before.x[order],
        ids=before.ids[order],
        edge_index=torch.argsort(order)[before.edge_index][:, edge_order],
        edge_attr=before.edge_attr[edge_order],
    )
    torch.testing.assert_close(logits(model, [after]), logits(model, [before]), rtol=1e-4, atol=1e-5)


def test_direction_and_features_of_edges_matter() -> None:
    model = make().eval()
    base = graph(7, 6, 10)
    turned = Data(x=base.x, ids=base.ids, edge_index=base.edge_index.flip(0), edge_attr=base.edge_attr)
    changed = Data(x=base.x, ids=base.ids, edge_index=base.edge_index, edge_attr=base.edge_attr + 1.0)
    for other in (turned, changed):
        assert not torch.allclose(logits(model, [base]), logits(model, [other]))


def test_row_of_the_unknown_id_is_trained_and_used() -> None:
    encoder = LookupIds(num_ids=10, out_dim=4, unknown_rate=0.5)
    torch.manual_seed(0)
    encoder(torch.full((200,), 3), torch.arange(200) // 2, 100).sum().backward()
    gradient = encoder.embedding.weight.grad
    assert gradient is not None
    assert set(gradient.abs().sum(1).nonzero().flatten().tolist()) == {0, 3}
    encoder.eval()
    assert torch.equal(encoder(torch.tensor([3, 0]), torch.tensor([0, 1]), 2), encoder.embedding.weight[[3, 0]])


def test_ids_are_hidden_for_whole_graphs() -> None:
    encoder = LookupIds(num_ids=10, out_dim=4, unknown_rate=0.3)
    torch.manual_seed(0)
    graphs = torch.arange(1000)
    encoded = encoder(torch.tensor([3, 7]).repeat(1000), graphs.repeat_interleave(2), 1000).view(1000, 2, 4)
    hidden = (encoded == encoder.embedding.weight[0]).all(dim=2)
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    assert 0.25 < hidden[:, 0].float().mean() < 0.35


def test_hash_tells_unseen_ids_apart_and_stays_the_same() -> None:
    torch.manual_seed(0)
    encoder = HashIds(out_dim=4, buckets=64, probes=2)
    keys = torch.tensor([0x000, 0x7FF, 0x123, (1 << 32) | 0x123, (1 << 32) | 0x1FFFFFFF])
    graph_of = torch.zeros(len(keys), dtype=torch.int64)
    rows = encoder(keys, graph_of, 1)
    assert len({tuple(row.tolist()) for row in rows}) == len(keys)
    twin = HashIds(out_dim=4, buckets=64, probes=2)
    twin.load_state_dict(encoder.state_dict())
    assert torch.equal(twin(keys, graph_of, 1), rows)


def test_hash_spreads_ids_over_the_table() -> None:
    encoder = HashIds(out_dim=1, buckets=64, probes=1)
    with torch.no_grad():
        encoder.embedding.weight.copy_(torch.arange(64.0)[:, None])
    buckets = encoder(torch.arange(2048), torch.zeros(2048, dtype=torch.int64), 1).long().flatten()
    assert torch.bincount(buckets, minlength=64).max() < 3 * 2048 / 64


def test_pool_of_a_graph_without_nodes_is_zero() -> None:
    pooled = GraphPool(("mean", "max", "sum"))(torch.tensor([[-2.0], [-4.0]]), torch.tensor([0, 0]), 2)
    assert pooled.tolist() == [[-3.0, -2.0, -6.0], [0.0, 0.0, 0.0]]


def test_classifier_layers_have_the_names_that_weight_normalisation_looks_for() -> None:
    names = [name for name in make(fc=(8, 4)).state_dict() if name.startswith("fc_layers") and name.endswith("weight")]
    assert names == ["fc_layers.0.weight", "fc_layers.1.weight", "fc_layers.2.weight"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"conv": "gcn"}, "convolution must be gatv2, gat, transformer or gin; got 'gcn'"),
        ({"jump": "sum"}, "jumping knowledge must be last, cat, max or lstm; got 'sum'"),
        ({"pooling": ("mean", "median")}, r"pooling is one or more of mean, max and sum; got \['mean', 'median'\]"),
        ({"id_encoder": "onehot"}, "id encoder must be lookup, hash or none; got 'onehot'"),
        ({"layers": 0}, "at least one message-passing layer; got layers=0"),
        ({"width": 9}, "multiple of heads; got width 9 and 2 heads"),
        ({"id_encoder": "hash", "hash_buckets": 100}, "power of two, at least 2; got 100"),
        ({"id_encoder": "hash", "hash_probes": 0}, "probes must be at least 1; got 0"),
        ({"num_ids": 0}, "at least 1; got 0"),
        ({"unknown_rate": 1.0}, "probability below 1; got 1.0"),
    ],
    ids=str,
)
def test_a_choice_that_does_not_exist_is_refused(choice: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**choice)


@pytest.mark.parametrize("conv", ["gatv2", "gat", "transformer"])
def test_attention_is_shared_out_among_the_edges_into_a_node(conv: str) -> None:
    model = make(conv=conv, layers=3).eval()
    batch = Batch.from_data_list(list(ODD_GRAPHS))
    found = model.attention(batch.x, batch.ids, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
    assert found.shape == (13, 3, 2)
    target = batch.edge_index[1]
    total = torch.zeros(batch.num_nodes, 3, 2).index_add(0, target, found)[target.unique()]
    torch.testing.assert_close(total, torch.ones_like(total))
    assert float(found.detach().std()) > 0.05  # not the same for all edges


def test_attention_is_what_the_layers_weigh_messages_with() -> None:
    """The first layer's, from its formula (Brody et al. 2022, equation 7)."""
    model, one = make(layers=1, id_encoder="none").eval(), graph(1, 5, 12)
    conv, (source, target) = model.convs[0], one.edge_index
    summed = conv.lin_l(one.x)[source] + conv.lin_r(one.x)[target] + conv.lin_edge(one.edge_attr)
    logit = (nn.functional.leaky_relu(summed, 0.2).view(12, 2, 4) * conv.att).sum(dim=2).exp()
    expected = logit / torch.zeros(5, 2).index_add(0, target, logit)[target]
    zeros = torch.zeros(5, dtype=torch.int64)
    found = model.attention(one.x, one.ids, one.edge_index, one.edge_attr, zeros, 1)
    torch.testing.assert_close(found[:, 0], expected)


def test_without_edges_there_is_no_attention_and_gin_has_none() -> None:
    alone = graph(4, 3, 0)
    arguments = (alone.x, alone.ids, alone.edge_index, alone.edge_attr, torch.zeros(3, dtype=torch.int64), 1)
    for conv in ("gatv2", "gat", "transformer"):
        assert make(conv=conv).eval().attention(*arguments).shape == (0, 2, 2)
    with pytest.raises(ValueError, match="gin sums what neighbours say without weights, so it has no attention"):
        make(conv="gin").attention(*arguments)


class _Vocabulary(nn.Module):
    def forward(self, key: Tensor) -> Tensor:
        return torch.where(key < 9, key + 1, 0)


class _Doubler(nn.Module):
    def forward(self, x: Tensor, edge_attr: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([x, x * (ids > 0)[:, None]], dim=1), edge_attr


@pytest.mark.parametrize("kind", ["lookup", "hash", "none"])
def test_detector_scales_and_encodes_raw_graphs(kind: str) -> None:
    network = make(node_features=2 * FEATURES, id_encoder=kind).eval()
    batch = Batch.from_data_list([graph(1, 5, 12), graph(3, 1, 1)])
    batch.key = torch.tensor([0, 3, 8, 9, 0x7FF, 2])
    ids = torch.tensor([1, 4, 9, 0, 0, 3])
    x, edge_attr = _Doubler()(batch.x, batch.edge_attr, ids)
    expected = network(x, batch.key if kind == "hash" else ids, batch.edge_index, edge_attr, batch.batch, 2)
    assert torch.equal(Detector(_Vocabulary(), _Doubler(), network).eval()(batch), expected)


def test_no_ids_means_no_columns() -> None:
    encoder = make_id_encoder("none", num_ids=5, out_dim=16, unknown_rate=0.1, buckets=4, probes=1)
    assert encoder.out_dim == 0
    assert encoder(torch.tensor([1, 2]), torch.tensor([0, 0]), 1).shape == (2, 0)


@pytest.mark.parametrize("jump", ["last", "cat", "max", "lstm"])
def test_the_head_on_a_node_is_the_head_on_a_graph_of_that_node_alone(jump: str) -> None:
    model = GAT(
        num_ids=5, node_features=3, edge_features=2, width=8, heads=2, jump=jump, pooling=("mean", "max")
    ).eval()
    x, ids = torch.randn(4, 3), torch.tensor([1, 2, 3, 0])
    edge_index, edge_attr = torch.tensor([[0, 1, 2], [1, 2, 2]]), torch.randn(3, 2)
    together = model.classify_nodes(x, ids, edge_index, edge_attr, torch.zeros(4, dtype=torch.int64), 1)
    embedded = model.encode(x, ids, edge_index, edge_attr, torch.zeros(4, dtype=torch.int64), 1)
    alone = model.classify(model.pool(embedded, torch.arange(4), 4))
    torch.testing.assert_close(together, alone)
