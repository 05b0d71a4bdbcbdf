"""AnomalyDetector: from a batch of raw graphs to their distance from benign traffic, and a p-value of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from credit_like.models.conformal import ConformalTail
from credit_like.models.dgi import DGI
from credit_like.models.graph_encoder import GraphEncoder
from credit_like.models.one_class import OneClassHead
from credit_like.models.own_traffic import OwnTraffic


class Readout(NamedTuple):
    """What is known of each graph of a batch before the head.

    ``embedding`` float[B, encoder.out_dim] is the mean of its nodes' embeddings; ``features`` float64[B, head.width]
    is that and what is beside it; ``agreement`` float[B] the mean probability that the discriminator gives its nodes
    of being true ones.
    """

    embedding: Tensor
    features: Tensor
    agreement: Tensor


class Contrast(NamedTuple):
    """What training needs of a batch: logits of true and of shuffled nodes, float[N], and ``embedding`` float[B, D]."""

    true: Tensor
    shuffled: Tensor
    embedding: Tensor


class AnomalyDetector(nn.Module):
    """Deep Graph Infomax and a one-class head, with the vocabulary and the scaler they were trained with.

    Arguments:
        vocabulary: int64[N] node keys -> int64[N] indices, 0 for an unknown id.
        scaler: ``(x, edge_attr, ids)`` -> scaled ``(x, edge_attr)``.
        encoder: scaled ``(x, edge_index, edge_attr)`` -> node embeddings.
        num_ids: rows of the vocabulary, the unknown id included.
        own_columns: groups of columns of the scaled ``x``; for each the distance of every node from the benign traffic
            of its own id goes into the readout beside the embedding (``OwnTraffic``).
        whiten, shrinkage: of ``OneClassHead``.

    The head's features are the mean embedding, three statistics of each group's distances (the largest, the mean, and
    the mean root; as logarithms, which keep one gross node from hiding all else), and the share of nodes with an
    unknown id. They do not depend on how nodes are numbered, nor on the rest of the batch.
    """

    def __init__(
        self,
        vocabulary: nn.Module,
        scaler: nn.Module,
        encoder: GraphEncoder,
        *,
        num_ids: int,
        own_columns: Sequence[Sequence[int]] = (),
        whiten: bool = True,
        shrinkage: float = 0.01,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.scaler = scaler
        self.dgi = DGI(encoder, encoder.out_dim)
        self.own = nn.ModuleList(OwnTraffic(num_ids, columns) for columns in own_columns)
        self.head = OneClassHead(encoder.out_dim + 3 * len(self.own) + 1, whiten, shrinkage)
        self.tail = ConformalTail()

    @property
    def encoder(self) -> GraphEncoder:
        """The one that Deep Graph Infomax trains."""
        return cast(GraphEncoder, self.dgi.encoder)

    def inputs(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled ``x``, scaled ``edge_attr`` and vocabulary indices of a batch of raw graphs."""
        ids = self.vocabulary(batch.key)
        x, edge_attr = self.scaler(batch.x, batch.edge_attr, ids)
        return x, edge_attr, ids

    def contrast(self, batch: Any, generator: torch.Generator | None = None) -> Contrast:
        """True against shuffled nodes; ``generator`` draws the shuffle."""
        x, edge_attr, _ = self.inputs(batch)
        edges = self.encoder.group(x, batch.edge_index)
        hidden, true, shuffled = self.dgi(x, edges, edge_attr, batch.batch, batch.num_graphs, generator)
        return Contrast(true, shuffled, self.dgi.pool(hidden, batch.batch, batch.num_graphs))

    def readout(self, batch: Any) -> Readout:
        """Of a PyG-like ``batch`` with ``x, edge_index, edge_attr, batch, num_graphs, key``."""
        x, edge_attr, ids = self.inputs(batch)
        hidden = self.encoder(x, batch.edge_index, edge_attr)
        embedding = self.dgi.pool(hidden, batch.batch, batch.num_graphs)
        logits = self.dgi.logits(hidden, torch.sigmoid(embedding), batch.batch)
        agreement = self._mean(logits.sigmoid()[:, None], batch)[:, 0]
        beside = [embedding.double()]
        for own in self.own:
            beside.append(self._statistics(own(x, ids), batch))
        beside.append(self._mean((ids == 0).double()[:, None], batch))
        return Readout(embedding, torch.cat(beside, dim=1), agreement)

    def forward(self, batch: Any) -> Tensor:
        """The squared distance of each graph from the centre of benign ones, float64[B]."""
        return self.head(self.readout(batch).features)

    @torch.no_grad()
    def fit_own_traffic(self, batches: Iterable[Any]) -> None:
        """Statistics of each id over the nodes of benign training graphs. Raises ValueError where there are none."""
        if not len(self.own):
            return
        parts = [(x, ids) for x, _, ids in map(self.inputs, batches)]
        if not parts:
            raise ValueError("the centre is the mean of benign training graphs, and there is none")
        x, ids = (torch.cat(part) for part in zip(*parts, strict=True))
        for own in self.own:
            cast(OwnTraffic, own).fit(x, ids)

    def encoder_digest(self) -> str:
        """SHA-256 of all that a readout comes from: vocabulary, scaler, encoder and discriminator."""
        digest = hashlib.sha256()
        for part in ("vocabulary", "scaler", "dgi"):
            for name, value in sorted(getattr(self, part).state_dict().items()):
                digest.update(f"{part}.{name}{tuple(value.shape)}{value.dtype}".encode())
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _statistics(self, distance: Tensor, batch: Any) -> Tensor:
        """float64[N] -> float64[B, 3]."""
        top = torch.zeros(batch.num_graphs, dtype=distance.dtype, device=distance.device)
        top = top.scatter_reduce(0, batch.batch, distance, "amax", include_self=False)
        means = self._mean(torch.stack([distance, distance.sqrt()], dim=1), batch)
        return torch.cat([top[:, None], means], dim=1).log1p()

    def _mean(self, values: Tensor, batch: Any) -> Tensor:
        """The mean over each graph's nodes, float[N, k] -> float[B, k]."""
        return self.dgi.pool(values, batch.batch, batch.num_graphs)
