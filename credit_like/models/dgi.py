"""Deep Graph Infomax (Velickovic et al. 2019): an encoder learns to tell true node features from shuffled ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from credit_like.models.readout import GraphPool


class DGI(nn.Module):
    """Maximises the mutual information between the nodes of a graph and the graph's own summary.

    ``encoder`` maps ``(x, edge_index, edge_attr)`` to node embeddings float[N, width]. The summary of a graph is the
    sigmoid of the mean of its nodes' embeddings; the discriminator is bilinear, ``h^T W s``; negatives are the
    embeddings of the same graph with its rows of features shuffled (the paper's equations 1 to 4, section 3.4). With
    one big graph in the batch this is the paper's node-level form.

    A graph of one node has nothing to shuffle: its negative is its positive, and it adds a constant to the loss's
    minimum.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.weight = nn.Parameter(torch.empty(width, width))
        nn.init.xavier_uniform_(self.weight)
        self.pool = GraphPool(("mean",))

    def summary(self, hidden: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """float[N, width] -> float[num_graphs, width], within (0, 1)."""
        return torch.sigmoid(self.pool(hidden, batch, num_graphs))

    def logits(self, hidden: Tensor, summary: Tensor, batch: Tensor) -> Tensor:
        """How well each node fits its graph's summary, float[N]; above 0 where it is taken for a true one."""
        return (hidden * (summary @ self.weight.t())[batch]).sum(dim=1)

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        edge_attr: Tensor | None,
        batch: Tensor,
        num_graphs: int,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``(hidden float[N, width], true logits float[N], logits of the shuffled graph float[N])``.

        ``batch`` int64[N] is ascending. ``generator``, of the device of ``x``, draws the shuffle; torch's own by
        default.
        """
        hidden = self.encoder(x, edge_index, edge_attr)
        summary = self.summary(hidden, batch, num_graphs)
        shuffled = self.encoder(x[shuffle_within(batch, generator)], edge_index, edge_attr)
        return hidden, self.logits(hidden, summary, batch), self.logits(shuffled, summary, batch)


class DGILoss(nn.Module):
    """Binary cross entropy of true against shuffled nodes: the mean over a graph's nodes, then over graphs.

    The mean over graphs makes the loss of a large batch the mean of its parts; for one graph it is the paper's. A
    discriminator that knows nothing has a loss of ``log 2``.

    >>> loss = DGILoss()
    >>> round(float(loss(torch.zeros(3), torch.zeros(3), torch.tensor([0, 0, 1]), 2)), 4)
    0.6931
    """

    def forward(self, true: Tensor, shuffled: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """float[N], float[N], int64[N] -> a scalar."""
        each = 0.5 * (functional.softplus(-true) + functional.softplus(shuffled))
        count = torch.bincount(batch, minlength=num_graphs).clamp(min=1)
        return (each / count[batch]).sum() / num_graphs


def shuffle_within(batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A random permutation int64[N] that keeps every node in its graph; ``batch`` int64[N] ascending.

    >>> shuffle_within(torch.tensor([0, 1, 2])).tolist()
    [0, 1, 2]
    """
    draw = torch.rand(len(batch), dtype=torch.float64, device=batch.device, generator=generator)
    return torch.argsort(batch + draw)
