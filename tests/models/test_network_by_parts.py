"""The network by compiled operators: whatever way a batch takes, by parts and on any number of threads, the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from credit_like.models import GAT, gat, gatv2, readout
from credit_like.models.kernels import GroupedEdges, attend, norm_elu, pool
from tests.models.random_graphs import (
    CLOSE,
    DTYPES,
    EDGE,
    HEADS,
    IN,
    SIZES,
    batch,
    batch_of_many,
    gradients,
    graphs_apart,
    random,
    threads_one_by_one,
    twins,
)


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
    # They ask for gradients, which nothing is to give them below.
    x, edge_attr = random(0, (graphs * nodes, IN), (graphs * edges, EDGE), dtype=dtype)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_beyond_the_range_of_exp_are_still_a_softmax(dtype: torch.dtype) -> None:
    """Of several edges into a node the highest score is taken off first, each head's own."""
    torch.manual_seed(0)
    model = GAT(**SIZES | {"width": HEADS * 8, "heads": HEADS}).to(dtype).eval()
    for conv in model.convs:
        conv.att.data *= 1e4
    x, *rest = batch(0, 40, 200)
    given = x.to(dtype), rest[0], rest[1], rest[2].to(dtype), *rest[3:]
    expected = model.embed(*given)
    with torch.no_grad():
        torch.testing.assert_close(model.embed(*given), expected, rtol=1e-2, atol=1e-2)


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
        layer = twins(torch.float64, 3)[1].eval()
        assert layer.fits_evaluation(x.double())
        assert layer.layer(norm).weight.shape == (27, IN)
        for choice in ({"residual": False}, {"bias": False}, {"concat": False}, {"edge_dim": None}):
            assert not twins(torch.float64, 3, **choice)[1].eval().fits_evaluation(x.double())


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
