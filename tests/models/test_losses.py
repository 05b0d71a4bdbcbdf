"""The losses against their formulas."""

from __future__ import annotations

import pytest
import torch

from credit_like.models import ClassificationLoss, distillation_loss, make_loss

LOGITS = torch.tensor([[2.0, -1.0], [0.5, 0.1], [-1.0, 3.0], [0.0, 0.2]], dtype=torch.float64)
TARGET = torch.tensor([0, 0, 1, 0])
COUNTS = torch.tensor([30, 10])


def test_cross_entropy_is_torchs() -> None:
    expected = torch.nn.functional.cross_entropy(LOGITS, TARGET)
    torch.testing.assert_close(make_loss("cross_entropy", COUNTS)(LOGITS, TARGET), expected)


def test_weighted_gives_both_classes_the_same_total_weight() -> None:
    weights = make_loss("weighted", COUNTS).class_weights
    torch.testing.assert_close(weights * COUNTS, torch.tensor([20.0, 20.0]))


def test_focal_is_its_formula_and_has_a_gradient_at_certainty() -> None:
    p = LOGITS.softmax(1).gather(1, TARGET[:, None])
    expected = ((1 - p) ** 2 * -p.log()).mean()
    torch.testing.assert_close(make_loss("focal", COUNTS, gamma=2.0)(LOGITS, TARGET), expected)
    certain = torch.tensor([[200.0, -200.0]], requires_grad=True)
    make_loss("focal", COUNTS)(certain, torch.tensor([0])).backward()
    assert torch.isfinite(certain.grad).all()


@pytest.mark.parametrize("kind", ["cross_entropy", "weighted", "focal"])
def test_loss_of_a_batch_is_the_mean_of_its_halves(kind: str) -> None:
    loss = make_loss(kind, COUNTS)
    halves = (loss(LOGITS[:2], TARGET[:2]) + loss(LOGITS[2:], TARGET[2:])) / 2
    torch.testing.assert_close(loss(LOGITS, TARGET), halves)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="cross_entropy, weighted or focal; got 'hinge'"):
        make_loss("hinge", COUNTS)
    with pytest.raises(ValueError, match=r"every class; got counts \[5, 0\]"):
        make_loss("weighted", torch.tensor([5, 0]))
    with pytest.raises(ValueError, match=r"0, or at least 1; got 0\.5"):
        ClassificationLoss(gamma=0.5)


def test_distillation_is_the_softened_divergence() -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(7, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    p, q = (teacher / 4).softmax(1), (student / 4).softmax(1)
    expected = 16 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(distillation_loss(student, teacher, 4.0), expected)
    assert distillation_loss(teacher, teacher, 4.0) == pytest.approx(0.0, abs=1e-12)
