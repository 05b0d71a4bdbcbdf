"""OwnTraffic: how unusual a node is beside the benign traffic of its own arbitration id."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Share of the covariance of all ids in that of one, and of the mean variance on its diagonal: an id that was never
#: seen to move in some direction has no covariance there.
_POOLED, _RIDGE = 0.05, 1e-3
#: Benign nodes of an id below which it gets the statistics of all.
_LEAST_NODES = 50


class OwnTraffic(nn.Module):
    """Squared Mahalanobis distance of each node from the benign nodes of its id, for some columns of ``x``.

    The scaler's id-relative columns say how far each feature is from what its id does; here their covariance is taken
    into account: one frame more *and* a wider spread of the gaps go together in benign traffic, one without the other
    does not.

    ==============  ========================  =====================================================================
    ``centre``      float64[num_ids, k]       mean over the benign nodes of each id; of all for unknown (0) and rare ids
    ``whitening``   float64[num_ids, k, k]    ``distance = |(x - centre) @ whitening| ** 2``
    ==============  ========================  =====================================================================
    """

    centre: Tensor
    whitening: Tensor

    def __init__(self, num_ids: int, columns: Sequence[int]) -> None:
        super().__init__()
        self.columns = list(columns)
        width = len(self.columns)
        self.register_buffer("centre", torch.zeros(num_ids, width, dtype=torch.float64))
        self.register_buffer("whitening", torch.zeros(num_ids, width, width, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, x: Tensor, ids: Tensor) -> None:
        """Take the statistics of the nodes of benign training graphs: float[N, columns of x] and int64[N].

        Raises ValueError where there is none, or where one is not finite.
        """
        given = x[:, self.columns].double()
        if len(given) == 0 or not bool(torch.isfinite(given).all()):
            raise ValueError(f"an id's own traffic needs benign nodes with finite features; got {len(given)}")
        pooled = torch.cov(given.t(), correction=0).reshape(len(self.columns), -1)
        ridge = _RIDGE * pooled.diagonal().mean().clamp(min=1e-12) * torch.eye(len(self.columns)).to(pooled)
        order = torch.argsort(ids, stable=True)
        sizes = torch.bincount(ids, minlength=len(self.centre)).tolist()
        for number, own in enumerate(given[order].split(sizes)):
            rare = number == 0 or len(own) < _LEAST_NODES
            rows = given if rare else own
            covariance = pooled if rare else torch.cov(own.t(), correction=0).reshape(pooled.shape)
            mixed = (1.0 - _POOLED) * covariance + _POOLED * pooled + ridge
            identity = torch.eye(len(mixed)).to(mixed)
            self.centre[number] = rows.mean(dim=0)
            self.whitening[number] = torch.linalg.solve_triangular(
                torch.linalg.cholesky(mixed), identity, upper=False
            ).t()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """float[N, columns of x], int64[N] -> squared distances float64[N]."""
        deviation = x[:, self.columns].double() - self.centre[ids]
        return torch.bmm(deviation[:, None], self.whitening[ids]).square().sum(dim=(1, 2))
