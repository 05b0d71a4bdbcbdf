"""Random graphs, and layers and networks of random weights, for the tests of the compiled operators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GATv2Conv

from credit_like.models import GAT
from credit_like.models.gatv2 import GATv2
from credit_like.models.kernels import Layer

IN, EDGE, HEADS = 5, 2, 3

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
    edge_index, batch = random_edges(0, nodes, edges), torch.zeros(nodes, dtype=torch.int64)
    return x, torch.arange(nodes) % 4, table, features, edge_index, batch


SIZES = {"num_ids": 10, "node_features": 6, "edge_features": EDGE, "width": 16, "heads": 2, "fc": (4,)}


def batch(seed: int, nodes: int, edges: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    x, edge_attr = (t.detach() for t in random(seed, (nodes, 6), (edges, EDGE), dtype=torch.float32))
    return x, torch.arange(nodes) % 10, random_edges(seed, nodes, edges), edge_attr, torch.arange(nodes) * 3 // nodes, 3


def gradients(model: GAT, *arguments: Tensor | int) -> list[Tensor]:
    torch.manual_seed(1)
    return list(torch.autograd.grad(model(*arguments).square().sum(), list(model.parameters())))


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
