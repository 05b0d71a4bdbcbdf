"""RidgeArms: one ridge regression an action, all of them updated together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

#: Samples of one action that a Woodbury update takes in at a time: the matrix to be solved stays small.
_RANK = 32


class RidgeArms:
    """For each of ``actions`` arms ``theta = argmin sum (reward - features . theta)^2 + penalty * |theta|^2``.

    ``inverse`` float64[A, m, m] is ``(penalty * I + X^T X)^-1`` over the features of an arm's samples, ``moment``
    float64[A, m] is ``X^T r``. Both take in a batch by the Woodbury identity, of which the Sherman-Morrison formula is
    the case of one sample (Hager 1989, equation 2), over all actions at once.
    """

    def __init__(self, actions: int, width: int, *, penalty: float = 1.0, device: torch.device | str = "cpu") -> None:
        if penalty <= 0:
            raise ValueError(f"a ridge needs a penalty above 0; got {penalty}")
        self.penalty = penalty
        self.inverse = torch.eye(width, dtype=torch.float64, device=device).repeat(actions, 1, 1) / penalty
        self.moment = torch.zeros(actions, width, dtype=torch.float64, device=device)

    @property
    def theta(self) -> Tensor:
        """The coefficients of every arm, float64[A, m]."""
        return (self.inverse @ self.moment[:, :, None])[:, :, 0]

    def update(self, features: Tensor, action: Tensor, reward: Tensor) -> None:
        """Take in samples: ``features`` float[B, m], ``action`` int64[B], ``reward`` float[B]."""
        x, r = features.double(), reward.double()
        self.moment.index_add_(0, action, x * r[:, None])
        order = action.argsort(stable=True)
        count = torch.bincount(action, minlength=len(self.moment))
        rank = torch.arange(len(x), device=x.device) - (count.cumsum(0) - count)[action[order]]
        for first in range(0, int(count.max()) if len(x) else 0, _RANK):
            here = (rank >= first) & (rank < first + _RANK)
            arms, arm = action[order[here]].unique_consecutive(return_inverse=True)
            rows = x.new_zeros(len(arms), _RANK, x.shape[1])
            rows[arm, rank[here] - first] = x[order[here]]
            self.inverse[arms] = _woodbury(self.inverse[arms], rows)

    def refit(self, features: Tensor, action: Tensor, reward: Tensor) -> None:
        """Forget everything and fit these samples: what was learnt in other features, in the present ones."""
        x, r = features.double(), reward.double()
        self.moment.zero_().index_add_(0, action, x * r[:, None])
        parts = x[action.argsort(stable=True)].split(torch.bincount(action, minlength=len(self.moment)).tolist())
        gram = torch.stack([part.T @ part for part in parts])
        gram.diagonal(dim1=1, dim2=2).add_(self.penalty)
        self.inverse.copy_(torch.cholesky_inverse(torch.linalg.cholesky(gram)))

    def state_dict(self) -> dict[str, Any]:
        return {"inverse": self.inverse.clone(), "moment": self.moment.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inverse.copy_(state["inverse"])
        self.moment.copy_(state["moment"])


def unsureness(features: Tensor, inverse: Tensor) -> Tensor:
    """How unsure each arm is of each sample, ``sqrt(x^T inverse x)``: float64[B, m], float64[A, m, m] -> [B, A]."""
    return ((features @ inverse) * features).sum(dim=2).clamp(min=0).sqrt().T


def _woodbury(inverse: Tensor, rows: Tensor) -> Tensor:
    """``(A + X^T X)^-1`` of ``inverse`` = A^-1 float64[a, m, m] and ``rows`` = X float64[a, k, m], zeros or not."""
    half = rows @ inverse
    inner = half @ rows.mT
    inner.diagonal(dim1=1, dim2=2).add_(1.0)
    found = inverse - half.mT @ torch.cholesky_solve(half, torch.linalg.cholesky(inner))
    return (found + found.mT) / 2
