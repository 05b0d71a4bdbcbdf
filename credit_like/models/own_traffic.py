"""OwnTraffic: how unusual a window is when each arbitration id is held against its own benign traffic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from credit_like.models.kernels import compiled, own_distances
from credit_like.models.readout import GraphPool

#: Share of the covariance of all ids in that of one, and of the mean variance on its diagonal: an id that was never
#: seen to move in some direction has no covariance there.
_POOLED, _RIDGE = 0.05, 1e-3
#: Benign nodes of an id below which it gets the statistics of all.
_LEAST_NODES = 50
#: Nodes whose outer products are in memory at a time.
_CHUNK = 4096


class OwnTraffic(nn.Module):
    """Three statistics of a graph, from what each of its ids does in benign training graphs.

    ``groups`` are columns of ``x``, each a list. For node i and group g let d_ig be the squared Mahalanobis distance of
    the node's columns from the benign nodes of its id, under that id's full covariance. The statistics are:

    ===============  ==================================================================================================
    conduct          log of the mean over nodes of sqrt(prod_g (1 + d_ig)): the product lets nodes count that are
                     unusual in several groups at once; the mean of a root keeps one that drifts in one of them, as
                     payloads do over a drive, from deciding all
    presence         minus the log likelihood of which known ids are there, as independent draws of their benign shares
    unknown          share of nodes whose id is not in the vocabulary
    ===============  ==================================================================================================

    An unknown id (0), and one with fewer than 50 benign nodes, is held against the nodes of all ids. State, all zeros
    until ``fit``: ``centre`` float64[num_ids, k] and ``whitening`` float64[num_ids, k, k] over the k columns of all
    groups (block by block), ``share`` float64[num_ids] of the benign graphs that hold the id.
    """

    #: Statistics a graph, and the place of ``presence`` among them.
    width = 3
    PRESENCE = 1

    centre: Tensor
    whitening: Tensor
    share: Tensor

    def __init__(self, num_ids: int, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not groups or not all(groups):
            raise ValueError(f"own traffic is one or more groups of columns, none of them empty; got {groups}")
        self.columns = [column for group in groups for column in group]
        self.sizes = [len(group) for group in groups]
        width = len(self.columns)
        self.register_buffer("centre", torch.zeros(num_ids, width, dtype=torch.float64))
        self.register_buffer("whitening", torch.zeros(num_ids, width, width, dtype=torch.float64))
        self.register_buffer("share", torch.zeros(num_ids, dtype=torch.float64))
        self.pool = GraphPool(("mean", "sum"))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor, int]]) -> None:
        """Take the statistics of benign training graphs, a batch at a time: ``x`` float[N, columns of x], ``ids``
        int64[N] and the number of graphs.

        Raises ValueError where there is none, or where a node's columns are not finite.
        """
        ids_known, width = self.centre.shape
        count = self.share.new_zeros(ids_known)
        total, products = torch.zeros_like(self.centre), torch.zeros_like(self.whitening)
        graphs = 0
        for x, ids, number in batches:
            given = x[:, self.columns].double()
            if not bool(torch.isfinite(given).all()):
                raise ValueError("the features of benign training graphs must be finite")
            for part, own in zip(given.split(_CHUNK), ids.split(_CHUNK), strict=True):
                count.index_add_(0, own, torch.ones_like(part[:, 0]))
                total.index_add_(0, own, part)
                products.index_add_(0, own, part[:, :, None] * part[:, None, :])
            graphs += number
        if graphs == 0:
            raise ValueError("an id's own traffic is that of benign training graphs, and there is none")
        self.share.copy_((count + 0.5) / (graphs + 1.0))
        overall = _moments(count.sum(), total.sum(dim=0), products.sum(dim=0))
        blocks = torch.block_diag(*(torch.ones(size, size) for size in self.sizes)).to(products)
        ridge = _RIDGE * overall[1].diagonal().mean().clamp(min=1e-12) * torch.eye(width).to(products)
        for number in range(ids_known):
            rare = number == 0 or bool(count[number] < _LEAST_NODES)
            centre, covariance = overall if rare else _moments(count[number], total[number], products[number])
            mixed = ((1.0 - _POOLED) * covariance + _POOLED * overall[1]) * blocks + ridge
            lower = torch.linalg.cholesky(mixed)
            self.centre[number] = centre
            self.whitening[number] = torch.linalg.solve_triangular(lower, torch.eye(width).to(lower), upper=False).t()

    def distances(self, x: Tensor, ids: Tensor) -> Tensor:
        """float[N, columns of x], int64[N] -> d, float64[N, groups]."""
        if compiled(x) and not x.requires_grad:
            return own_distances(x, self.columns, self.sizes, ids, self.centre, self.whitening)
        deviation = x[:, self.columns].double() - self.centre[ids]
        scaled = torch.bmm(deviation[:, None], self.whitening[ids])[:, 0].square()
        return torch.stack([part.sum(dim=1) for part in scaled.split(self.sizes, dim=1)], dim=1)

    def forward(self, x: Tensor, ids: Tensor, batch: Tensor, num_graphs: int) -> Tensor:
        """float[N, columns of x], int64[N], the graph of each node int64[N] -> float64[num_graphs, 3]."""
        conduct = (0.5 * self.distances(x, ids).log1p().sum(dim=1)).exp()
        unknown = (ids == 0).double()
        # Of all known ids -log(1 - share), and for those that are there the difference to -log(share).
        absent = -torch.log1p(-self.share[1:]).sum()
        # Graphs may hold more than one unknown id, whose share is none then.
        present = torch.where(ids == 0, 0.0, (torch.log1p(-self.share) - torch.log(self.share))[ids])
        mean, total = self.pool(torch.stack([conduct, unknown, present], dim=1), batch, num_graphs).split(3, dim=1)
        return torch.stack([mean[:, 0].clamp(min=1e-300).log(), absent + total[:, 2], mean[:, 1]], dim=1)


def _moments(count: Tensor, total: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [k] and population covariance [k, k] from the number of rows, their sum and the sum of outer products."""
    mean = total / count
    return mean, products / count - mean[:, None] * mean[None, :]
