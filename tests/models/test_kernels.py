"""The compiled operators against PyG's and torch's: outputs, gradients, any graph, and what torch asks of operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATv2Conv

from credit_like.models import GAT, gat, gatv2, readout
from credit_like.models.gatv2 import GATv2
from credit_like.models.kernels import GroupedEdges, Layer, attend, evaluate, norm_elu, own_distances, pool
from credit_like.models.kernels.attention import gatv2_attend
from credit_like.models.kernels.edges import group_edges
from credit_like.models.kernels.layers import gatv2_layers
from credit_like.models.kernels.norm import layer_norm_elu
from credit_like.models.kernels.pool import pool_groups

IN, EDGE, HEADS = 5, 2, 3
SEED = torch.tensor([7])
CLOSE = {torch.float64: {"rtol": 1e-10, "atol": 1e-10}, torch.float32: {"rtol": 1e-5, "atol": 1e-5}}
#: Channels with lengths that the compiler is told, and without.
DTYPES = pytest.mark.parametrize(
    ("dtype", "channels"), [(torch.float64, 3), (torch.float32, 3), (torch.float32, 8)], ids=str
)


def random(seed: int, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Iterator[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    for shape in shapes:
        yield torch.randn(shape, generator=rng, dtype=dtype, requires_grad=True)


def random_edges(seed: int, nodes: int, edges: int) -> Tensor:
    return torch.randint(0, nodes, (2, edges), generator=torch.Generator().manual_seed(seed))


def twins(dtype: torch.dtype, channels: int, **choice: object) -> tuple[GATv2Conv, GATv2]:
    """PyG's layer and ours, with PyG's weights."""
    torch.manual_seed(0)
    given: dict[str, object] = {"heads": HEADS, "edge_dim": EDGE, "add_self_loops": False, "residual": True, **choice}
    theirs, ours = (cls(IN, channels, **given).to(dtype) for cls in (GATv2Conv, GATv2))
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):  # zeros from the constructor
            nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def results(layer: GATv2Conv, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> dict[str, Tensor]:
    """Output, attention, and the gradient, through both, of every input and parameter."""
    out, (_, alpha) = layer(x, edge_index, edge_attr, return_attention_weights=True)
    inputs = {"x": x, **dict(layer.named_parameters())} | ({} if edge_attr is None else {"edge_attr": edge_attr})
    up, aside = random(1, out.shape, alpha.shape, dtype=out.dtype)
    gradients = torch.autograd.grad([out, alpha], list(inputs.values()), [up, aside], materialize_grads=True)
    return {"out": out, "alpha": alpha, **{f"grad {name}": g for name, g in zip(inputs, gradients, strict=True)}}


def require_same(theirs: GATv2Conv, ours: GATv2, nodes: int, edge_index: Tensor, seed: int = 0) -> None:
    x, edge_attr = random(seed, (nodes, IN), (edge_index.shape[1], EDGE), dtype=ours.att.dtype)
    features = edge_attr if ours.lin_edge is not None else None
    torch.testing.assert_close(
        results(ours, x, edge_index, features), results(theirs, x, edge_index, features), **CLOSE[x.dtype]
    )


@DTYPES
@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"edge_dim": None},
        {"residual": False},
        {"residual": False, "bias": False, "negative_slope": 0.5},
        {"concat": False},
        {"share_weights": True},
        {"add_self_loops": True},
        {"heads": 1},
    ],
    ids=str,
)
def test_gatv2_is_pygs(dtype: torch.dtype, channels: int, choice: dict[str, object]) -> None:
    theirs, ours = twins(dtype, channels, **choice)
    require_same(theirs, ours, 12, random_edges(3, 12, 40))
    theirs.load_state_dict(ours.state_dict())


PYG, OURS = twins(torch.float64, 3)


@given(seed=st.integers(0, 10_000), nodes=st.integers(1, 9), edges=st.integers(0, 40))
def test_any_graph(seed: int, nodes: int, edges: int) -> None:
    """Unsorted, with duplicate edges, self-loops, isolated nodes and nodes of more than sixteen edges."""
    require_same(PYG, OURS, nodes, random_edges(seed, nodes, edges), seed)


def test_widths_may_be_found_by_the_first_batch() -> None:
    torch.manual_seed(0)
    ours = GATv2(-1, 3, heads=HEADS, edge_dim=EDGE, add_self_loops=False, residual=True).double()
    x, edge_attr = random(0, (6, IN), (20, EDGE))
    edge_index = random_edges(0, 6, 20)
    first = ours(x, edge_index, edge_attr)
    torch.testing.assert_close(ours(x, edge_index, edge_attr), first)


def test_a_hub_and_no_node_at_all() -> None:
    require_same(PYG, OURS, 3, torch.stack([torch.arange(100) % 3, torch.ones(100, dtype=torch.int64)]))
    nodes, edges = random(0, (0, IN), (0, EDGE))
    assert OURS(nodes, random_edges(0, 1, 0), edges).shape == (0, HEADS * 3)


def test_edges_are_grouped_stably_whether_sorted_or_not() -> None:
    for edge_index in (random_edges(1, 6, 30), random_edges(1, 6, 30).sort(dim=1).values):
        edges = GroupedEdges.of(edge_index, 7)
        assert torch.equal(edges.order, torch.argsort(edge_index[1], stable=True))
        assert torch.equal(edges.source, edge_index[0][edges.order])
        assert torch.equal(edges.begin.diff(), torch.bincount(edge_index[1], minlength=7))


def test_layers_share_one_grouping() -> None:
    x, edge_attr = random(0, (6, IN), (20, EDGE))
    edge_index = random_edges(0, 6, 20)
    edges = OURS.group(x, edge_index)
    assert isinstance(edges, GroupedEdges)
    out, (given_index, _) = OURS(x, edges, edge_attr, return_attention_weights=True)
    assert torch.equal(out, OURS(x, edge_index, edge_attr))
    assert given_index is edge_index


def some_layers(dtype: torch.dtype, channels: int) -> list[Layer]:
    """Two layers of a network whose first takes IN + 2 numbers a node."""
    torch.manual_seed(0)
    made, inputs = [], IN + 2
    for _ in range(2):
        conv = GATv2(inputs, channels, heads=HEADS, edge_dim=EDGE, add_self_loops=False, residual=True).to(dtype)
        norm = nn.LayerNorm(HEADS * channels).to(dtype)
        for tensor in (conv.bias, conv.lin_l.bias, conv.lin_r.bias, norm.weight, norm.bias):
            nn.init.normal_(tensor)
        made.append(conv.layer(norm))
        inputs = HEADS * channels
    return [Layer(*(tensor.detach() for tensor in layer)) for layer in made]


def evaluated(nodes: int, edges: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """What ``gatv2_layers`` takes before the layers, of one graph whose ids have rows of two numbers."""
    x, table, features = (t.detach() for t in random(0, (nodes, IN), (4, 2), (edges, EDGE), dtype=dtype))
    found = GroupedEdges.of(random_edges(0, nodes, edges), nodes)
    return x, torch.arange(nodes) % 4, table, features, *found[:3], torch.zeros(nodes, dtype=torch.int64), found[4]


OPERATORS = {
    "group_edges": lambda: (group_edges, (random_edges(0, 5, 9), 5)),
    "attend": lambda: (
        gatv2_attend,
        (*random(0, (5, 18), (9, 2), (2, 6), (2, 3)),
         *GroupedEdges.of(random_edges(0, 5, 9), 5)[:4], 0.2, 0.3, SEED),
    ),
    "layers": lambda: (
        gatv2_layers,
        (*evaluated(5, 9), [t for layer in some_layers(torch.float32, 8) for t in layer], 2, 0.2, 1e-5, True),
    ),
    "layers, not pooled": lambda: (
        gatv2_layers,
        (*evaluated(5, 9), [t for layer in some_layers(torch.float32, 8) for t in layer], 2, 0.2, 1e-5, False),
    ),
    "own_distances": lambda: (
        own_distances,
        (*(t.detach() for t in random(0, (7, 4))), [2, 0, 3], [1, 2], torch.tensor([0, 1, 1, 0, 0, 1, 0]),
         *(t.detach() for t in random(1, (2, 3), (2, 3, 3)))),
    ),
    "norm_elu": lambda: (layer_norm_elu, (*random(0, (5, 6), (6,), (6,)), 1e-5, 0.3, SEED)),
    "pool": lambda: (pool_groups, (*random(0, (7, 3)), torch.tensor([3, 0, 1, 1, 0, 3, 1]), 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_what_torch_asks_for(name: str) -> None:
    operator, arguments = OPERATORS[name]()
    assert set(torch.library.opcheck(operator, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", ["attend", "norm_elu", "pool"])
def test_gradients_are_numerical_ones_with_dropout_too(name: str) -> None:
    operator, arguments = OPERATORS[name]()
    assert torch.autograd.gradcheck(
        lambda *given: [out for out in operator(*given) if out.is_floating_point() and out.requires_grad], arguments
    )


def test_attention_drops_at_its_rate_anew_each_time_and_repeats_with_the_seed() -> None:
    nodes = 4000
    ends = torch.arange(nodes)
    edges = GroupedEdges.of(torch.stack([ends, ends]), nodes)
    x, att = torch.ones(nodes, 32), torch.ones(2, 8)
    torch.manual_seed(0)
    first, second = (attend(x, None, None, att, edges, dropout=0.3)[0] for _ in range(2))
    torch.manual_seed(0)
    assert torch.equal(attend(x, None, None, att, edges, dropout=0.3)[0], first)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    kept = [(out.view(-1, 8)[:, 0] > 0).float() for out in (first, second)]  # nodes * heads
    for sample in kept:
        assert sample.mean() == pytest.approx(0.7, abs=0.02)
    assert abs(torch.corrcoef(torch.stack(kept))[0, 1]) < 0.05
    assert abs(torch.corrcoef(kept[0].view(-1, 2).T)[0, 1]) < 0.05
    assert abs(torch.corrcoef(torch.stack([kept[0][:-2], kept[0][2:]]))[0, 1]) < 0.05
    assert not attend(x, None, None, att, edges, dropout=1.0)[0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_norm_elu_is_torchs(dtype: torch.dtype) -> None:
    x, weight, bias, up = random(0, (50, 24), (24,), (24,), (50, 24), dtype=dtype)
    with torch.no_grad():
        x *= torch.logspace(-3, 3, 50)[:, None]
    ours = norm_elu(x, weight, bias)
    theirs = functional.elu(functional.layer_norm(x, (24,), weight, bias))
    torch.testing.assert_close(ours, theirs, **CLOSE[dtype])
    gradients = [torch.autograd.grad(out, [x, weight, bias], up) for out in (ours, theirs)]
    torch.testing.assert_close(*gradients, **CLOSE[dtype] | {"rtol": 1e-4 if dtype == torch.float32 else 1e-9})


def test_norm_elu_drops_at_its_rate() -> None:
    x, weight = torch.randn(2000, 16), torch.ones(16)
    whole = norm_elu(x, weight, weight)
    torch.manual_seed(0)
    dropped = norm_elu(x, weight, weight, dropout=0.2)
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=0.01)
    torch.testing.assert_close(dropped[dropped != 0], whole[dropped != 0] / 0.8)


def test_pool_takes_groups_in_any_order_and_gives_a_tie_to_the_first() -> None:
    x = torch.tensor([[1.0, -2.0], [3.0, -2.0], [3.0, -5.0]], requires_grad=True)
    total, top, count = pool(x, torch.tensor([2, 0, 2]), 3)
    assert total.tolist() == [[3.0, -2.0], [0.0, 0.0], [4.0, -7.0]]
    assert top.tolist() == [[3.0, -2.0], [0.0, 0.0], [3.0, -2.0]]
    assert count.tolist() == [1, 0, 2]
    tied = torch.zeros(3, 1, requires_grad=True)
    pool(tied, torch.tensor([0, 0, 0]), 1)[1].sum().backward()
    assert tied.grad is not None
    assert tied.grad.tolist() == [[1.0], [0.0], [0.0]]


def test_nan_is_not_lost() -> None:
    nan = float("nan")
    x = torch.tensor([[1.0], [nan], [2.0], [3.0]])
    assert pool(x, torch.tensor([0, 0, 0, 1]), 2)[1].flatten().tolist() == pytest.approx([nan, 3.0], nan_ok=True)
    rows = torch.ones(2, 8)
    rows[1, 3] = nan
    assert norm_elu(rows, torch.ones(8), torch.ones(8)).isnan().sum(dim=1).tolist() == [0, 8]
    edges = GroupedEdges.of(torch.tensor([[0, 1], [0, 0]]), 2)
    assert attend(torch.cat([rows, torch.ones(2, 8)], dim=1), None, None, torch.ones(1, 8), edges)[0][0].isnan().all()


SIZES = {"num_ids": 10, "node_features": 6, "edge_features": EDGE, "width": 16, "heads": 2, "fc": (4,)}


def batch(seed: int, nodes: int, edges: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    x, edge_attr = (t.detach() for t in random(seed, (nodes, 6), (edges, EDGE), dtype=torch.float32))
    return x, torch.arange(nodes) % 10, random_edges(seed, nodes, edges), edge_attr, torch.arange(nodes) * 3 // nodes, 3


def gradients(model: GAT, *arguments: Tensor | int) -> list[Tensor]:
    torch.manual_seed(1)
    return list(torch.autograd.grad(model(*arguments).square().sum(), list(model.parameters())))


def test_the_network_is_the_one_of_torchs_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = GAT(**SIZES, dropout=0.0, unknown_rate=0.0)
    ours = [model(*batch(0, 40, 100)), *gradients(model, *batch(0, 40, 100))]
    for module in (gat, gatv2, readout):
        monkeypatch.setattr(module, "compiled", lambda x: False)
    theirs = [model(*batch(0, 40, 100)), *gradients(model, *batch(0, 40, 100))]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@DTYPES
@pytest.mark.parametrize(("graphs", "nodes", "edges"), [(250, 9, 12), (700, 5, 0), (1, 3000, 5000), (1, 1, 1)])
def test_layers_by_parts_are_the_layers(dtype: torch.dtype, channels: int, graphs: int, nodes: int, edges: int) -> None:
    """Over several parts, without edges, and where edges join all nodes; bit for bit whatever the threads."""
    torch.manual_seed(0)
    model = GAT(**SIZES | {"node_features": IN, "width": HEADS * channels, "heads": HEADS, "dropout": 0.3}).to(dtype)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.startswith("norms"):
            nn.init.normal_(parameter)
    x, edge_attr = (t.detach() for t in random(0, (graphs * nodes, IN), (graphs * edges, EDGE), dtype=dtype))
    edge_index, batch = graphs_apart(1, graphs, nodes, edges), torch.arange(graphs).repeat_interleave(nodes)
    given = x, torch.arange(graphs * nodes) % 10, edge_index, edge_attr, batch, graphs + 1
    model.eval()
    expected = model.embed(*given), model.encode(*given)  # with gradients: layer by layer
    found = []
    for _ in threads_one_by_one(1, 2, 3):
        with torch.no_grad():
            found.append((model.embed(*given), model.encode(*given)))
    torch.testing.assert_close(found[0], expected, **CLOSE[dtype])
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_a_graph_that_is_not_side_by_side_is_no_reason_to_part_it() -> None:
    """Nodes of graphs in turn, and an edge from the first graph to the last."""
    torch.manual_seed(0)
    model = GAT(**SIZES).eval()
    x, ids, edge_index, edge_attr, batch, _ = batch_of_many(300, 10)
    across = torch.cat([edge_index, torch.tensor([[0], [2999]])], dim=1), torch.cat([edge_attr, edge_attr[:1]])
    for arguments in (
        (x, ids, edge_index, edge_attr, torch.arange(3000) % 300, 300),
        (x, ids, *across, batch, 300),
    ):
        expected = model(*arguments)
        with torch.no_grad():
            torch.testing.assert_close(model(*arguments), expected, rtol=1e-4, atol=1e-5)


def test_what_goes_by_parts() -> None:
    model = GAT(**SIZES).eval()
    x = torch.ones(3, 6)
    assert not model.goes_by_parts(x)  # there would be gradients
    with torch.no_grad():
        assert model.goes_by_parts(x)
        assert [GAT(**SIZES, jump=jump).eval().wants_threads(x) for jump in ("cat", "last", "max", "lstm")] == [
            True, True, False, False
        ]  # fmt: skip
        assert not model.goes_by_parts(x.half())
        assert not GAT(**SIZES, conv="gat").eval().goes_by_parts(x)
        model.dropout.train()  # stochastic passes
        assert not model.goes_by_parts(x)
        assert not model.train().goes_by_parts(x)
        norm = nn.LayerNorm(9).double()
        assert OURS.eval().fits_evaluation(x.double())
        assert OURS.layer(norm).weight.shape == (27, IN)
        for choice in ({"residual": False}, {"bias": False}, {"concat": False}, {"edge_dim": None}):
            assert not twins(torch.float64, 3, **choice)[1].eval().fits_evaluation(x.double())
    OURS.train()


def batch_of_many(graphs: int, nodes: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    edges = 12
    x, edge_attr = (t.detach() for t in random(0, (graphs * nodes, 6), (graphs * edges, EDGE), dtype=torch.float32))
    batch = torch.arange(graphs).repeat_interleave(nodes)
    return x, torch.arange(graphs * nodes) % 10, graphs_apart(1, graphs, nodes, edges), edge_attr, batch, graphs


def threads_one_by_one(*numbers: int) -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        for number in numbers:
            torch.set_num_threads(number)
            yield
            assert torch.get_num_threads() == number  # lent, and given back
    finally:
        torch.set_num_threads(before)


def graphs_apart(seed: int, graphs: int, nodes: int, edges: int) -> Tensor:
    """Edges of many graphs side by side."""
    first = torch.arange(graphs).repeat_interleave(edges) * nodes
    return random_edges(seed, nodes, graphs * edges) + first


@pytest.mark.parametrize(("graphs", "nodes", "blocks"), [(1, 3000, 1), (100, 30, 6)])
def test_the_number_of_threads_does_not_matter(graphs: int, nodes: int, blocks: int) -> None:
    """Bit for bit, of what is ours; BLAS, which projects the nodes, makes no such promise."""
    n, e = 3000, 6000
    projected, up = random(0, (n, 144), (n, 48), dtype=torch.float32)
    features, projection, att = random(1, (e, EDGE), (EDGE, 48), (2, 24), dtype=torch.float32)
    edges = GroupedEdges.of(graphs_apart(0, graphs, nodes, e // graphs), n)
    assert int((edges.cuts.diff() > 0).sum()) == blocks
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            out = attend(projected, features, projection, att, edges, dropout=0.1)[0]
            out = norm_elu(out, torch.ones(48), torch.zeros(48), dropout=0.1)
            pooled = torch.cat(pool(out, torch.arange(n) // 40, n // 40)[:2])
            inputs = [projected, features, projection, att]
            found.append([out, pooled, *torch.autograd.grad([out, pooled], inputs, [up, torch.ones_like(pooled)])])
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_blocks_are_cut_where_no_edge_passes() -> None:
    edge_index = graphs_apart(0, 250, 9, 12)
    edges = GroupedEdges.of(edge_index[:, torch.randperm(3000, generator=torch.Generator().manual_seed(0))], 2250)
    assert edges.cuts.tolist() == [0, 513, 1026, 1539, 2052, 2250]  # graphs of nine nodes; blocks of 512 or a few more
    joined = torch.cat([edge_index, torch.tensor([[0], [2249]])], dim=1)
    assert GroupedEdges.of(joined, 2250).cuts.tolist() == [0] + [2250] * 5
    assert GroupedEdges.of(torch.empty(2, 0, dtype=torch.int64), 0).cuts.tolist() == [0, 0]


def test_large_graphs_have_pygs_gradients_block_by_block() -> None:
    require_same(*twins(torch.float64, 3), 2250, graphs_apart(1, 250, 9, 12))


def test_two_runs_are_equal_bit_for_bit() -> None:
    torch.manual_seed(0)
    model = GAT(**SIZES)
    for one, two in zip(*(gradients(model, *batch(0, 40, 100)) for _ in range(2)), strict=True):
        assert torch.equal(one, two)


def test_export_and_compile_see_the_operators() -> None:
    torch.manual_seed(0)
    model = GAT(**SIZES).eval()
    nodes, edges = torch.export.Dim("nodes"), torch.export.Dim("edges")
    shapes = ({0: nodes}, {0: nodes}, {1: edges}, {0: edges}, {0: nodes}, None)
    exported = torch.export.export(model, batch(0, 12, 30), dynamic_shapes=shapes).module()
    torch.testing.assert_close(exported(*batch(1, 17, 25)), model(*batch(1, 17, 25)))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradients(compiled, *batch(0, 12, 30)), gradients(model, *batch(0, 12, 30)))
    with torch.no_grad():
        torch.testing.assert_close(compiled(*batch(2, 12, 30)), model(*batch(2, 12, 30)))


def test_other_dtypes_take_pygs_path() -> None:
    theirs, ours = (layer.to(torch.bfloat16) for layer in twins(torch.float32, 8))
    x, edge_attr = random(0, (6, IN), (20, EDGE), dtype=torch.bfloat16)
    edge_index = random_edges(0, 6, 20)
    assert torch.equal(ours(x, edge_index, edge_attr), theirs(x, edge_index, edge_attr))
    edges = GroupedEdges.of(edge_index, 6)
    assert torch.equal(ours(x, edges, edge_attr), theirs(x, edge_index, edge_attr))
    theirs, ours = twins(torch.float32, 8)
    with torch.autocast("cpu"):
        found = [layer(x.float(), edge_index, edge_attr.float()) for layer in (ours, theirs)]
    assert torch.equal(*found)


def test_wrong_arguments_are_refused() -> None:
    x, edge_attr = random(0, (6, IN), (20, EDGE))
    edge_index = random_edges(0, 6, 20)
    edge_index[0, 3] = 6
    with pytest.raises(IndexError, match=r"edge 3 is \[6, \d\], but there are 6 nodes"):
        OURS(x, edge_index, edge_attr)
    edges = GroupedEdges.of(random_edges(0, 6, 20), 6)
    with pytest.raises(ValueError, match=r"features must be torch.float64\[20, 2\]; got torch.float64\[19, 2\]"):
        OURS(x, edges, edge_attr[:19])
    with pytest.raises(ValueError, match="edges of its own"):
        twins(torch.float64, 3, add_self_loops=True)[1](x, edges, edge_attr)
    layers = some_layers(torch.float32, 8)
    x, ids, table, features, *_, batch, _ = evaluated(6, 20)
    for wrong, error, message in (
        ({"ids": ids + 4}, IndexError, "node 0 is of id 4, but the table has 4 rows"),
        ({"batch": batch + 1}, IndexError, "node 0 is of graph 1, but there are 1 graphs"),
        ({"features": features[:19]}, ValueError, r"features must be torch.float32\[20, 2\]; got torch.float32\[19, 2"),
        ({"x": x[:, 1:]}, ValueError, r"weight must be torch.float32\[72, 6\]; got torch.float32\[72, 7\]"),
        ({"x": x.half()}, ValueError, r"x must be float32 or float64\[N, D\]; got torch.float16\[6, 5\]"),
        ({"ids": ids[:5]}, ValueError, r"ids must be torch.int64\[6\]; got torch.int64\[5\]"),
    ):
        arguments = {"x": x, "ids": ids, "table": table, "features": features, "batch": batch} | wrong
        with pytest.raises(error, match=message):
            evaluate(**arguments, edges=edges, layers=layers, num_graphs=1, slope=0.2, epsilon=1e-5, pooled=True)
    with pytest.raises(ValueError, match=r"edge_index must be int64\[2, E\]; got torch.int32\[2, 20\]"):
        GroupedEdges.of(edge_index.int(), 6)
    with pytest.raises(ValueError, match=r"dropout is a probability; got 1\.5"):
        norm_elu(torch.ones(2, 3), torch.ones(3), torch.ones(3), dropout=1.5)
    with pytest.raises(ValueError, match=r"weight must be torch.float32\[3\]"):
        norm_elu(torch.ones(2, 3), torch.ones(2), torch.ones(3))
    with pytest.raises(IndexError, match="row 1 is of group 2, but there are 2 groups"):
        pool(torch.ones(2, 3), torch.tensor([0, 2]), 2)
    with pytest.raises(ValueError, match=r"group must be int64\[2\]"):
        pool(torch.ones(2, 3), torch.tensor([0]), 2)
