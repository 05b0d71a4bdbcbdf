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
    """What is known of each graph of a batch before its distance is taken.

    ``embedding`` float[B, D] is the mean of its nodes' embeddings, ``own`` float64[B, 3] the statistics of
    ``OwnTraffic`` ([B, 0] without), ``agreement`` float[B] the mean probability that the discriminator gives its nodes
    of being true ones.
    """

    embedding: Tensor
    own: Tensor
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
        own_groups: groups of columns of the scaled ``x`` for ``OwnTraffic``; empty: the embedding alone decides.
        whiten, shrinkage: of ``OneClassHead``.

    ``head`` takes the squared distance of a graph's mean node embedding from the centre of benign ones. Where there is
    own traffic, ``joint`` is a second head over four numbers: the logarithm of that distance, and the three statistics
    of ``OwnTraffic``. Side by side in one head, the many directions of an embedding would outvote them. Neither depends
    on how nodes are numbered, nor on the rest of the batch.
    """

    def __init__(
        self,
        vocabulary: nn.Module,
        scaler: nn.Module,
        encoder: GraphEncoder,
        *,
        num_ids: int,
        own_groups: Sequence[Sequence[int]] = (),
        whiten: bool = True,
        shrinkage: float = 0.01,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.scaler = scaler
        self.dgi = DGI(encoder, encoder.out_dim)
        self.head = OneClassHead(encoder.out_dim, whiten, shrinkage)
        self.own = OwnTraffic(num_ids, own_groups) if own_groups else None
        self.joint = OneClassHead(1 + OwnTraffic.width, True, shrinkage) if own_groups else None
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
        graphs = batch.batch, batch.num_graphs
        hidden = self.encoder(x, batch.edge_index, edge_attr)
        embedding = self.dgi.pool(hidden, *graphs)
        logits = self.dgi.logits(hidden, torch.sigmoid(embedding), batch.batch)
        agreement = self.dgi.pool(logits.sigmoid()[:, None], *graphs)[:, 0]
        own = embedding.new_zeros(len(embedding), 0) if self.own is None else self.own(x, ids, *graphs)
        return Readout(embedding, own, agreement)

    def distance(self, readout: Readout) -> Tensor:
        """The squared distance of each graph from benign ones, float64[B]. Raises RuntimeError before the fit."""
        distance = self.head(readout.embedding)
        return distance if self.joint is None else self.joint(_beside(distance, readout.own))

    def forward(self, batch: Any) -> Tensor:
        """``distance`` of a batch's ``readout``."""
        return self.distance(self.readout(batch))

    @torch.no_grad()
    def fit_own_traffic(self, batches: Iterable[Any]) -> None:
        """What each id does in the batches, of benign training graphs. Raises ValueError where there are none."""
        if self.own is not None:
            self.own.fit((x, ids, batch.num_graphs) for batch in batches for x, _, ids in [self.inputs(batch)])

    def fit_heads(self, readout: Readout, encoder_digest: str, store_digest: str) -> None:
        """Centres and covariances from the readouts of benign training graphs, after ``fit_own_traffic``.

        Raises ValueError as ``OneClassHead.fit`` does.
        """
        self.head.fit(readout.embedding, encoder_digest, store_digest)
        if self.joint is not None:
            self.joint.fit(_beside(self.head(readout.embedding), readout.own), encoder_digest, store_digest)

    def encoder_digest(self) -> str:
        """SHA-256 of all that an embedding comes from: vocabulary, scaler, encoder and discriminator."""
        digest = hashlib.sha256()
        for part in ("vocabulary", "scaler", "dgi"):
            for name, value in sorted(getattr(self, part).state_dict().items()):
                digest.update(f"{part}.{name}{tuple(value.shape)}{value.dtype}".encode())
                digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _beside(distance: Tensor, own: Tensor) -> Tensor:
    """float64[B] and float64[B, 3] -> float64[B, 4]."""
    return torch.cat([distance.log1p()[:, None], own], dim=1)
