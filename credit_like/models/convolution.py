"""The message-passing layers a GAT can be made of, brought to one signature."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch_geometric.nn import GATConv, GINEConv, TransformerConv

from credit_like.models.gatv2 import GATv2

ConvKind = Literal["gatv2", "gat", "transformer", "gin"]


def make_convolution(
    kind: ConvKind,
    in_dim: int,
    out_dim: int,
    *,
    heads: int,
    edge_dim: int | None,
    dropout: float,
    self_loops: bool = False,
    bias: bool = True,
) -> nn.Module:
    """A layer called as ``layer(x, edge_index, edge_attr)``: float32[N, in_dim] -> float32[N, out_dim].

    ``gatv2`` (Brody et al. 2022), ``gat`` (Velickovic et al. 2018), ``transformer`` (Shi et al. 2021) and ``gin`` with
    edge features (Xu et al. 2019; Hu et al. 2020). The attention kinds give each of ``heads`` heads an equal share of
    ``out_dim`` and drop attention weights with probability ``dropout``; ``gin`` has no heads.

    Every kind has a path from a node to itself that is not an edge (a linear skip, in GIN the ``1 + eps`` term), so a
    node without neighbours keeps its features. Self-loops of the graph stay as they are: in a CAN window they mean
    that an id followed itself, and adding one to every node would drown that. ``self_loops`` is the papers' way, for
    ``gat`` and ``gatv2``: each node attends to itself, and has no linear skip. ``edge_dim`` None: edges without
    features.

    ``bias=False`` leaves out every additive constant, as one-class training needs.

    Raises ValueError for another kind, where ``out_dim`` is not a multiple of ``heads``, for ``self_loops`` of a kind
    that has none, and for ``gin`` without edge features.
    """
    if self_loops and kind not in ("gatv2", "gat"):
        raise ValueError(f"self_loops are for gatv2 and gat; got {kind!r}")
    if kind == "gin":
        if edge_dim is None:
            raise ValueError("gin adds the features of edges to those of nodes, so it needs edge_dim")
        mlp = nn.Sequential(nn.Linear(in_dim, out_dim, bias), nn.ReLU(), nn.Linear(out_dim, out_dim, bias))
        layer = GINEConv(mlp, train_eps=True, edge_dim=edge_dim)
        if not bias:
            layer.lin = nn.Linear(edge_dim, in_dim, bias=False)
        return layer
    if out_dim % heads:
        raise ValueError(f"the layer width must be a multiple of heads; got width {out_dim} and {heads} heads")
    share = out_dim // heads
    common: dict[str, Any] = {"heads": heads, "dropout": dropout, "edge_dim": edge_dim, "bias": bias}
    if kind == "gatv2":
        return GATv2(
            in_dim,
            share,
            heads=heads,
            dropout=dropout,
            add_self_loops=self_loops,
            edge_dim=edge_dim,
            residual=not self_loops,
            bias=bias,
        )
    if kind == "gat":
        return GATConv(
            in_dim,
            share,
            heads=heads,
            dropout=dropout,
            add_self_loops=self_loops,
            edge_dim=edge_dim,
            residual=not self_loops,
            bias=bias,
        )
    if kind == "transformer":
        return TransformerConv(in_dim, share, **common)
    raise ValueError(f"convolution must be gatv2, gat, transformer or gin; got {kind!r}")
