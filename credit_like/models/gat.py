"""GAT: the supervised graph classifier."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from credit_like.models.convolution import ConvKind, make_convolution
from credit_like.models.gatv2 import GATv2
from credit_like.models.id_encoder import IdEncoderKind, LookupIds, make_id_encoder
from credit_like.models.kernels import Evaluated, compiled, evaluate, norm_elu
from credit_like.models.readout import GraphPool, JumpKind, LayerJump, PoolKind


class GAT(nn.Module):
    """Id encoding beside node features -> message passing -> jumping knowledge -> pooling -> MLP -> 2 logits.

    Arguments:
        num_ids: rows of the id table, row 0 (unknown) included; used by ``id_encoder="lookup"`` alone.
        node_features, edge_features: columns of ``x`` and ``edge_attr`` as the scaler gives them.
        id_encoder: ``lookup``, ``hash`` or ``none``; see ``credit_like.models.id_encoder``.
        id_dim: width of the id encoding.
        unknown_rate: share of graphs whose ids are hidden in training (``lookup``).
        hash_buckets, hash_probes: table size (a power of two) and rows summed for one id (``hash``).
        projection: width to which the input is projected first; 0 leaves it as it is.
        conv, layers, heads: kind, number and attention heads of the message-passing layers.
        width: output width of every layer, all heads together.
        jump, pooling: see ``credit_like.models.readout``.
        fc: widths of the hidden layers of the classifier, whose weights are ``fc_layers.N.weight``.
        dropout: applied to node embeddings, attention weights and hidden layers.
        classes: logits.
        beside: numbers a graph that the classifier gets beside the pooled embedding.

    Defined for graphs of one node, graphs without edges and ids never met in training. Raises ValueError for a
    choice that does not exist. Layer normalisation is per node, so a graph's logits do not depend on its batch.
    """

    def __init__(
        self,
        *,
        num_ids: int,
        node_features: int,
        edge_features: int,
        id_encoder: IdEncoderKind = "lookup",
        id_dim: int = 16,
        unknown_rate: float = 0.05,
        hash_buckets: int = 1024,
        hash_probes: int = 2,
        projection: int = 0,
        conv: ConvKind = "gatv2",
        layers: int = 2,
        heads: int = 4,
        width: int = 64,
        jump: JumpKind = "cat",
        pooling: Sequence[PoolKind] = ("mean", "max"),
        fc: Sequence[int] = (64,),
        dropout: float = 0.1,
        classes: int = 2,
        beside: int = 0,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"a GAT has at least one message-passing layer; got layers={layers}")
        self.id_encoder = make_id_encoder(
            id_encoder,
            num_ids=num_ids,
            out_dim=id_dim,
            unknown_rate=unknown_rate,
            buckets=hash_buckets,
            probes=hash_probes,
        )
        in_dim = node_features + self.id_encoder.out_dim
        self.projection = nn.Linear(in_dim, projection) if projection else nn.Identity()
        sizes = [projection or in_dim] + [width] * layers
        self.conv = conv
        self.convs = nn.ModuleList(
            make_convolution(conv, size, width, heads=heads, edge_dim=edge_features, dropout=dropout)
            for size in sizes[:-1]
        )
        # Modules and not functional.dropout: stochastic passes turn on the dropout modules of a model in eval mode.
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.jump = LayerJump(jump, width, layers)
        self.pool = GraphPool(pooling)
        head = [self.jump.out_dim * len(self.pool.kinds) + beside, *fc, classes]
        self.fc_layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(head))

    @property
    def takes_keys(self) -> bool:
        """Whether ``ids`` are to be node keys (hash encoding) and not vocabulary indices."""
        return self.id_encoder.takes_keys

    def forward(
        self,
        x: Tensor,
        ids: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        batch: Tensor,
        num_graphs: int,
        beside: Tensor | None = None,
    ) -> Tensor:
        """Logits of each graph.

        Arguments: ``x`` float32[N, node_features], ``ids`` int64[N], ``edge_index`` int64[2, E], ``edge_attr``
        float32[E, edge_features], ``batch`` int64[N] the graph of each node, ``beside`` float32[num_graphs, beside]
        where the network has such. Returns float32[num_graphs, classes].
        """
        return self.classify(self.embed(x, ids, edge_index, edge_attr, batch, num_graphs, beside))

    def embed(
        self,
        x: Tensor,
        ids: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        batch: Tensor,
        num_graphs: int,
        beside: Tensor | None = None,
    ) -> Tensor:
        """The pooled embedding of each graph, then ``beside``, float32[num_graphs, D]; arguments as in ``forward``."""
        graphs = x, ids, edge_index, edge_attr, batch, num_graphs
        evaluated = self._evaluated(*graphs, pooled=True) if self.jump.kind in ("cat", "last") else None
        if evaluated is not None:
            parts = list(zip(evaluated.total, evaluated.top, evaluated.size, strict=True))
            pooled = self.pool.join(parts if self.jump.kind == "cat" else parts[-1:])
        else:
            outputs = self._outputs(*graphs)
            pooled = self.pool(outputs if self.jump.kind == "cat" else self.jump(outputs), batch, num_graphs)
        return pooled if beside is None else torch.cat([pooled, beside], dim=1)

    def encode(
        self, x: Tensor, ids: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        """Node embeddings float32[N, jump.out_dim] after jumping knowledge; arguments as in ``forward``."""
        return self.jump(self._outputs(x, ids, edge_index, edge_attr, batch, num_graphs))

    def classify_nodes(
        self,
        x: Tensor,
        ids: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        batch: Tensor,
        num_graphs: int,
        beside: Tensor | None = None,
    ) -> Tensor:
        """float32[N, classes]: the head applied to each node alone, as if pooled; arguments as in ``forward``, but
        ``beside`` is float32[N, beside]."""
        nodes = self.encode(x, ids, edge_index, edge_attr, batch, num_graphs)
        pooled = [nodes] * len(self.pool.kinds)
        return self.classify(torch.cat(pooled if beside is None else [*pooled, beside], dim=1))

    def attention(
        self, x: Tensor, ids: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, num_graphs: int
    ) -> Tensor:
        """How much each edge counts for the node that it leads to, float32[E, layers, heads], in the order of
        ``edge_index``; arguments as in ``forward``.

        Of the edges into one node each head's sum to 1. To be called in evaluation mode: in training PyG's layers
        have dropout in theirs. Raises ValueError for ``conv="gin"``, which has no attention.
        """
        if self.conv == "gin":
            raise ValueError("gin sums what neighbours say without weights, so it has no attention")
        weights: list[Tensor] = []
        self._outputs(x, ids, edge_index, edge_attr, batch, num_graphs, weights)
        return torch.stack(weights, dim=1)

    def _outputs(
        self,
        x: Tensor,
        ids: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        batch: Tensor,
        num_graphs: int,
        attention: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Node embeddings float32[N, width] after each layer, whose attention float32[E, heads] goes to ``attention``
        where that is given."""
        if attention is None:
            evaluated = self._evaluated(x, ids, edge_index, edge_attr, batch, num_graphs, pooled=False)
            if evaluated is not None:
                return list(evaluated.nodes)
        hidden = self.projection(torch.cat([x, self.id_encoder(ids, batch, num_graphs)], dim=1))
        edges = self.convs[0].group(hidden, edge_index) if isinstance(self.convs[0], GATv2) else edge_index
        outputs = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            if attention is None:
                hidden = conv(hidden, edges, edge_attr)
            else:
                hidden, (_, weights) = conv(hidden, edges, edge_attr, return_attention_weights=True)
                attention.append(weights)
            hidden = self._activate(hidden, norm)
            outputs.append(hidden)
        return outputs

    def _evaluated(
        self,
        x: Tensor,
        ids: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        batch: Tensor,
        num_graphs: int,
        *,
        pooled: bool,
    ) -> Evaluated | None:
        """All layers, and the pooling, by the operator for evaluation; None where that has no place."""
        if not self.goes_by_parts(x):
            return None
        convs: list[Any] = list(self.convs)
        norms: list[Any] = list(self.norms)
        layers = [conv.layer(norm) for conv, norm in zip(convs, norms, strict=True)]
        if isinstance(self.id_encoder, LookupIds) and isinstance(self.projection, nn.Identity):
            table = self.id_encoder.embedding.weight
        else:
            x = self.projection(torch.cat([x, self.id_encoder(ids, batch, num_graphs)], dim=1))
            ids, table = torch.zeros_like(batch), x.new_empty(1, 0)
        return evaluate(
            x, ids, table, edge_attr, edge_index, layers, batch, num_graphs,
            slope=convs[0].negative_slope, epsilon=norms[0].eps, pooled=pooled,
        )  # fmt: skip

    def goes_by_parts(self, x: Tensor) -> bool:
        """Whether nodes such as ``x`` take the operator for evaluation: not in training, nor with stochastic passes or
        gradients, and only where all layers are such as it knows."""
        if self.dropout.training or torch.is_grad_enabled():
            return False
        return all(isinstance(conv, GATv2) and conv.fits_evaluation(x) for conv in self.convs)

    def wants_threads(self, x: Tensor) -> bool:
        """Whether nearly all work on nodes such as ``x`` is that operator's: what ``max`` and ``lstm`` do with the
        nodes after it is torch's, with torch's threads."""
        return self.jump.kind in ("cat", "last") and self.goes_by_parts(x)

    def _activate(self, hidden: Tensor, norm: Any) -> Tensor:
        if compiled(hidden):
            dropout = self.dropout.p if self.dropout.training else 0.0
            return norm_elu(hidden, norm.weight, norm.bias, epsilon=norm.eps, dropout=dropout)
        return self.dropout(functional.elu(norm(hidden)))

    def classify(self, pooled: Tensor) -> Tensor:
        """The MLP alone: float32[G, D] -> float32[G, classes]."""
        for layer in self.fc_layers[:-1]:
            pooled = self.dropout(functional.relu(layer(pooled)))
        return self.fc_layers[-1](pooled)
