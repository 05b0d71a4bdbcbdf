"""GATv2: PyG's layer, computed on a CPU by one loop over the edges."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import UninitializedParameter
from torch_geometric.nn import GATv2Conv
from torch_geometric.utils import add_self_loops, remove_self_loops

from credit_like.models.kernels import GroupedEdges, Layer, attend, compiled


class GATv2(GATv2Conv):
    """``torch_geometric.nn.GATv2Conv`` with the same arguments, parameters and results: each loads the other's
    state dict.

    On a CPU in float32 or float64 attention is one pass over the edges (``credit_like.models.kernels.attend``).
    Everything else takes PyG's own path: a GPU, autocast, other dtypes, bipartite graphs, sparse adjacency matrices and
    explainers.

    Two things differ from PyG on a CPU. ``edge_index`` may be ``GroupedEdges``, so that several layers share one sort.
    And ``return_attention_weights=True`` gives the softmax itself, also in training, where PyG's have dropout in them;
    which weights are dropped comes from torch's generator, but they are not the ones that PyG would drop. Hooks on
    PyG's message passing (``register_message_forward_hook`` and others) are not called. Second derivatives do not
    exist.
    """

    def group(self, x: Tensor, edge_index: Tensor) -> GroupedEdges | Tensor:
        """What to hand to ``forward`` of several layers in place of ``edge_index``, for nodes ``x``."""
        return GroupedEdges.of(edge_index, x.shape[0]) if compiled(x) and not self.add_self_loops else edge_index

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """``x`` [N, in_channels], ``edge_index`` int64[2, E] or ``GroupedEdges``, ``edge_attr`` [E, edge_dim] ->
        [N, heads * out_channels], or [N, out_channels] without ``concat``.

        ``return_attention_weights=True``: that and ``(edge_index, alpha)``, ``alpha`` [E, heads].
        """
        if not self._fits(x, edge_index, edge_attr):
            given = edge_index.edge_index if isinstance(edge_index, GroupedEdges) else edge_index
            return super().forward(x, given, edge_attr, return_attention_weights)
        if self.add_self_loops:
            edge_index, edge_attr = remove_self_loops(edge_index, edge_attr)
            edge_index, edge_attr = add_self_loops(edge_index, edge_attr, self.fill_value, x.shape[0])
        edges = edge_index if isinstance(edge_index, GroupedEdges) else GroupedEdges.of(edge_index, x.shape[0])

        residual_too = self.concat and self.res is not None
        features, projection = self._edge_parts(edge_attr)
        dropout = self.dropout if self.training else 0.0
        out, alpha = attend(
            functional.linear(x, *self._side_by_side(residual_too)), features, projection, self.att[0], edges,
            slope=self.negative_slope, dropout=dropout,
        )  # fmt: skip
        if not residual_too:
            out = out if self.concat else out.view(-1, self.heads, self.out_channels).mean(dim=1)
            out = out if self.res is None else out + self.res(x)
            out = out if self.bias is None else out + self.bias
        return (out, (edges.edge_index, alpha)) if return_attention_weights else out

    def fits_evaluation(self, x: Tensor) -> bool:
        """Whether ``layer`` says all that this layer does, in evaluation and without gradients, to nodes such as ``x``:
        it has edge features and a residual, and its heads lie side by side."""
        whole = self.concat and self.res is not None and self.bias is not None and self.lin_edge is not None
        return whole and not self.training and not self.add_self_loops and self._takes(x)

    def layer(self, norm: nn.LayerNorm) -> Layer:
        """This layer and what normalises its nodes, for ``credit_like.models.kernels.evaluate``."""
        weight = torch.cat([self.lin_l.weight, self.res.weight, self.lin_r.weight])
        bias = torch.cat([self.lin_l.bias, self.bias, self.lin_r.bias])
        return Layer(weight, bias, self.lin_edge.weight.t(), self.att[0], norm.weight, norm.bias)

    def _edge_parts(self, edge_attr: Tensor | None) -> tuple[Any, Any]:
        """Edge features [E, K] and what projects them, [K, heads * out_channels]; without features two times None."""
        if edge_attr is None:
            return None, None
        return edge_attr[:, None] if edge_attr.dim() == 1 else edge_attr, self.lin_edge.weight.t()

    def _side_by_side(self, residual_too: bool) -> tuple[Tensor, Tensor | None]:
        """Weight and bias that give nodes as sources, as destinations and, if asked for, as residuals: one product of
        matrices costs less than three, most of all in backward, which would add up three gradients of the input."""
        weights, biases = [self.lin_l.weight, self.lin_r.weight], [self.lin_l.bias, self.lin_r.bias]
        if residual_too:
            weights.append(self.res.weight)
            biases.append(self.bias)
        return torch.cat(weights), None if biases[0] is None else torch.cat(biases)

    def _fits(self, x: Any, edge_index: Any, edge_attr: Any) -> bool:
        """Whether the loop can take these; whatever PyG would refuse is left to PyG."""
        if not isinstance(x, Tensor) or not self._takes(x):
            return False
        if isinstance(edge_index, GroupedEdges):
            if self.add_self_loops:
                raise ValueError("with add_self_loops a layer has edges of its own; hand it edge_index, not groups")
        elif not isinstance(edge_index, Tensor) or edge_index.layout != torch.strided:
            return False
        return edge_attr is None or (self.lin_edge is not None and edge_attr.dtype == x.dtype)

    def _takes(self, x: Tensor) -> bool:
        if not compiled(x) or x.dtype != self.att.dtype or self.explain or torch.is_autocast_enabled("cpu"):
            return False
        return not isinstance(self.lin_l.weight, UninitializedParameter)  # with in_channels=-1, until PyG's first call
