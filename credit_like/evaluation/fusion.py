"""The comparison that stands beside every fusion policy: the same windows and rewards for simpler ways to decide."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from credit_like.evaluation.document import FusionRow
from credit_like.evaluation.metrics import confusion, decision_figures, ranking_figures

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

POLICY, GAT_ALONE, ANOMALY_ALONE = "policy", "GAT alone", "anomaly alone"
EITHER, HALF, BEST_FIXED, LOGISTIC, SMALL_MLP, ORACLE = (
    "either",
    "fixed alpha 0.5",
    "best fixed alpha",
    "logistic regression",
    "small MLP",
    "oracle",
)

#: Every way to decide, in the order of the table, and what it is.
COMPARED = {
    POLICY: "what the agent has learnt: an alpha for each window",
    GAT_ALONE: "alpha 1 for every window",
    ANOMALY_ALONE: "alpha 0 for every window",
    EITHER: "the greater of both scores: an alarm where either expert alone would give one",
    HALF: "the mean of both scores",
    BEST_FIXED: "one alpha for every window: the best on the fusion windows",
    LOGISTIC: "of attack against benign, on the policy's states, each window weighted by what is at stake in it",
    SMALL_MLP: "the same with one hidden layer of 32",
    ORACLE: "the best alpha for each window, as only the labels can tell: a bound, not a result",
}

#: The experts as controls of the scores table; they are calibrated and bootstrapped like the other controls.
EXPERTS = {
    GAT_ALONE: "the supervised expert, whose score the fusion is given",
    ANOMALY_ALONE: "the anomaly expert, whose score the fusion is given",
}


def fusion_rows(
    attack: Bools, scores: Mapping[str, Floats], rewards: Mapping[str, Floats], threshold: float
) -> dict[str, FusionRow]:
    """A row for each name of ``scores``: what it earns and how it decides, an alarm being a score above ``threshold``.

    ``attack`` bool[n]; ``scores`` and ``rewards`` name -> float64[n], with an ``ORACLE`` among them, to which the
    regret of every other is measured; it is below 0 where something that is no mixture does better. Raises ValueError
    without a window.
    """
    if len(attack) == 0:
        raise ValueError("a comparison needs at least one window")
    best = float(rewards[ORACLE].mean())
    rows = {}
    for name in (name for name in COMPARED if name in scores):
        figures, undefined = decision_figures(confusion(attack, scores[name] > threshold))
        ranking, ranking_undefined = ranking_figures(attack, scores[name])
        kept = ("precision", "recall", "f1", "fpr", "auroc")
        reward = float(rewards[name].mean())
        rows[name] = FusionRow(
            reward=reward,
            regret=best - reward,
            **{key: (figures | ranking)[key] for key in kept},
            undefined={key: why for key, why in (undefined | ranking_undefined).items() if key in kept},
        )
    return rows
