"""ConformalTail: p-values against the scores of benign calibration graphs, with a fitted tail beyond the largest."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: So many calibration scores are kept; of more, so many are drawn (still exchangeable with a new one).
CAPACITY = 5000
#: The tail is fitted to this share of the calibration scores, and to at least ``TAIL_LEAST`` of them.
TAIL_SHARE, TAIL_LEAST = 0.05, 10
#: The least tail index: equal scores in the tail would give 0, and a p-value of 0 at once.
_LEAST_INDEX = 1e-2
#: Where the Pareto tail is a millionth, it ends.
_TAIL_END = math.log(1e6)


class ConformalTail(nn.Module):
    """p = (1 + number of calibration scores >= s) / (n + 1), finite-sample corrected (Vovk, Gammerman and Shafer,
    "Algorithmic Learning in a Random World", 2005, section 2.2): of graphs exchangeable with the calibration graphs a
    share of at most p gets a p-value of at most p.

    Beyond the largest calibration score that is 1 / (n + 1) for every score, and says no more. There it is multiplied
    by ``(s / largest) ** (-1 / index)``, a Pareto tail, whose ``index`` is Hill's estimate (Hill 1975) from the upper
    5 % of the calibration scores: an extrapolation, and no promise. Scores are not negative. Where the tail is a
    millionth it ends, and from there on p falls as slowly as 1 / log s: a loud attack is a thousand times as far as any
    benign window, its Pareto p would be 1e-20, and 1 - p the same 1.0 for every attack.

    ================  ==================  ==============================================
    ``scores``        float64[CAPACITY]   ascending, the first ``count`` of them
    ``count``         int64[]             calibration scores; 0 until ``fit``
    ``index``         float64[]           of the tail
    ================  ==================  ==============================================
    """

    scores: Tensor
    count: Tensor
    index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scores", torch.zeros(CAPACITY, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("index", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def fit(self, scores: Tensor) -> None:
        """Take the scores float[n] of benign graphs that the centre was not fitted on.

        Raises ValueError where there are none, or where one is negative or not finite.
        """
        given = scores.double().flatten()
        if len(given) == 0:
            raise ValueError("p-values are taken against benign calibration graphs, and there is none")
        if not bool(((given >= 0) & torch.isfinite(given)).all()):
            raise ValueError("calibration scores must be finite and not negative")
        if len(given) > CAPACITY:
            chosen = torch.randperm(len(given), generator=torch.Generator().manual_seed(0))[:CAPACITY]
            given = given[chosen.to(given.device)]
        ordered = given.sort().values
        self.scores.zero_()
        self.scores[: len(ordered)] = ordered
        self.count.fill_(len(ordered))
        self.index.fill_(hill_index(ordered))

    def forward(self, scores: Tensor) -> Tensor:
        """float[B] -> p-values float64[B] in (0, 1]. Raises RuntimeError before ``fit``."""
        n = int(self.count)
        if n == 0:
            raise RuntimeError("there are no calibration scores yet; fit them on benign graphs first")
        given = scores.double()
        known = self.scores[:n]
        p = (1 + n - torch.searchsorted(known, given, side="left")).double() / (n + 1)
        largest = known[-1]
        depth = (given / largest.clamp(min=1e-300)).clamp(min=1.0).log() / self.index
        beyond = torch.exp(-depth.clamp(max=_TAIL_END)) / (1.0 + (depth - _TAIL_END).clamp(min=0.0))
        return p * torch.where(given > largest, beyond, torch.ones_like(beyond))


def hill_index(ordered: Tensor) -> float:
    """Hill's estimate of the tail index of ascending scores float64[n]: the mean of log(s / s_k) over the k largest."""
    n = len(ordered)
    tail = min(n - 1, max(TAIL_LEAST, round(TAIL_SHARE * n)))
    if tail < 1 or not bool(ordered[n - 1 - tail] > 0):
        return 1.0
    return max(_LEAST_INDEX, float((ordered[n - tail :] / ordered[n - 1 - tail]).log().mean()))
