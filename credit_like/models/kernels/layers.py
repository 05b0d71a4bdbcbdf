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
from credit_like.models.kernels.edges import GroupedEdges

#: Nodes that go through all layers together, and a few more. What a layer of width 64 projects 1,024 nodes to fills
#: 0.8 MB, so that it is still in a core's cache (2 MB) when attention reads it.
_TOGETHER = 1024


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


class _Given(NamedTuple):
    """See ``evaluate`` and ``GroupedEdges``."""

    x: Tensor
    ids: Tensor
    table: Tensor
    features: Tensor
    order: Tensor
    begin: Tensor
    source: Tensor
    batch: Tensor


def evaluate(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    edges: GroupedEdges,
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

    About a thousand nodes of whole graphs go through all layers and the pooling before the next do, on as many threads
    as torch has; where graphs are not side by side, all go together. The parts depend on the batch alone, so no result
    depends on the threads. Raises IndexError for an id or a graph that does not exist, ValueError for tensors that do
    not fit together.
    """
    given = _Given(x, ids, table, features, *edges[:3], batch)
    flat = [tensor for layer in layers for tensor in layer]
    return Evaluated(*gatv2_layers(*given, edges.edge_index, flat, num_graphs, slope, epsilon, pooled))


@torch.library.custom_op("credit_like::gatv2_layers", mutates_args=(), device_types="cpu")
def gatv2_layers(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    batch: Tensor,
    edge_index: Tensor,
    parameters: Sequence[Tensor],
    num_graphs: int,
    slope: float,
    epsilon: float,
    pooled: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``evaluate`` as a custom operator; ``parameters`` are those of all layers, one after another."""
    given = _Given(x, ids, table, features, order, begin, source, batch)
    layers = _layers(parameters)
    _require_fit(given, layers)
    made = Evaluated(*_empty_layers(*given, edge_index, parameters, num_graphs, slope, epsilon, pooled))
    for tensor in made[1:]:
        tensor.zero_()
    starts = torch.empty(x.shape[0] // _TOGETHER + 2, dtype=torch.int64)
    parts = call(part, batch, edge_index, _TOGETHER, starts)
    columns, width = x.shape[1], layers[0].att.numel()
    of_ids = table @ layers[0].weight[:, columns:].t()  # a row of it is what a node's id adds to its projection
    matrices = [layers[0].weight[:, :columns].t(), *(layer.weight.t() for layer in layers[1:])]
    factors = [(matrix[:, : 2 * width], matrix[:, 2 * width :]) for matrix in matrices]
    seen, filled, weights = _Given(*views(given)), Evaluated(*views(made)), [Layer(*views(layer)) for layer in layers]
    with lent_by_torch():
        spread(
            _evaluate_parts, parts, starts.tolist(), x.detach(), *views([of_ids]), factors, seen, weights, slope,
            epsilon, [known_lengths(layer.att, layer.projection) for layer in layers], filled,
        )  # fmt: skip
    return made.nodes, made.total, made.top, made.size


@gatv2_layers.register_fake
def _empty_layers(
    x: Tensor,
    ids: Tensor,
    table: Tensor,
    features: Tensor,
    order: Tensor,
    begin: Tensor,
    source: Tensor,
    batch: Tensor,
    edge_index: Tensor,
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
    first: int, last: int, starts: list[int], x: Tensor, of_ids: Any, factors: list[tuple[Tensor, Tensor]],
    seen: _Given, layers: list[Any], slope: float, epsilon: float, known: list[Any], filled: Evaluated,
) -> None:  # fmt: skip
    """The parts ``first`` to ``last``, from numpy views of all that compiled loops read and write.

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
        rows, begin = stop - start, seen.begin[start : stop + 1]
        wrong = loops.enter(seen.ids[start:stop], of_ids, begin, n_projected, n_aimed)
        if wrong >= 0:
            node = start + wrong
            raise IndexError(f"node {node} is of id {seen.ids[node]}, but the table has {len(of_ids)} rows")
        several = loops.choose(seen.x[start:stop], begin, n_entering)
        hidden, chosen = x[start:stop], entering[:several]
        target, aim = projected[:rows], aimed[:several]
        for number, layer in enumerate(layers):
            for made, what, factor in zip((target, aim), (hidden, chosen), factors[number], strict=True):
                torch.addmm(made, what, factor, beta=int(number == 0), out=made)
            hidden, out = passing[number % 2, :rows], n_passing[number % 2, :rows]
            chosen = again[:several]
            wrong = loops.evaluate(
                n_projected[:rows], n_aimed, layer.bias, seen.features, layer.projection, layer.att, seen.order,
                begin, seen.source, start, slope, known[number], layer.norm_weight, layer.norm_bias, epsilon, out,
                n_again, filled.nodes[number, start:stop], seen.batch[start:stop], filled.total[number],
                filled.top[number], filled.size[number],
            )  # fmt: skip
            if wrong >= 0:
                node = start + wrong
                raise IndexError(
                    f"node {node} is of graph {seen.batch[node]}, but there are {filled.size.shape[1]} graphs"
                )


def _layers(parameters: Sequence[Tensor]) -> list[Layer]:
    size = len(Layer._fields)
    return [Layer(*parameters[first : first + size]) for first in range(0, len(parameters), size)]


def _require_fit(given: _Given, layers: list[Layer]) -> None:
    """The loops do not look: a tensor too small would be read beyond its end."""
    x, nodes, edges = given.x, given.x.shape[0], given.order.shape[0]
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"x must be float32 or float64[N, D]; got {x.dtype}{list(x.shape)}")
    heads, width, columns = layers[0].att.shape[0], layers[0].att.numel(), given.features.shape[-1]
    checks = [
        ("ids", given.ids, torch.int64, (nodes,)),
        ("batch", given.batch, torch.int64, (nodes,)),
        ("begin", given.begin, torch.int64, (nodes + 1,)),
        ("table", given.table, x.dtype, given.table.shape[:1] + given.table.shape[-1:]),
        ("features", given.features, x.dtype, (edges, columns)),
    ]
    inputs = x.shape[-1] + given.table.shape[-1]
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
