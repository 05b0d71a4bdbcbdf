"""Classification losses for the imbalance of attack windows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LossKind = Literal["cross_entropy", "weighted", "focal"]


class ClassificationLoss(nn.Module):
    """Mean over the batch of ``w_y * (1 - p_y) ** gamma * -log p_y``.

    ``gamma = 0`` without weights is cross entropy; ``gamma > 0`` is the focal loss (Lin et al. 2017, equation 4).
    The mean is over samples and not over weights, so that the loss of a large batch is the mean of its parts.

    >>> loss = ClassificationLoss()
    >>> round(float(loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))), 4)  # log 2
    0.6931
    """

    class_weights: Tensor

    def __init__(self, class_weights: Tensor | None = None, gamma: float = 0.0) -> None:
        super().__init__()
        if gamma != 0.0 and gamma < 1.0:  # between 0 and 1 the gradient is infinite at p = 1
            raise ValueError(f"the focal exponent gamma is 0, or at least 1; got {gamma}")
        self.gamma = gamma
        self.register_buffer("class_weights", torch.ones(2) if class_weights is None else class_weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """float32[B, classes] and int64[B] -> a scalar."""
        loss = functional.cross_entropy(logits, target, reduction="none")
        if self.gamma > 0.0:
            loss = loss * (-torch.expm1(-loss)) ** self.gamma
        return (loss * self.class_weights[target]).mean()


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far the student's softened probabilities are from the teacher's: ``T^2 KL(teacher || student)``, a mean.

    float[B, classes] logits of both -> a scalar. Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural
    network", section 2: the factor keeps the gradient's size the same for every ``temperature``.

    >>> float(distillation_loss(torch.ones(3, 2), torch.ones(3, 2), 4.0))
    0.0
    """
    soft = functional.log_softmax(student / temperature, dim=1)
    target = functional.log_softmax(teacher / temperature, dim=1)
    return functional.kl_div(soft, target, reduction="batchmean", log_target=True) * temperature**2


def make_loss(kind: LossKind, counts: Tensor, gamma: float = 2.0) -> ClassificationLoss:
    """The loss called ``kind``.

    ``counts`` int64[classes] are the training windows of each class; ``weighted`` gives both classes the same total
    weight with a mean weight of 1. ``gamma`` is used by ``focal`` alone. Raises ValueError for another kind, or for
    ``weighted`` when a class is empty.
    """
    if kind == "cross_entropy":
        return ClassificationLoss()
    if kind == "focal":
        return ClassificationLoss(gamma=gamma)
    if kind != "weighted":
        raise ValueError(f"the loss must be cross_entropy, weighted or focal; got {kind!r}")
    if not bool((counts > 0).all()):
        raise ValueError(f"weighted loss needs training windows of every class; got counts {counts.tolist()}")
    return ClassificationLoss(counts.sum() / (len(counts) * counts.float()))
