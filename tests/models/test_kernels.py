"""The compiled operators against PyG's and torch's: outputs, gradients, any graph, and what torch asks of operators."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn import GATv2Conv

from credit_like.models.gatv2 import GATv2
from credit_like.models.kernels import GroupedEdges, attend, evaluate, norm_elu, own_distances, pool
from credit_like.models.kernels.attention import gatv2_attend
from credit_like.models.kernels.edges import group_edges
from credit_like.models.kernels.layers import gatv2_layers
from credit_like.models.kernels.norm import layer_norm_elu
from credit_like.models.kernels.pool import pool_groups
from tests.models.random_graphs import (
    CLOSE,
    DTYPES,
    EDGE,
    HEADS,
    IN,
    evaluated,
    graphs_apart,
    random,
    random_edges,
    some_layers,
    twins,
)

SEED = torch.tensor([7])


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


def test_blocks_are_cut_where_no_edge_passes() -> None:
    edge_index = graphs_apart(0, 250, 9, 12)
    edges = GroupedEdges.of(edge_index[:, torch.randperm(3000, generator=torch.Generator().manual_seed(0))], 2250)
    assert edges.cuts.tolist() == [0, 513, 1026, 1539, 2052, 2250]  # graphs of nine nodes; blocks of 512 or a few more
    joined = torch.cat([edge_index, torch.tensor([[0], [2249]])], dim=1)
    assert GroupedEdges.of(joined, 2250).cuts.tolist() == [0] + [2250] * 5
    assert GroupedEdges.of(torch.empty(2, 0, dtype=torch.int64), 0).cuts.tolist() == [0, 0]


def test_large_graphs_have_pygs_gradients_block_by_block() -> None:
    require_same(*twins(torch.float64, 3), 2250, graphs_apart(1, 250, 9, 12))


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
    given = dict(zip(("x", "ids", "table", "features", "edge_index", "batch"), evaluated(6, 20), strict=True))
    x, ids, _, features, _, batch = given.values()
    for wrong, error, message in (
        ({"ids": ids + 4}, IndexError, "node 0 is of id 4, but the table has 4 rows"),
        ({"batch": batch + 1}, IndexError, "node 0 is of graph 1, but there are 1 graphs"),
        ({"features": features[:19]}, ValueError, r"features must be torch.float32\[20, 2\]; got torch.float32\[19, 2"),
        ({"x": x[:, 1:]}, ValueError, r"weight must be torch.float32\[72, 6\]; got torch.float32\[72, 7\]"),
        ({"x": x.half()}, ValueError, r"x must be float32 or float64\[N, D\]; got torch.float16\[6, 5\]"),
        ({"ids": ids[:5]}, ValueError, r"ids must be torch.int64\[6\]; got torch.int64\[5\]"),
        ({"edge_index": edge_index}, IndexError, r"edge 3 is \[6, \d\], but there are 6 nodes"),
    ):
        with pytest.raises(error, match=message):
            evaluate(**given | wrong, layers=layers, num_graphs=1, slope=0.2, epsilon=1e-5, pooled=True)
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
