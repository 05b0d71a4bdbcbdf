"""GraphEncoder: message passing without bias terms, so that no constant output is within its reach."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from credit_like.models.convolution import ConvKind, make_convolution
from credit_like.models.gatv2 import GATv2


class GraphEncoder(nn.Module):
    """Node features and edges -> an embedding a node: layers of message passing, each normalised, then PReLU.

    Arguments:
        node_features, edge_features: columns of ``x`` and ``edge_attr``.
        conv, layers, heads: kind, number and attention heads of the layers (``make_convolution``).
        width: output width of every layer, all heads together.

    A node's embedding is what all layers say of it, side by side: ``out_dim`` is ``layers * width``. Nothing here has a
    bias: with one, a network can map every graph to one point, the trivial optimum of one-class training (Ruff et al.
    2018, "Deep one-class classification", proposition 2). Normalisation is per node, so a graph's embedding does not
    depend on its batch. Defined for graphs of one node and for graphs without edges.
    """

    def __init__(
        self,
        *,
        node_features: int,
        edge_features: int,
        conv: ConvKind = "gatv2",
        layers: int = 2,
        heads: int = 4,
        width: int = 64,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"an encoder has at least one message-passing layer; got layers={layers}")
        sizes = [node_features] + [width] * layers
        self.convs = nn.ModuleList(
            make_convolution(conv, size, width, heads=heads, edge_dim=edge_features, dropout=0.0, bias=False)
            for size in sizes[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(layers))
        self.activations = nn.ModuleList(nn.PReLU() for _ in range(layers))
        self.out_dim = layers * width

    def group(self, x: Tensor, edge_index: Tensor) -> Any:
        """What to hand to ``forward`` in place of ``edge_index``, so that several calls share one sort of the edges."""
        first = self.convs[0]
        return first.group(x, edge_index) if isinstance(first, GATv2) else edge_index

    def forward(self, x: Tensor, edge_index: Any, edge_attr: Tensor) -> Tensor:
        """float32[N, node_features], int64[2, E] (or ``group``'s), float32[E, edge_features] -> float32[N, out_dim]."""
        edges = self.group(x, edge_index) if isinstance(edge_index, Tensor) else edge_index
        outputs = []
        for conv, norm, activate in zip(self.convs, self.norms, self.activations, strict=True):
            x = activate(norm(conv(x, edges, edge_attr)))
            outputs.append(x)
        return torch.cat(outputs, dim=1)
