"""Window metrics against scikit-learn, and against brute force where it has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from credit_like.evaluation.metrics import (
    Confusion,
    best_f1,
    calibration_error,
    confusion,
    decision_figures,
    ranking_figures,
)

#: Few distinct scores, so that ties are common.
SCORES = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(attack, score) of some windows."""
    pairs = draw(st.lists(st.tuples(st.booleans(), SCORES), min_size=1, max_size=60))
    return np.array([a for a, _ in pairs]), np.array([s for _, s in pairs])


@given(judged(), SCORES)
def test_decision_figures_are_those_of_scikit_learn(windows: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    attack, score = windows
    alarm = score > threshold
    figures, undefined = decision_figures(confusion(attack, alarm))
    assert {name for name, value in figures.items() if value is None} == set(undefined)
    if attack.any():
        assert figures["recall"] == pytest.approx(recall_score(attack, alarm))
        assert figures["f1"] == pytest.approx(f1_score(attack, alarm))
    if attack.any() and alarm.any():
        assert figures["precision"] == pytest.approx(precision_score(attack, alarm))
    if not attack.all():
        assert figures["fpr"] == pytest.approx(np.mean(alarm[~attack]))
    if attack.any() and not attack.all():
        assert figures["mcc"] == pytest.approx(matthews_corrcoef(attack, alarm))


@given(judged())
def test_ranking_figures_are_those_of_scikit_learn_and_of_every_threshold(
    windows: tuple[np.ndarray, np.ndarray],
) -> None:
    attack, score = windows
    figures, undefined = ranking_figures(attack, score)
    if attack.all() or not attack.any():
        assert set(figures.values()) == {None}
        assert set(undefined.values()) == {"no benign window" if attack.all() else "no attack window"}
        return
    assert figures["auroc"] == pytest.approx(roc_auc_score(attack, score))
    assert figures["auprc"] == pytest.approx(average_precision_score(attack, score))
    alarms = [score >= t for t in [*np.unique(score), np.inf]]
    reached = [np.mean(attack[alarm]) for alarm in alarms if np.mean(alarm[attack]) >= 0.95]
    assert figures["precision_at_recall_95"] == pytest.approx(max(reached))


@given(judged(), st.sampled_from([(1e-2, "recall_at_fpr_1e2"), (1e-3, "recall_at_fpr_1e3")]))
def test_recall_at_a_rate_is_the_best_of_all_thresholds(
    windows: tuple[np.ndarray, np.ndarray], case: tuple[float, str]
) -> None:
    attack, score = windows
    rate, name = case
    attack, score = np.append(attack, True), np.append(score, 0.5)
    benign = np.full(int(1 / rate), 0.0)
    benign[:2] = 0.6, 0.3  # one window above is exactly the rate of 1/n, two are not
    attack, score = np.append(attack, np.zeros(len(benign), np.bool_)), np.append(score, benign)
    alarms = [score >= t for t in [*np.unique(score), np.inf]]
    best = max(np.mean(alarm[attack]) for alarm in alarms if np.mean(alarm[~attack]) <= rate)
    assert ranking_figures(attack, score)[0][name] == pytest.approx(best)


def test_a_rate_that_the_windows_cannot_resolve_is_undefined() -> None:
    attack = np.array([True] + [False] * 99)
    figures, undefined = ranking_figures(attack, attack.astype(float))
    assert figures["recall_at_fpr_1e2"] is None
    assert undefined["recall_at_fpr_1e2"] == "99 benign windows cannot resolve a rate of 0.01"


def test_no_alarm_leaves_precision_undefined_and_f1_zero() -> None:
    figures, undefined = decision_figures(Confusion(0, 0, 5, 3))
    assert figures == {"precision": None, "recall": 0.0, "f1": 0.0, "mcc": 0.0, "fpr": 0.0}
    assert undefined == {"precision": "no window alarmed"}


def test_a_set_of_one_class_says_which_class_is_missing() -> None:
    _, benign_only = decision_figures(Confusion(0, 1, 5, 0))
    assert benign_only == dict.fromkeys(("precision", "recall", "f1", "mcc"), "no attack window")
    figures, attack_only = decision_figures(Confusion(4, 0, 0, 1))
    assert attack_only == {"fpr": "no benign window", "mcc": "no benign window"}
    assert figures["recall"] == 0.8


def test_a_recall_of_exactly_095_is_reached() -> None:
    attack = np.array([True] * 19 + [False, True])
    figures, _ = ranking_figures(attack, -np.arange(21.0))
    assert figures["precision_at_recall_95"] == 1.0  # 19 of 20 found before the false alarm


#: Scores on the borders of bins (products with 15 that are exact) and between them, several to a bin.
BINNED = st.sampled_from(
    [0.0, 0.01, 0.05, 0.2, 0.21, 0.22, 0.25, 0.4, 0.41, 0.5, 0.52, 0.6, 0.63, 0.8, 0.97, 0.98, 1.0]
)


@given(st.lists(st.tuples(st.booleans(), BINNED), min_size=1, max_size=60))
def test_calibration_error_is_the_sum_over_bins(pairs: list[tuple[bool, float]]) -> None:
    attack, score = np.array([a for a, _ in pairs]), np.array([s for _, s in pairs])
    expected = 0.0
    for b in range(15):
        inside = (score * 15 > b) & (score * 15 <= b + 1)
        inside |= (score == 0) & (b == 0)
        if inside.any():
            expected += inside.mean() * abs(attack[inside].mean() - score[inside].mean())
    assert calibration_error(attack, score)[0] == pytest.approx(expected, abs=1e-12)


def test_the_bins_of_the_calibration_error_are_fifteen() -> None:
    attack, score = np.array([True, False, True, False]), np.array([0.41, 0.5, 0.61, 0.66])
    # 6/15 to 7/15, 7/15 to 8/15, and two within 9/15 to 10/15
    assert calibration_error(attack, score)[0] == pytest.approx((0.59 + 0.5 + (1.27 - 1)) / 4)


def test_calibration_error_is_undefined_for_what_is_not_a_probability() -> None:
    assert calibration_error(np.array([True]), np.array([1.5])) == (None, "the score is not a probability")
    assert calibration_error(np.zeros(0, np.bool_), np.zeros(0)) == (None, "no window")


@given(judged())
def test_the_oracle_is_the_best_of_all_thresholds(windows: tuple[np.ndarray, np.ndarray]) -> None:
    attack, score = windows
    found = best_f1(attack, score)
    if not attack.any():
        assert found is None
        return
    assert found is not None
    threshold, precision, recall, f1 = found
    figures, _ = decision_figures(confusion(attack, score > threshold))
    assert (figures["precision"], figures["recall"], figures["f1"]) == pytest.approx((precision, recall, f1))
    candidates = [decision_figures(confusion(attack, score > t))[0]["f1"] for t in [-1.0, *np.unique(score)]]
    assert f1 == pytest.approx(max(candidates))
