"""Which rule of a fusion is put to use: the policy, or one expert alone, by what validation windows show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from credit_like.models.fusion import ANOMALY, GAT, POLICY

Floats = NDArray[np.float64]


def deployed_rule(earned: Tensor, scores: Tensor, labels: Tensor, margin: float) -> int:
    """``ANOMALY``, ``GAT`` or ``POLICY``, by what each of them earned on validation windows, float64[n, 3], and how its
    ``scores``, float64[n, 3], rank them; ``labels`` int64[n] are 1 for an attack.

    The policy, where it beats both experts by ``margin`` standard errors, in the mean reward and in AUROC: it was
    trained for that reward, at one threshold, and a run may be used at any. Else the anomaly detector, where it earned
    more than the GAT by ``margin`` standard errors and ranks no worse; else the GAT, as where validation lacks one of
    the classes. Differences are paired. Windows in sequence resemble each other, so that the standard errors are
    somewhat too small.
    """
    attack = labels.cpu().numpy() == 1
    if attack.all() or not attack.any():
        return GAT
    reward = earned.cpu().numpy()
    placed = [placements(score, attack) for score in scores.cpu().numpy().T]

    def earns_more(one: int, other: int) -> bool:
        return _exceeds_0(margin, reward[:, one] - reward[:, other])

    def ranks_better(one: int, other: int) -> bool:
        gain = placed[one] - placed[other]
        return _exceeds_0(margin, gain[attack], gain[~attack])

    if all(earns_more(POLICY, expert) and ranks_better(POLICY, expert) for expert in (ANOMALY, GAT)):
        return POLICY
    no_worse = placed[ANOMALY][attack].mean() >= placed[GAT][attack].mean()
    return ANOMALY if no_worse and earns_more(ANOMALY, GAT) else GAT


def placements(score: Floats, attack: NDArray[np.bool_]) -> Floats:
    """Of each window the share of the other class that it is on the right side of, ties counted half; float64[n].

    Their mean is the AUROC, over attack windows as over benign ones, and their variances give its standard error
    (DeLong, DeLong and Clarke-Pearson 1988, "Comparing the areas under two or more correlated ROC curves").
    """
    ranks = rankdata(score)
    placed = np.empty(len(score))
    placed[attack] = (ranks[attack] - rankdata(score[attack])) / (~attack).sum()
    placed[~attack] = 1 - (ranks[~attack] - rankdata(score[~attack])) / attack.sum()
    return placed


def _exceeds_0(margin: float, *gains: Floats) -> bool:
    """Whether the mean of the first is above 0 by ``margin`` standard errors, of which each of ``gains`` is a part."""
    error = float(np.sqrt(sum(gain.var() / len(gain) for gain in gains)))
    return float(gains[0].mean()) > max(1e-12, margin * error)
