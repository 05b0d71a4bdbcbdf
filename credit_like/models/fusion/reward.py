"""FusionReward: what a decision about a window is worth, by parts that sum to the whole."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

#: The parts of a reward, in the order in which they are added.
COMPONENTS = ("true_positive", "true_negative", "false_positive", "false_negative", "confidence")


@dataclass(frozen=True)
class FusionReward:
    """The reward of the decision ``fused > threshold``.

    The first four are what each outcome is worth. Only two differences decide what is best: ``true_positive -
    false_negative`` is what an attack window is worth, ``true_negative - false_positive`` what a benign one is.
    ``confidence`` is gated by the attack: an attack window that alarms earns it times ``(fused - threshold) / (1 -
    threshold)``, so that of two right decisions the surer one is better; benign windows never earn it, because a score
    far below the threshold is no merit that anybody sees.

    >>> import torch
    >>> reward = FusionReward(true_positive=1, true_negative=0, false_positive=-1, false_negative=-2, confidence=0.5)
    >>> reward(torch.tensor([0.75, 0.75, 0.5, 0.1]), torch.tensor([1, 0, 1, 0]))
    tensor([ 1.2500, -1.0000, -2.0000,  0.0000])
    """

    threshold: float = 0.5
    true_positive: float = 1.0
    true_negative: float = 0.2
    false_positive: float = -1.0
    false_negative: float = -2.0
    confidence: float = 0.2

    def __call__(self, fused: Tensor, attack: Tensor) -> Tensor:
        """The reward of each score in ``fused`` (float[B] or float[B, A]); ``attack`` int64 or bool[B]."""
        total = fused.new_zeros(())
        for part in self.components(fused, attack).values():
            total = total + part
        return total

    def components(self, fused: Tensor, attack: Tensor) -> dict[str, Tensor]:
        """``COMPONENTS`` -> a tensor shaped and typed like ``fused``; they sum to the reward."""
        attacked = attack.bool().reshape(-1, *[1] * (fused.ndim - 1))
        alarm = fused > self.threshold
        hit = (alarm & attacked).to(fused.dtype)
        sureness = ((fused - self.threshold) / (1 - self.threshold)).clamp(0, 1)
        return {
            "true_positive": hit * self.true_positive,
            "true_negative": (~alarm & ~attacked).to(fused.dtype) * self.true_negative,
            "false_positive": (alarm & ~attacked).to(fused.dtype) * self.false_positive,
            "false_negative": (~alarm & attacked).to(fused.dtype) * self.false_negative,
            "confidence": hit * sureness * self.confidence,
        }
