"""FusionPolicy: two experts' outputs about a window -> one score, by an alpha that an agent chooses for the window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Columns of the experts' scores; whatever else they say follows.
ANOMALY, GAT = 0, 1
#: What may decide in use, by the number that the policy keeps: an expert's is the column of its score.
RULES = ("anomaly", "gat", "policy", "either")
POLICY, EITHER = 2, 3

#: Standard deviations at which a state is cut off: a distance of an unusual window must not drown all else.
_CLIP = 5.0


class FusionPolicy(nn.Module):
    """``fused = (1 - alpha) * anomaly + alpha * gat``; a window alarms when ``fused > threshold``.

    ``columns`` are what the experts say of a window, float64[B, C]: column 0 the anomaly expert's score, column 1 the
    GAT's, both in [0, 1], then anything else. The state that the agent sees is all of them, standardised with the
    mean and deviation of the windows given to ``fit``, and beside them the two aligned scores.

    A score is *aligned* before it is mixed: mapped by two straight lines from 0 to 0, from the expert's own threshold
    at ``false_alarm_rate`` to ``threshold``, and from 1 to 1. Its order does not change, and with alpha 0 or 1 the rule
    decides as that expert alone would at that rate. Without it the two have no common scale: a benign window has an
    anomaly score (1 - p) above 0.5 every second time, and an attack probability above 0.5 hardly ever. A
    ``false_alarm_rate`` of 0 leaves the scores as they are.

    Args:
        columns: C, at least 2.
        agent: float32[B, C + 2] states -> float[B, actions], the expected reward of each action.
        actions: alpha takes this many equal steps from 0 to 1.
        threshold: of the fused score, in (0, 1).

    ``rule`` (int64 buffer) says what ``forward`` follows: the policy, one expert alone, or whichever of the two is the
    more alarmed. All of it is in the state dict. Not defined for NaN.
    """

    mean: Tensor
    scale: Tensor
    points: Tensor
    alphas: Tensor
    rule: Tensor

    def __init__(self, columns: int, agent: nn.Module, *, actions: int = 21, threshold: float = 0.5) -> None:
        super().__init__()
        if columns < 2 or actions < 2 or not 0 < threshold < 1:
            raise ValueError(
                "a fusion needs both experts' scores, two actions and a threshold in (0, 1); "
                f"got {columns} columns, {actions} actions, threshold {threshold}"
            )
        self.agent, self.threshold = agent, threshold
        self.register_buffer("mean", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(columns, dtype=torch.float64))
        self.register_buffer("points", torch.full((2,), threshold, dtype=torch.float64))
        self.register_buffer("alphas", torch.linspace(0, 1, actions, dtype=torch.float64))
        self.register_buffer("rule", torch.tensor(POLICY))

    def fit(self, columns: Tensor, benign: Tensor, false_alarm_rate: float) -> None:
        """Take the statistics of ``columns`` float64[n, C], and each expert's threshold from the ``benign`` (bool[n])
        of them: exceeded by at most ``false_alarm_rate`` of n + 1 exchangeable windows.

        Raises ValueError without a benign window.
        """
        if not bool(benign.any()):
            raise ValueError("the experts' thresholds come from benign windows and there is none")
        deviation = columns.std(dim=0, correction=0)
        self.mean.copy_(columns.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 1e-12, deviation, 1.0))
        if false_alarm_rate:
            calm = columns[benign][:, [ANOMALY, GAT]]
            above = max(1, int((len(calm) + 1) * false_alarm_rate))
            self.points.copy_(calm.kthvalue(len(calm) + 1 - above, dim=0).values)

    def state(self, columns: Tensor) -> Tensor:
        """What the agent sees, float32[B, C + 2]."""
        standard = ((columns - self.mean) / self.scale).clamp(-_CLIP, _CLIP)
        return torch.cat([standard, 2 * self.aligned(columns) - 1], dim=1).float()

    def aligned(self, columns: Tensor) -> Tensor:
        """Both scores on the common scale, float64[B, 2]: anomaly, gat."""
        score = columns[:, [ANOMALY, GAT]]
        below = self.threshold * (score / self.points.clamp(min=1e-300)).clamp(max=1)
        above = (1 - self.threshold) * ((score - self.points) / (1 - self.points).clamp(min=1e-300)).clamp(0, 1)
        return torch.where(score > self.points, self.threshold + above, below)

    def fused(self, columns: Tensor) -> Tensor:
        """The fused score at every alpha, float64[B, actions]."""
        anomaly, gat = self.aligned(columns).unbind(dim=1)
        return torch.outer(anomaly, 1 - self.alphas) + torch.outer(gat, self.alphas)

    def values(self, columns: Tensor) -> Tensor:
        """The expected reward of each action, float[B, actions]."""
        return self.agent(self.state(columns))

    def choose(self, columns: Tensor) -> Tensor:
        """The action that the agent thinks best, int64[B]."""
        return self.values(columns).argmax(dim=1)

    def forward(self, columns: Tensor) -> Tensor:
        """The score of the rule in use, float64[B]: the policy's fused score, an expert's aligned one, or the greater
        of both."""
        rule = int(self.rule)
        if rule == EITHER:
            return self.aligned(columns).amax(dim=1)
        if rule != POLICY:
            return self.aligned(columns)[:, rule]
        return self.fused(columns).gather(1, self.choose(columns)[:, None])[:, 0]
