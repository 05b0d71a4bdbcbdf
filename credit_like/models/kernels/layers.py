"""All layers of a GATv2 network as one operator, for evaluation: nothing is kept for a backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from credit_like._threads import lent_by_torch, spread
from credit_like.models.kernels import _attention_loops as loops
from credit_like.models.kernels._arguments import call, views
from credit_like.models.kernels._edge_loops import part
from credit_like.models.kernels.attention import known_lengths
from credit_like.models.kernels.edges import sort_edges

#: Nodes that go through all layers together, and a few more. What a layer of width 64 projects 1,536 nodes to fills
#: 0.8 MB, so that it is still in a core's cache (2 MB) when attention reads it.
_TOGETHER = 1536


class Layer(NamedTuple):
    """A GATv2 layer and the normalisation behind it.

    ``weight`` [3 * H * C, D] and ``bias`` [3 * H * C] make of a node what it is as a source, as a residual and as a
    destination; ``projection`` [K, H * C] and ``att`` [H, C] are as in ``attend``; ``norm_weight`` and ``norm_bias``
    [H * C].
    """

    weight: Tensor
    bias: Tensor
    projection: Tensor
    att: Tensor
    norm_weight: Tensor
    norm_bias: Tensor


class Evaluated(NamedTuple):
    """What each of L layers makes of the nodes, [L, N, H * C]; or of its sum and maximum over each graph, both
    [L, G, H * C], and of the ``size`` of the graph, int64[L, G]. What was not asked for has no rows."""

    nodes: Tensor
    total: Tensor
    top: Tensor
    size: Tensor


class _Graphs(NamedTuple):
    """What the layers see of the batch, as numpy views; see ``evaluate`` and ``GroupedEdges``."""

    x: Any
    ids: Any
    features: Any
    batch: Any
    order: Any
    begin: Any
    source: Any


def evaluate(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    edge_index: Tensor,
    layers: Sequence[Layer],
    batch: Tensor,
    num_graphs: int,
    *,
    slope: float,
    epsilon: float,
    pooled: bool,
) -> Evaluated:
    """``norm_elu(attend(...))`` of what ``weight`` and ``bias`` make of the nodes, layer after layer, without dropout
    and gradients.

    Arguments, all float tensors of one dtype, float32 or float64, on the CPU:
        x, ids, table: of the first layer, [N, .] and beside it the rows ``ids`` int64[N] of ``table`` [V, .]; in a
            table without columns nothing is looked up.
        features, slope: as in ``attend``; epsilon: as in ``norm_elu``.
        batch: the graph of each node, int64[N] in ``0..num_graphs - 1``.
        pooled: whether sum and maximum over each graph's nodes, and their number, are wanted, as ``pool`` gives them,
            and not the nodes themselves.

    Some 1,500 nodes of whole graphs go through all layers and the pooling before the next do, on as many threads
    as torch has; where graphs are not side by side, all go together. The parts depend on the batch alone, so no result
    depends on the threads. Raises IndexError for an id or a graph that does not exist, ValueError for tensors that do
    not fit together.
    """
    flat = [tensor for layer in layers for tensor in layer]
    given = x, ids, table, features, edge_index, batch
    return Evaluated(*gatv2_layers(*given, flat, num_graphs, slope, epsilon, pooled))


@torch.library.custom_op("credit_like::gatv2_layers", mutates_args=(), device_types="cpu")
def gatv2_layers(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    edge_index: Tensor,
    batch: Tensor,
    parameters: Sequence[Tensor],
    num_graphs: int,
    slope: float,
    epsilon: float,
    pooled: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``evaluate`` as a custom operator; ``parameters`` are those of all layers, one after another."""
    layers = _layers(parameters)
    _require_fit(x, ids, table, features, edge_index, batch, layers)
    made = Evaluated(
        *_empty_layers(x, ids, table, features, edge_index, batch, parameters, num_graphs, slope, epsilon, pooled)
    )
    for tensor in made[1:]:
        tensor.zero_()
    sorted_edges = sort_edges(edge_index, x.shape[0])  # which sees to it that their ends are nodes
    starts = torch.empty(x.shape[0] // _TOGETHER + 2, dtype=torch.int64)
    parts = call(part, batch, edge_index, _TOGETHER, starts)
    columns, width = x.shape[1], layers[0].att.numel()
    of_ids = table @ layers[0].weight[:, columns:].t()  # a row of it is what a node's id adds to its projection
    matrices = [layers[0].weight[:, :columns].t(), *(layer.weight.t() for layer in layers[1:])]
    factors = [(matrix[:, : 2 * width], matrix[:, 2 * width :]) for matrix in matrices]
    weights = [(Layer(*views(layer)), known_lengths(layer.att, layer.projection)) for layer in layers]
    steps = list(zip(factors, weights, *views(made), strict=True))
    seen = _Graphs(*views([x, ids, features, batch, *sorted_edges]))
    with lent_by_torch():
        spread(_evaluate_parts, parts, starts.tolist(), x.detach(), *views([of_ids]), seen, steps, slope, epsilon)
    return made.nodes, made.total, made.top, made.size


@gatv2_layers.register_fake
def _empty_layers(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    edge_index: Tensor,
    batch: Tensor,
    parameters: Sequence[Tensor],
    num_graphs: int,
    slope: float,
    epsilon: float,
    pooled: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layers = _layers(parameters)
    depth, width = len(layers), layers[0].att.numel()
    nodes, graphs = (0, num_graphs) if pooled else (x.shape[0], 0)
    return (
        x.new_empty(depth, nodes, width),
        x.new_empty(depth, graphs, width),
        x.new_empty(depth, graphs, width),
        batch.new_empty(depth, graphs),
    )


def _evaluate_parts(
    first: int, last: int, starts: list[int], x: Tensor, of_ids: Any, seen: _Graphs, steps: list[Any], slope: float,
    epsilon: float,
) -> None:  # fmt: skip
    """The parts ``first`` to ``last``, from numpy views of all that compiled loops read and write; ``steps`` has for
    each layer what its weights are, and what is made of the nodes there.

    A node that one edge leads to takes what comes along it, whatever the node is as a destination. In windows of CAN
    traffic two nodes of three are such, so only the others are projected to that.
    """
    torch.set_num_threads(1)
    most, width = max(starts[k + 1] - starts[k] for k in range(first, last)), of_ids.shape[1] // 3
    shapes = (most, 2 * width), (most, width), (most, x.shape[1]), (2, most, width), (most, width)
    buffers = [x.new_empty(shape) for shape in shapes]
    projected, aimed, entering, passing, again = buffers
    n_projected, n_aimed, n_entering, n_passing, n_again = views(buffers)
    for k in range(first, last):
        start, stop = starts[k], starts[k + 1]
        rows, begin, batch = stop - start, seen.begin[start : stop + 1], seen.batch[start:stop]
        wrong = loops.enter(seen.ids[start:stop], of_ids, begin, n_projected, n_aimed)
        if wrong >= 0:
            node = start + wrong
            raise IndexError(f"node {node} is of id {seen.ids[node]}, but the table has {len(of_ids)} rows")
        several = loops.choose(seen.x[start:stop], begin, n_entering)
        hidden, chosen = x[start:stop], entering[:several]
        target, n_target, aim = projected[:rows], n_projected[:rows], aimed[:several]
        for number, ((factor, aiming), (layer, known), nodes, total, top, size) in enumerate(steps):
            torch.addmm(target, hidden, factor, beta=int(number == 0), out=target)
            torch.addmm(aim, chosen, aiming, beta=int(number == 0), out=aim)
            hidden, out, chosen = passing[number % 2, :rows], n_passing[number % 2, :rows], again[:several]
            wanted = n_again[: several if number + 1 < len(steps) else 0]
            wrong = loops.evaluate(
                n_target, n_aimed, layer.bias, seen.features, layer.projection, layer.att, seen.order, begin,
                seen.source, start, slope, known, layer.norm_weight, layer.norm_bias, epsilon, out, wanted,
                nodes[start:stop], batch, total, top, size,
            )  # fmt: skip
            if wrong >= 0:
                raise IndexError(f"node {start + wrong} is of graph {batch[wrong]}, but there are {len(size)} graphs")


def _layers(parameters: Sequence[Tensor]) -> list[Layer]:
    size = len(Layer._fields)
    return [Layer(*parameters[first : first + size]) for first in range(0, len(parameters), size)]


def _require_fit(
    x: Tensor, ids: Tensor, table: Tensor, features: Tensor, edge_index: Tensor, batch: Tensor, layers: list[Layer]
) -> None:
    """The loops do not look: a tensor too small would be read beyond its end."""
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32 or float64[N, D]; got {x.dtype}{list(x.shape)}")
    heads, width, columns = layers[0].att.shape[0], layers[0].att.numel(), features.shape[-1]
    checks = [
        ("ids", ids, torch.int64, x.shape[:1]),
        ("batch", batch, torch.int64, x.shape[:1]),
        ("table", table, x.dtype, table.shape[:1] + table.shape[-1:]),
        ("features", features, x.dtype, (edge_index.shape[-1], columns)),
    ]
    inputs = x.shape[-1] + table.shape[-1]
    for layer in layers:
        checks += [
            ("weight", layer.weight, x.dtype, (3 * width, inputs)),
            ("bias", layer.bias, x.dtype, (3 * width,)),
            ("projection", layer.projection, x.dtype, (columns, width)),
            ("att", layer.att, x.dtype, (heads, width // heads)),
            ("norm_weight", layer.norm_weight, x.dtype, (width,)),
            ("norm_bias", layer.norm_bias, x.dtype, (width,)),
        ]
        inputs = width
    for name, tensor, dtype, shape in checks:
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(f"{name} must be {dtype}{list(shape)}; got {tensor.dtype}{list(tensor.shape)}")
