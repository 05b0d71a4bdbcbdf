"""What simpler ways to combine two experts would have scored, to be judged beside a fusion policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from credit_like.evaluation.fusion import (
    ANOMALY_ALONE,
    BEST_FIXED,
    EITHER,
    GAT_ALONE,
    HALF,
    LOGISTIC,
    ORACLE,
    POLICY,
    SMALL_MLP,
)
from credit_like.models.fusion import ANOMALY, GAT, FusionPolicy, FusionReward
from trainers.expert_table import ExpertTable

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combiners:
    """Everything that a policy is compared with, fitted on the windows that the policy was trained on.

    ``alpha`` is the best fixed one: that with the highest mean reward on those windows. The two classifiers are fitted
    on the policy's states; a window's weight is what is at stake in it (the reward of the right decision minus that of
    the wrong one), so that a probability of a half is where both decisions are worth the same.
    """

    policy: FusionPolicy
    reward: FusionReward
    alpha: int
    classifiers: dict[str, LogisticRegression | MLPClassifier]

    @classmethod
    def fit(cls, policy: FusionPolicy, reward: FusionReward, table: ExpertTable) -> Combiners:
        """Of ``table``'s windows, which hold both classes. Seeded, one thread."""
        from sklearn.linear_model import LogisticRegression  # take most of a second to import
        from sklearn.neural_network import MLPClassifier

        with torch.no_grad():
            state = policy.state(table.values).double().numpy()
            alpha = int(reward(policy.fused(table.values), table.label).mean(dim=0).argmax())
        label = table.label.numpy()
        stakes = np.where(
            label == 1,
            reward.true_positive - reward.false_negative,
            reward.true_negative - reward.false_positive,
        )
        classifiers = {
            LOGISTIC: LogisticRegression(max_iter=1000),
            SMALL_MLP: MLPClassifier((32,), max_iter=60, n_iter_no_change=60, random_state=0),
        }
        with threadpool_limits(1):
            for classifier in classifiers.values():
                _settled(classifier, state, label, stakes / stakes.mean())
        return cls(policy, reward, alpha, classifiers)

    @torch.no_grad()
    def scores(self, table: ExpertTable) -> dict[str, Floats]:
        """The score of each window by each way to decide, float64[n], on the scale of ``policy.threshold``."""
        fused, aligned = self.policy.fused(table.values), self.policy.aligned(table.values)
        chosen = self.policy.choose(table.values)
        best = self.reward(fused, table.label).argmax(dim=1)
        found: dict[str, Tensor] = {
            POLICY: fused.gather(1, chosen[:, None])[:, 0],
            GAT_ALONE: aligned[:, GAT],
            ANOMALY_ALONE: aligned[:, ANOMALY],
            EITHER: aligned.amax(dim=1),
            HALF: aligned.mean(dim=1),
            BEST_FIXED: fused[:, self.alpha],
            ORACLE: fused.gather(1, best[:, None])[:, 0],
        }
        state, threshold = self.policy.state(table.values).double().numpy(), self.policy.threshold
        for name, classifier in self.classifiers.items():
            p = classifier.predict_proba(state)[:, 1]
            on_scale = np.where(p > 0.5, threshold + (1 - threshold) * (2 * p - 1), 2 * threshold * p)
            found[name] = torch.from_numpy(on_scale)
        return {name: score.numpy() for name, score in found.items()}

    def rewards(self, scores: dict[str, Floats], label: Tensor) -> dict[str, Floats]:
        """What each of ``scores`` earns, float64[n]."""
        return {name: self.reward(torch.from_numpy(score), label).numpy() for name, score in scores.items()}


def _settled(classifier: LogisticRegression | MLPClassifier, state: Floats, label: Floats, weight: Floats) -> None:
    """Fit, without the warning that a small network stops after its epochs: that many are meant."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(state, label, sample_weight=weight)
