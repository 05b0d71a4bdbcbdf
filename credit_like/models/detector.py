"""Detector: everything from a batch of raw graphs to logits, so that a checkpoint alone can score a log."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from credit_like._threads import lent_by_torch
from credit_like.models.gat import GAT
from credit_like.models.own_traffic import OwnTraffic

#: Statistics of own traffic are in units of their spread over benign windows, at least this, and within these bounds.
#: An id that is in no vocabulary has no spread there: one in forty nodes then counts as 2.5.
_LEAST_SPREAD, _BOUND = 0.01, 10.0


class Detector(nn.Module):
    """A network with the vocabulary and the scaler it was trained with, in one state dict.

    Arguments:
        vocabulary: int64[N] node keys -> int64[N] indices, 0 for an unknown id.
        scaler: ``(x, edge_attr, ids)`` -> scaled ``(x, edge_attr)``.
        network: ``(x, ids, edge_index, edge_attr, batch, num_graphs)`` -> logits, such as ``GAT``. Where its
            ``takes_keys`` is true it receives node keys in place of vocabulary indices.
        own: what the network gets as ``beside``, in units of benign training windows; see ``fit_on_benign``.

    A classifier puts its border somewhere between benign traffic and the attacks it was shown. The statistics of
    ``own`` say how far a window is from benign traffic whatever the attack, so that a milder or another one is past
    the border too.
    """

    own_centre: Tensor
    own_spread: Tensor

    def __init__(
        self, vocabulary: nn.Module, scaler: nn.Module, network: nn.Module, own: OwnTraffic | None = None
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.scaler = scaler
        self.network = network
        self.own = own
        if own is not None:
            self.register_buffer("own_centre", torch.zeros(own.width, dtype=torch.float64))
            self.register_buffer("own_spread", torch.ones(own.width, dtype=torch.float64))

    def forward(self, batch: Any) -> Tensor:
        """float32[num_graphs, 2] of a PyG-like ``batch`` with ``x, edge_index, edge_attr, batch, num_graphs, key``."""
        with self._threads_for(batch):
            return self.network(*self._inputs(batch))

    def node_logits(self, batch: Any) -> Tensor:
        """float32[N, 2]: the network's ``classify_nodes``, each id of each window by itself."""
        network: Any = self.network
        with self._threads_for(batch):
            return network.classify_nodes(*self._inputs(batch, nodes=True))

    def embed(self, batch: Any) -> Tensor:
        """The pooled embedding of each graph, float32[num_graphs, D]; ``network.classify`` makes its logits of it."""
        embed: Any = self.network.embed
        with self._threads_for(batch):
            return embed(*self._inputs(batch))

    def attention(self, batch: Any) -> Tensor:
        """float32[E, layers, heads]: the network's ``attention``, in the order of ``batch.edge_index``."""
        network: Any = self.network
        return network.attention(*self._inputs(batch)[:6])  # what stands beside joins behind the layers

    @torch.no_grad()
    def fit_on_benign(self, batches: Iterable[Any]) -> None:
        """Take the statistics of ``own`` from batches of benign training graphs, which are passed over twice.

        Before any training: later, the network would meet other numbers than it has learnt from. Without ``own``
        nothing happens. Raises ValueError where there is no graph, or where a feature is not finite.
        """
        if self.own is None:
            return
        self.own.fit((x, ids, batch.num_graphs) for batch in batches for x, _, ids in [self._scaled(batch)])
        parts = []
        for batch in batches:
            x, _, ids = self._scaled(batch)
            parts.append(self.own(x, ids, batch.batch, batch.num_graphs))
        statistics = torch.cat(parts)
        self.own_centre.copy_(statistics.mean(dim=0))
        self.own_spread.copy_(statistics.std(dim=0, correction=0).clamp(min=_LEAST_SPREAD))

    def _threads_for(self, batch: Any) -> AbstractContextManager[None]:
        """Where the network spreads whole windows over torch's threads, they are lent from the first operation on."""
        network: Any = self.network
        compiling = torch.compiler.is_compiling()
        wanted = isinstance(network, GAT) and not compiling and network.wants_threads(batch.x)
        return lent_by_torch() if wanted else nullcontext()

    def _scaled(self, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled ``x``, scaled ``edge_attr`` and vocabulary indices."""
        ids = self.vocabulary(batch.key)
        x, edge_attr = self.scaler(batch.x, batch.edge_attr, ids)
        return x, edge_attr, ids

    def _inputs(self, batch: Any, nodes: bool = False) -> tuple[Any, ...]:
        """What the network takes, from raw features and keys; ``nodes``: where it is to judge each node alone."""
        x, edge_attr, numbers = self._scaled(batch)
        ids = batch.key if self.network.takes_keys else numbers
        inputs = x, ids, batch.edge_index, edge_attr, batch.batch, batch.num_graphs
        if self.own is None:
            return inputs
        graphs = (torch.arange(len(x), device=x.device), len(x)) if nodes else (batch.batch, batch.num_graphs)
        beside = (self.own(x, numbers, *graphs) - self.own_centre) / self.own_spread
        if nodes:  # which ids are there is nothing that one node can say
            beside[:, OwnTraffic.PRESENCE] = 0.0
        return *inputs, beside.clamp(-_BOUND, _BOUND).to(x.dtype)
