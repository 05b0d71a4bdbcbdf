"""The policy is used where it beats both experts, in what it earns and in how it ranks; else the better expert."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from credit_like.models.fusion import ANOMALY, GAT, POLICY
from trainers.fusion_rule import deployed_rule, placements

LABELS = torch.arange(400) % 4 == 0
#: Rewards of 400 windows, some of them lost, and scores that rank some of them wrongly.
EARNED = torch.from_numpy(np.random.default_rng(0).choice([1.0, -2.0], 400))
SCORED = LABELS + 0.5 * torch.from_numpy(np.random.default_rng(1).standard_normal(400))


def better(by: torch.Tensor, share: float) -> torch.Tensor:
    """Scores that separate the classes better, by ``share`` of what is between them."""
    return by + share * LABELS


def rule(earned: Any, scores: Any, margin: float = 1.0, labels: Any = LABELS) -> int:
    """The rule by the rewards and scores of anomaly, GAT and policy."""
    return deployed_rule(torch.stack(earned, dim=1), torch.stack(scores, dim=1), labels.long(), margin)


def test_the_policy_must_earn_more_than_both_experts() -> None:
    ranks = (SCORED, SCORED, better(SCORED, 0.5))
    assert rule((EARNED, EARNED, EARNED + 0.1), ranks) == POLICY
    assert rule((EARNED, EARNED, EARNED), ranks) == GAT  # as good is not better
    assert rule((EARNED, EARNED, EARNED - 0.1), ranks) == GAT
    assert rule((EARNED, EARNED - 0.2, EARNED), ranks) == ANOMALY  # above the GAT, and not above the other


def test_the_policy_must_rank_better_than_both_experts() -> None:
    earned = (EARNED, EARNED, EARNED + 0.1)
    assert rule(earned, (SCORED, SCORED, SCORED)) == GAT
    assert rule(earned, (SCORED, SCORED, better(SCORED, -0.2))) == GAT
    assert rule(earned, (better(SCORED, 0.5), SCORED, better(SCORED, 0.3))) == GAT
    perfect = LABELS.double()
    assert rule(earned, (SCORED, perfect, perfect)) == GAT  # there is nothing to gain


def test_luck_is_no_proof() -> None:
    lucky = EARNED.clone()
    lucky[int((EARNED < 0).nonzero()[0])] = 1.0  # one window of four hundred: exactly one standard error
    ranks = (SCORED, SCORED, better(SCORED, 0.5))
    assert rule((EARNED - 0.1, EARNED, lucky), ranks, margin=1.1) == GAT
    assert rule((EARNED - 0.1, EARNED, lucky), ranks, margin=0.0) == POLICY
    earned = (EARNED, EARNED, EARNED + 0.1)
    for kind, wrong in (
        (LABELS, -9.0),
        (~LABELS, 9.0),
    ):  # one attack, or benign window, that only the policy ranks right
        one = int(kind.nonzero()[0])
        missed, found = SCORED.clone(), SCORED.clone()
        missed[one], found[one] = wrong, -wrong
        assert rule(earned, (missed, missed, found), margin=1.1) == GAT
        assert rule(earned, (missed, missed, found), margin=0.0) == POLICY


def test_the_anomaly_detector_must_earn_more_and_rank_no_worse() -> None:
    earned = (EARNED + 0.1, EARNED, EARNED)
    assert rule(earned, (SCORED, SCORED, SCORED)) == ANOMALY
    assert rule(earned, (better(SCORED, 0.5), SCORED, SCORED)) == ANOMALY
    assert rule(earned, (better(SCORED, -0.5), SCORED, SCORED)) == GAT
    assert rule((EARNED, EARNED, EARNED), (better(SCORED, 0.5), SCORED, SCORED)) == GAT


@pytest.mark.parametrize("labels", [torch.zeros(400), torch.ones(400)])
def test_where_a_class_is_missing_nothing_replaces_the_gat(labels: torch.Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rule((EARNED + 0.1, EARNED, EARNED + 0.2), (SCORED, SCORED, SCORED), labels=labels) == GAT


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_placements_average_to_the_auroc(windows: list[tuple[int, bool]]) -> None:
    score = np.array([s for s, _ in windows], np.float64)
    attack = np.array([a for _, a in windows])
    if attack.all() or not attack.any():
        return
    placed, auroc = placements(score, attack), roc_auc_score(attack, score)
    assert placed[attack].mean() == pytest.approx(auroc)
    assert placed[~attack].mean() == pytest.approx(auroc)
