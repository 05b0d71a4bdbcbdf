"""Detector: everything from a batch of raw graphs to logits, so that a checkpoint alone can score a log."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Detector(nn.Module):
    """A network with the vocabulary and the scaler it was trained with, in one state dict.

    Arguments:
        vocabulary: int64[N] node keys -> int64[N] indices, 0 for an unknown id.
        scaler: ``(x, edge_attr, ids)`` -> scaled ``(x, edge_attr)``.
        network: ``(x, ids, edge_index, edge_attr, batch, num_graphs)`` -> logits, such as ``GAT``. Where its
            ``takes_keys`` is true it receives node keys in place of vocabulary indices.
    """

    def __init__(self, vocabulary: nn.Module, scaler: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.scaler = scaler
        self.network = network

    def forward(self, batch: Any) -> Tensor:
        """float32[num_graphs, 2] of a PyG-like ``batch`` with ``x, edge_index, edge_attr, batch, num_graphs, key``."""
        return self.network(*self._inputs(batch))

    def node_logits(self, batch: Any) -> Tensor:
        """float32[N, 2]: the network's ``classify_nodes``, each id of each window by itself."""
        network: Any = self.network
        return network.classify_nodes(*self._inputs(batch))

    def embed(self, batch: Any) -> Tensor:
        """The pooled embedding of each graph, float32[num_graphs, D]; ``network.classify`` makes its logits of it."""
        embed: Any = self.network.embed
        return embed(*self._inputs(batch))

    def attention(self, batch: Any) -> Tensor:
        """float32[E, layers, heads]: the network's ``attention``, in the order of ``batch.edge_index``."""
        network: Any = self.network
        return network.attention(*self._inputs(batch))

    def _inputs(self, batch: Any) -> tuple[Any, ...]:
        """What the network takes, from raw features and keys."""
        ids = self.vocabulary(batch.key)
        x, edge_attr = self.scaler(batch.x, batch.edge_attr, ids)
        ids = batch.key if self.network.takes_keys else ids
        return x, ids, batch.edge_index, edge_attr, batch.batch, batch.num_graphs
